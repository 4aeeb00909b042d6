//! The six nodes of `docker/compose.yaml` in containers, of an image of the binary under test.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::daemon::BINARY;
use super::process::Process;

/// An image of its own, with all its containers; removed when dropped.
#[derive(Debug)]
pub struct Image {
    tag: String,
}

impl Image {
    /// Whether an engine answers; the test that asks says so if none does.
    pub fn can_be_made() -> bool {
        let asked =
            Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
        asked.is_ok_and(|asked| asked.status.success())
    }

    /// Builds it without any base image, under a name that is of this process only.
    pub fn make(name: &str) -> Self {
        let tag = format!("openwired-test-{name}-{}", std::process::id());
        let image = Self { tag };
        said(Command::new("docker/image-from-binary").args([BINARY, &image.tag]));
        image
    }

    /// Starts a container that looks at its health every second, and returns its id.
    pub fn run(&self, command: &[&str]) -> String {
        let label = format!("--label={}", self.tag);
        let often = ["--health-interval=1s", "--health-retries=1", "--health-start-period=0s"];
        let mut docker = Command::new("docker");
        docker.args(["run", "--detach", &label]).args(often).arg(&self.tag).args(command);
        said(&mut docker)
    }

    /// Waits until a container of [`Self::run`] has told its health.
    pub fn await_health(&self, container: &str, health: &str) {
        let container = format!("container={container}");
        let filters = ["--filter", &container, "--filter", "event=health_status"];
        let events = docker_events("{{.Action}}", "1h", &filters);
        events.wait_for(&format!("health_status: {health}"));
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let label = format!("label={}", self.tag);
        let containers = output(Command::new("docker").args(["ps", "-aq", "--filter", &label]));
        let ids = String::from_utf8_lossy(&containers.stdout).into_owned();
        for id in ids.split_whitespace() {
            output(Command::new("docker").args(["rm", "--force", "--volumes", id]));
        }
        output(Command::new("docker").args(["rmi", "--force", &self.tag]));
    }
}

/// What the engine says of its containers, from a time or an age on.
fn docker_events(format: &str, since: &str, filters: &[&str]) -> Process {
    let mut docker = Command::new("docker");
    docker.args(["events", "--since", since, "--format", format]).args(filters);
    Process::start(&mut docker)
}

/// The nodes, with their ports at free ones of this machine.
#[derive(Debug)]
pub struct Containers {
    image: Image,
    file: TempDir,
}

impl Containers {
    /// Starts all six, and returns when all say that they are healthy.
    pub fn start(name: &str) -> Self {
        let image = Image::make(name);
        let file = TempDir::with_prefix("openwired-compose-").unwrap();
        let mut text = std::fs::read_to_string("docker/compose.yaml").unwrap();
        let wanted = "image: openwired\n";
        assert!(text.contains(wanted), "{text}");
        text = text.replace(wanted, &format!("image: {}\n", image.tag));
        for port in (61616..=61621).chain(8161..=8166) {
            let fixed = format!("127.0.0.1:{port}:{port}");
            assert!(text.contains(&fixed), "{fixed} is missing: {text}");
            text = text.replace(&fixed, &format!("127.0.0.1::{port}"));
        }
        std::fs::write(file.path().join("compose.yaml"), text).unwrap();
        let containers = Self { image, file };
        said(&mut containers.compose(&["up", "--detach"]));
        let all: Vec<_> = (1..=6).map(|node| format!("mq{node}")).collect();
        containers.await_healthy(&all, "1h");
        containers
    }

    /// Waits until each of these nodes has said since then that it is healthy.
    fn await_healthy(&self, nodes: &[String], since: &str) {
        let project = self.project();
        let filters = ["--filter", &project, "--filter", "event=health_status"];
        let format = r#"{{index .Actor.Attributes "com.docker.compose.service"}} {{.Action}}"#;
        let events = docker_events(format, since, &filters);
        for node in nodes {
            events.wait_for(&format!("{node} health_status: healthy"));
        }
    }

    fn project(&self) -> String {
        format!("label=com.docker.compose.project={}", self.image.tag)
    }

    /// Kills the node of a group (0 or 1) that serves, and says which one that was.
    pub fn kill_master(&self, group: usize) -> String {
        let format = r#"{{.Label "com.docker.compose.service"}} {{.ID}}"#;
        let ps = ["ps", "--filter", &self.project(), "--format", format];
        let running = said(Command::new("docker").args(ps));
        let nodes = [1, 2, 3].map(|node| format!("mq{}", group * 3 + node));
        let mut of_group = running
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(node, _)| nodes.iter().any(|name| name == node));
        let serves = |(_, container): &(&str, &str)| {
            // What it said before it was killed and started again does not count.
            let began = ["inspect", "--format", "{{.State.StartedAt}}", container];
            let began = said(Command::new("docker").args(began));
            let logs = ["logs", "--since", &began, container];
            said(Command::new("docker").args(logs)).contains(") started")
        };
        let (node, container) = of_group.find(serves).expect("a group has a master");
        said(Command::new("docker").args(["kill", container]));
        node.to_owned()
    }

    /// Starts nodes that were killed, and returns when they are healthy.
    pub fn start_again(&self, nodes: &[String]) {
        let now = said(Command::new("docker").args(["info", "--format", "{{.SystemTime}}"]));
        said(self.compose(&["start"]).args(nodes));
        self.await_healthy(nodes, &now);
    }

    /// The addresses of a group's nodes on this machine.
    pub fn addresses(&self, group: usize) -> Vec<String> {
        let ports = (61616 + group * 3..).take(3);
        let ps = ["ps", "--all", "--filter", &self.project(), "--format", "{{.Ports}}"];
        let published = said(Command::new("docker").args(ps));
        ports
            .map(|port| {
                let of_port = format!("->{port}/tcp");
                let mut all = published.split([',', '\n']).map(str::trim);
                let found = all.find_map(|one| one.strip_suffix(&of_port));
                found.unwrap_or_else(|| panic!("{port} in {published}")).to_owned()
            })
            .collect()
    }

    /// What all nodes said, for a test that failed.
    pub fn said(&self) -> String {
        said(&mut self.compose(&["logs", "--no-color", "--tail=20"]))
    }

    /// Compose 1 or 2, whichever is here, on this project.
    fn compose(&self, arguments: &[&str]) -> Command {
        let second = Command::new("docker").args(["compose", "version"]).output();
        let mut compose = match second {
            Ok(asked) if asked.status.success() => {
                let mut docker = Command::new("docker");
                docker.arg("compose");
                docker
            }
            _ => Command::new("docker-compose"),
        };
        // Paths in the file are those beside the original.
        let directory = Path::new("docker").canonicalize().unwrap();
        compose.arg("--project-directory").arg(directory);
        compose.arg("--file").arg(self.file.path().join("compose.yaml"));
        compose.args(["--project-name", &self.image.tag]).args(arguments);
        compose
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        let down = output(&mut self.compose(&["down", "--volumes", "--remove-orphans"]));
        if !down.status.success() {
            eprintln!("not all is removed: {}", String::from_utf8_lossy(&down.stderr));
        }
    }
}

/// What a command that succeeds says on its standard output.
fn said(command: &mut Command) -> String {
    let done = output(command);
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {}: {error}", done.status);
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
