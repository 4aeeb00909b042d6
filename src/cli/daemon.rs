//! `start`, `stop`, `restart`, `status`, `kill`: the broker in the background, as the script does it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};

use super::args::{Common, Configuration};
use super::layout::Layout;
use super::pid_file::{self, State};
use super::status_file;

/// How often `stop` looks whether the process is gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the daemon says on its standard output once it serves; all before is for people.
const READY: &str = "openwired: ready";

/// Starts the broker detached from this terminal and returns once it serves or has failed.
pub(super) fn start(
    layout: &Layout,
    common: &Common,
    configuration: &Configuration,
) -> anyhow::Result<ExitCode> {
    if let State::Running(pid) = pid_file::state(&layout.pid_file)? {
        println!("INFO: Process with pid '{}' is already running", pid.as_raw_nonzero());
        return Ok(ExitCode::SUCCESS);
    }
    println!("INFO: Starting - inspect logfile {} to get details", layout.log_file().display());
    let exe = std::env::current_exe().context("cannot find the binary of openwired")?;
    let mut command = Command::new(exe);
    command.args(child_arguments(common, configuration));
    // Standard output and error share one pipe, so that the order of lines is kept.
    let (reader, writer) = io::pipe().context("cannot make a pipe to the daemon")?;
    let also = writer.try_clone().context("cannot make a pipe to the daemon")?;
    command.stdin(Stdio::null()).stdout(writer).stderr(also);
    let mut child = command.spawn().context("cannot start the daemon")?;
    drop(command);
    let mut said = Vec::new();
    // To the end, which is where the daemon lets go of the pipe: from then on it is on its own.
    for line in BufReader::new(reader).lines() {
        said.push(line.context("cannot hear the daemon")?);
    }
    if !said.iter().any(|line| line == READY) {
        return failed(&mut child, &said);
    }
    let (file, pid) = (layout.pid_file.display(), child.id());
    println!("INFO: pidfile created : '{file}' (pid '{pid}')");
    Ok(ExitCode::SUCCESS)
}

/// Repeats what the daemon said before it ended.
fn failed(child: &mut Child, said: &[String]) -> anyhow::Result<ExitCode> {
    for line in said.iter().filter(|line| !line.trim().is_empty()) {
        eprintln!("{line}");
    }
    let status = child.wait().context("cannot wait for the daemon")?;
    eprintln!("ERROR: ActiveMQ did not start ({status})");
    Ok(ExitCode::FAILURE)
}

fn child_arguments(common: &Common, configuration: &Configuration) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["console".into(), "--detached".into()];
    arguments.extend(common.define.iter().map(|definition| format!("-D{definition}").into()));
    if let Some(level) = &common.log {
        arguments.push(format!("--log={level}").into());
    }
    if configuration.strict {
        arguments.push("--strict".into());
    }
    arguments.extend(configuration.conf.as_ref().map(OsString::from));
    arguments
}

/// In the daemon: leaves the terminal's session.
pub(super) fn detach() -> anyhow::Result<()> {
    rustix::process::setsid().context("cannot leave the session of the terminal")?;
    Ok(())
}

/// In the daemon: tells `start` that the broker serves, and lets go of its pipe.
pub(super) fn report_ready(layout: &Layout) -> anyhow::Result<()> {
    let stray = OpenOptions::new().append(true).create(true).open(&layout.out);
    let stray: File =
        stray.with_context(|| format!("cannot open {} for output", layout.out.display()))?;
    let mut out = io::stdout().lock();
    // Whoever started it may be gone; the broker stays.
    if writeln!(out, "{READY}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("no one waits for the start");
    }
    rustix::stdio::dup2_stdout(&stray).context("cannot let go of standard output")?;
    rustix::stdio::dup2_stderr(&stray).context("cannot let go of standard error")?;
    Ok(())
}

/// Stops the broker: SIGTERM, then after `ACTIVEMQ_KILL_MAXSECONDS` SIGKILL.
pub(super) fn stop(layout: &Layout) -> anyhow::Result<ExitCode> {
    let file = &layout.pid_file;
    let pid = match pid_file::state(file)? {
        State::Running(pid) => pid,
        State::Absent => {
            println!("ActiveMQ not running");
            return Ok(ExitCode::SUCCESS);
        }
        State::Outdated => {
            println!("ERROR: No or outdated process id in '{}'\n", file.display());
            println!("INFO: Removing {}", file.display());
            remove(layout)?;
            return Ok(ExitCode::FAILURE);
        }
    };
    send(pid, Signal::TERM)?;
    let (seconds, number) = (layout.kill_after.as_secs(), pid.as_raw_nonzero());
    println!(
        "INFO: Waiting at least {seconds} seconds for regular process termination of pid '{number}' : "
    );
    if gone(layout, pid, layout.kill_after)? {
        println!(" FINISHED");
        remove(layout)?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nINFO: Regular shutdown not successful,  sending SIGKILL to process");
    kill(layout)
}

/// Ends the broker at once.
pub(super) fn kill(layout: &Layout) -> anyhow::Result<ExitCode> {
    let State::Running(pid) = pid_file::state(&layout.pid_file)? else {
        println!("INFO: not running, nothing to do");
        return Ok(ExitCode::SUCCESS);
    };
    println!("INFO: sending SIGKILL to pid '{}'", pid.as_raw_nonzero());
    send(pid, Signal::KILL)?;
    if !gone(layout, pid, KILL_TAKES_MAX)? {
        bail!("pid {} does not end; is its disk stuck?", pid.as_raw_nonzero());
    }
    remove(layout)?;
    Ok(ExitCode::SUCCESS)
}

/// A killed process goes at once unless the system waits for a device.
const KILL_TAKES_MAX: Duration = Duration::from_secs(10);

fn send(pid: Pid, signal: Signal) -> anyhow::Result<()> {
    pid_file::signal(pid, signal)
        .with_context(|| format!("cannot signal the broker, pid {}", pid.as_raw_nonzero()))
}

/// Waits until the process is gone, with a dot a second for the one who watches.
fn gone(layout: &Layout, pid: Pid, at_most: Duration) -> anyhow::Result<bool> {
    let began = Instant::now();
    let mut dots = 0;
    while pid_file::state(&layout.pid_file)? == State::Running(pid) {
        let waited = began.elapsed();
        if waited >= at_most {
            return Ok(false);
        }
        if waited.as_secs() > dots {
            dots += 1;
            print!(".");
            io::stdout().flush()?;
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(true)
}

/// Removes the file that a stopped broker may have left, unless a new one runs by now.
fn remove(layout: &Layout) -> anyhow::Result<()> {
    let file = &layout.pid_file;
    if pid_file::state(file)? == State::Outdated {
        std::fs::remove_file(file)
            .with_context(|| format!("cannot remove the pid file {}", file.display()))?;
    }
    Ok(())
}

/// Stops what runs and starts it again.
pub(super) fn restart(
    layout: &Layout,
    common: &Common,
    configuration: &Configuration,
) -> anyhow::Result<ExitCode> {
    if matches!(pid_file::state(&layout.pid_file)?, State::Running(_)) {
        let stopped = stop(layout)?;
        if stopped != ExitCode::SUCCESS {
            return Ok(stopped);
        }
        println!();
    }
    let started = start(layout, common, configuration)?;
    if started != ExitCode::SUCCESS {
        return Ok(started);
    }
    status(layout)
}

/// Says whether the broker of this data directory runs, whether it is master or slave, and of which master.
pub(super) fn status(layout: &Layout) -> anyhow::Result<ExitCode> {
    if let State::Running(pid) = pid_file::state(&layout.pid_file)? {
        println!("ActiveMQ is running (pid '{}')", pid.as_raw_nonzero());
        if let Some(status) = status_file::read(&layout.pid_file)? {
            println!("{}", status.of_running());
        }
        return Ok(ExitCode::SUCCESS);
    }
    println!("ActiveMQ not running");
    if let Some(said) = status_file::read(&layout.pid_file)?.and_then(|status| status.of_stopped())
    {
        println!("{said}");
    }
    Ok(ExitCode::FAILURE)
}
