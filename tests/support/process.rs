//! A broker's process: what it says, line by line, and its end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process whose output is kept. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    all: Vec<String>,
    /// Pipes that are at their end.
    ended: usize,
}

/// Rings whenever some process says something or ends.
static BELL: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

/// Waits until `find` finds what it looks for in what processes say; `None` when patience is over.
fn await_said<T>(mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    // A test that failed while it looked leaves nothing behind that could be half done.
    let mut listening = BELL.0.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let found = find();
        let left = deadline.saturating_duration_since(Instant::now());
        if found.is_some() || left.is_zero() {
            return found;
        }
        let woken = BELL.1.wait_timeout(listening, left);
        listening = woken.unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn ring() {
    drop(BELL.0.lock().unwrap_or_else(PoisonError::into_inner));
    BELL.1.notify_all();
}

/// Waits until one of the nodes of a group serves, and says which; some may not run.
pub fn await_master(nodes: &[Option<Process>]) -> usize {
    let serves = |node: &Option<Process>| {
        let output = node.as_ref().map(|process| process.output.lock().unwrap());
        output.is_some_and(|lines| lines.all.iter().any(|line| line.contains(STARTED)))
    };
    let master = await_said(|| nodes.iter().position(serves));
    let said = || nodes.iter().flatten().map(|node| format!("== a node\n{}\n", node.said_last()));
    master.unwrap_or_else(|| panic!("no master:\n{}", said().collect::<String>()))
}

/// What a broker says when it serves.
pub const STARTED: &str = ") started";

impl Process {
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = Arc::default();
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
        let found = await_said(|| {
            let lines = self.output.lock().unwrap();
            let found = lines.all.iter().find(|line| is_it(line)).cloned();
            let over = (lines.ended >= 2).then_some(Err("it ended without saying"));
            found.map(Ok).or(over)
        });
        let failed = |why: &str| panic!("{why} `{text}`:\n{}", self.said());
        found.unwrap_or(Err("it never said")).unwrap_or_else(failed)
    }

    /// All it said so far.
    pub fn said(&self) -> String {
        self.output.lock().unwrap().all.join("\n")
    }

    /// The end of it, for a test that failed.
    pub fn said_last(&self) -> String {
        let lines = self.output.lock().unwrap();
        lines.all[lines.all.len().saturating_sub(30)..].join("\n")
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let ended = await_said(|| (self.output.lock().unwrap().ended >= 2).then_some(()));
        assert!(ended.is_some(), "it does not end:\n{}", self.said());
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

fn collect(pipe: impl Read + Send + 'static, output: &Arc<Mutex<Lines>>) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            output.lock().unwrap().all.push(line);
            ring();
        }
        output.lock().unwrap().ended += 1;
        ring();
    });
}
