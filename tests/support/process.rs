//! A broker's process: what it says, line by line, and its end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process whose output is kept. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: Arc<Output>,
}

#[derive(Debug, Default)]
struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    all: Vec<String>,
    /// Pipes that are at their end.
    ended: usize,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = Arc::new(Output::default());
        collect(child.stdout.take().unwrap(), &output);
        collect(child.stderr.take().unwrap(), &output);
        Self { child, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that holds `text`, also one that came before, and returns it.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_line(text, |line| line.contains(text))
    }

    /// Waits for a line that ends with `text`, also one that came before, and returns it.
    pub fn wait_for_line_end(&self, text: &str) -> String {
        self.wait_for_line(text, |line| line.ends_with(text))
    }

    fn wait_for_line(&self, text: &str, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.output.lines.lock().unwrap();
        loop {
            if let Some(found) = lines.all.iter().find(|line| is_it(line)) {
                return found.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let said = || lines.all.join("\n");
            assert!(lines.ended < 2, "it ended without saying `{text}`:\n{}", said());
            assert!(!left.is_zero(), "it never said `{text}`:\n{}", said());
            lines = self.output.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// All it said so far.
    pub fn said(&self) -> String {
        self.output.lines.lock().unwrap().all.join("\n")
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.output.lines.lock().unwrap();
        while lines.ended < 2 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it does not end:\n{}", lines.all.join("\n"));
            lines = self.output.changed.wait_timeout(lines, left).unwrap().0;
        }
        drop(lines);
        self.child.wait().unwrap()
    }

    /// Asks it to stop and waits for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal by its name to one process.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -{name} {pid}");
}

fn collect(pipe: impl Read + Send + 'static, output: &Arc<Output>) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            output.lines.lock().unwrap().all.push(line);
            output.changed.notify_all();
        }
        output.lines.lock().unwrap().ended += 1;
        output.changed.notify_all();
    });
}
