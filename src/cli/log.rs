//! Log lines as operators of ActiveMQ know them: `time | LEVEL | message | logger | thread`.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use chrono::{Local, TimeZone};
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::base::{Clock, SystemClock};

/// Size at which the log file becomes `activemq.log.1`, as in ActiveMQ's `log4j2.properties`.
const LOG_BYTES_MAX: u64 = 1 << 20;
/// How many old files stay, which is log4j's default.
const OLD_LOGS_MAX: u32 = 7;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("cannot write the log file {path}: {source}. Make the data directory writable, or name another with -Dactivemq.data=DIR or ACTIVEMQ_DATA", path = path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error(
        "`{directives}` is no log level: {reason}. Say error, warn, info, debug, trace, or module=level"
    )]
    Level { directives: String, reason: String },
    #[error("logging was set up twice")]
    Twice,
}

/// Starts logging to `file` and, with `console`, in short form to standard output.
///
/// `level` comes from the command line and beats `RUST_LOG`; without either it is `info`.
pub(super) fn start(level: Option<&str>, file: &Path, console: bool) -> Result<(), LogError> {
    let filter = filter(level, "info")?;
    let file = RollingFile::open(file)
        .map_err(|source| LogError::Open { path: file.to_owned(), source })?;
    let to_file = tracing_subscriber::fmt::layer()
        .event_format(Line::Full)
        .with_writer(Rolling(Arc::new(Mutex::new(file))));
    let to_console = console.then(|| {
        tracing_subscriber::fmt::layer().event_format(Line::Short).with_writer(io::stdout).boxed()
    });
    let registry = tracing_subscriber::registry().with(filter).with(to_file).with(to_console);
    registry.try_init().map_err(|_| LogError::Twice)?;
    log_panics();
    Ok(())
}

/// Starts logging for a command that is no broker: warnings, on standard error.
pub(super) fn to_stderr(level: Option<&str>) -> Result<(), LogError> {
    let to_stderr =
        tracing_subscriber::fmt::layer().event_format(Line::Short).with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(filter(level, "warn")?).with(to_stderr);
    registry.try_init().map_err(|_| LogError::Twice)
}

fn filter(level: Option<&str>, otherwise: &str) -> Result<EnvFilter, LogError> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|level| !level.is_empty());
    let directives =
        level.map(str::to_owned).or(from_environment).unwrap_or_else(|| otherwise.into());
    EnvFilter::try_new(&directives)
        .map_err(|error| LogError::Level { directives, reason: error.to_string() })
}

/// A panic is a defect; the log says where, also when standard error leads nowhere.
fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}");
        before(panic);
    }));
}

/// The two patterns of ActiveMQ's log4j configuration.
#[derive(Debug, Clone, Copy)]
enum Line {
    /// `%d | %-5p | %m | %c | %t`
    Full,
    /// `%5p | %m`
    Short,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = event.metadata().level().as_str();
        if matches!(self, Self::Short) {
            write!(line, "{level:>5} | ")?;
            Message::write(event, &mut line)?;
            return writeln!(line);
        }
        match Local.timestamp_millis_opt(SystemClock.now_ms()).single() {
            Some(now) => write!(line, "{} | {level:<5} | ", now.format("%Y-%m-%d %H:%M:%S,%3f"))?,
            None => write!(line, "- | {level:<5} | ")?,
        }
        Message::write(event, &mut line)?;
        let thread = std::thread::current();
        writeln!(line, " | {} | {}", event.metadata().target(), thread.name().unwrap_or("-"))
    }
}

/// Writes the message and then other fields as ` name=value`, control characters escaped: what a client
/// calls itself must not be able to forge a line.
struct Message<'a, 'w> {
    line: &'a mut Writer<'w>,
    started: bool,
    written: fmt::Result,
}

impl<'a, 'w> Message<'a, 'w> {
    fn write(event: &Event<'_>, line: &'a mut Writer<'w>) -> fmt::Result {
        let mut message = Self { line, started: false, written: Ok(()) };
        event.record(&mut message);
        message.written
    }
}

impl Visit for Message<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let gap = if self.started { " " } else { "" };
        self.started = true;
        let mut escaped = Escaped(&mut *self.line);
        let written = match field.name() {
            "message" => write!(escaped, "{gap}{value:?}"),
            name => write!(escaped, "{gap}{name}={value:?}"),
        };
        self.written = self.written.and(written);
    }
}

struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let mut chars = part.chars();
            match chars.next_back().filter(|last| last.is_control() && *last != '\t') {
                Some(control) => {
                    write!(self.0, "{}{}", chars.as_str(), control.escape_default())?;
                }
                None => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// A file that makes room for a new one when it is full: `activemq.log.1` is the youngest old one.
///
/// Own code, because the crates for it panic when the directory is gone, which must not end a broker.
#[derive(Debug)]
struct RollingFile {
    path: PathBuf,
    file: fs::File,
    bytes: u64,
}

impl RollingFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    fn old(&self, age: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{age}"));
        name.into()
    }

    fn roll(&mut self) -> io::Result<()> {
        for age in (1..OLD_LOGS_MAX).rev() {
            match fs::rename(self.old(age), self.old(age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.old(1))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

impl io::Write for RollingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.bytes >= LOG_BYTES_MAX && self.roll().is_err() {
            // Without permission to rename, a log that grows is better than none; try again later.
            self.bytes = 0;
        }
        let written = self.file.write(line)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Lends the file to one line at a time.
#[derive(Debug, Clone)]
struct Rolling(Arc<Mutex<RollingFile>>);

impl<'a> MakeWriter<'a> for Rolling {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Rolling {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn logged(format: Line, act: impl FnOnce()) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let file = Rolling(Arc::new(Mutex::new(RollingFile::open(&path).unwrap())));
        let layer = tracing_subscriber::fmt::layer().event_format(format).with_writer(file);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
        fs::read_to_string(&path).unwrap()
    }

    #[test]
    fn a_line_has_time_level_message_logger_and_thread() {
        let line = logged(Line::Full, || tracing::info!("Connector openwire started"));
        let parts: Vec<_> = line.trim_end_matches('\n').split(" | ").collect();
        let [time, level, message, logger, thread] = parts.as_slice() else { panic!("{line}") };
        assert!(chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S,%3f").is_ok());
        assert_eq!((time.len(), *level, *message), (23, "INFO ", "Connector openwire started"));
        assert!(logger.starts_with("openwired::cli::log") && !thread.is_empty(), "{line}");
    }

    #[test]
    fn the_console_shows_level_and_message() {
        let line = logged(Line::Short, || tracing::warn!(answer = 42, "what"));
        assert_eq!(line, " WARN | what answer=42\n");
    }

    #[test]
    fn what_a_peer_sends_cannot_forge_a_line() {
        let name = "x\n2026-01-01 00:00:00,000 | ERROR | gone\r\u{1b}[2J";
        let line = logged(Line::Short, || tracing::info!(client = name, "client {name}"));
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(line.contains("x\\n2026") && line.contains("\\r\\u{1b}[2J"), "{line:?}");
    }

    #[test]
    fn a_full_file_rolls_and_only_some_old_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activemq.log");
        let mut file = RollingFile::open(&path).unwrap();
        for n in 0..10 {
            file.write_all(format!("{n}").as_bytes()).unwrap();
            file.bytes = LOG_BYTES_MAX;
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
        assert_eq!(read("activemq.log").as_deref(), Some("9"));
        assert_eq!(read("activemq.log.1").as_deref(), Some("8"));
        assert_eq!(read("activemq.log.7").as_deref(), Some("2"));
        assert_eq!(read("activemq.log.8"), None);
    }
}
