//! A directory for rkt, with an image of busybox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::archive;

/// For a slow host.
const DEADLINE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(10);
pub const IMAGE: &str = "docker://example.com/busybox:1";
/// crun does not run where control groups are hybrid; pods use none. A mount namespace hides those of the host.
const WRAPPER: &str = "mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";

pub struct Lab {
    folder: tempfile::TempDir,
    /// A process in the network namespace of all commands.
    network: Option<Child>,
}

/// What a command printed.
#[derive(Debug)]
pub struct Printed {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Printed {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Lab {
    /// `None`, with a message, where pods cannot run.
    pub fn start(test: &str) -> Option<Self> {
        match Self::create() {
            Ok(lab) => Some(lab),
            Err(reason) => {
                eprintln!("SKIPPED: {test}: {reason}");
                None
            }
        }
    }

    fn create() -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("needs root".to_owned());
        }
        let busybox = archive::busybox()?;
        Command::new("crun")
            .arg("--version")
            .output()
            .map_err(|_| "no crun (apt-get install crun)".to_owned())?;
        let lab = Self { folder: tempfile::tempdir().unwrap(), network: None };
        let tried = lab.wrapped(Path::new("true"), &[]).output().map_err(|error| error.to_string())?;
        if !tried.status.success() {
            return Err(format!("no mount namespace with control groups: {}", Printed::from(tried).stderr));
        }
        lab.write_image(
            "busybox.tar",
            &archive::layer(&busybox),
            &json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] }),
        );
        Ok(lab)
    }

    /// As [`Self::start`], with the image in the store.
    pub fn with_image(test: &str) -> Option<Self> {
        let lab = Self::start(test)?;
        lab.ok(&["fetch", "--insecure-options=image", &lab.path("busybox.tar")]);
        Some(lab)
    }

    /// With a network namespace of its own, which has the address 10.9.9.1.
    pub fn with_network(test: &str) -> Option<Self> {
        let mut lab = Self::with_image(test)?;
        let script = "ip link set lo up && ip address add 10.9.9.1/32 dev lo && nft list tables && echo ready && exec cat";
        let started = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(fs::File::create(lab.path("network")).unwrap())
            .stderr(Stdio::null())
            .spawn();
        lab.network = Some(started.unwrap());
        let is_ready = lab.wait_for("network namespace", || {
            let text = fs::read_to_string(lab.path("network")).unwrap();
            match (text.contains("ready"), lab.network_ended()) {
                (true, _) => Ok(true),
                (false, true) => Ok(false),
                (false, false) => Err(text),
            }
        });
        if !is_ready {
            eprintln!(
                "SKIPPED: {test}: no network namespace with ip and nft (apt-get install iproute2 nftables)"
            );
            return None;
        }
        Some(lab)
    }

    fn network_ended(&self) -> bool {
        let id = self.network.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    }

    pub fn write_image(&self, file: &str, layer: &[u8], settings: &Value) {
        let name = format!("example.com/{}:1", file.strip_suffix(".tar").unwrap());
        fs::write(self.path(file), archive::docker_archive(layer, settings, &name)).unwrap();
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn pods(&self, stage: &str) -> PathBuf {
        self.folder.path().join("rkt/pods").join(stage)
    }

    fn wrapped(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = match &self.network {
            Some(process) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/proc/{}/ns/net", process.id())).arg("unshare");
                command
            }
            None => Command::new("unshare"),
        };
        command.args(["--mount", "sh", "-c", WRAPPER, "sh"]).arg(program).args(arguments);
        command.stdin(Stdio::null()).env("RKT_FLANNEL_SUBNET_FILE", self.path("subnet.env"));
        command
    }

    /// A program in the network namespace.
    pub fn network_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.network.as_ref().unwrap().id())).args(arguments);
        command
    }

    /// Whether it succeeds.
    pub fn in_network(&self, arguments: &[&str]) -> bool {
        self.network_command(arguments).status().unwrap().success()
    }

    /// The program; its process is the returned command's.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let (dir, config) =
            (format!("--dir={}", self.path("rkt")), format!("--local-config={}", self.path("etc")));
        let system = format!("--system-config={}", self.path("system"));
        let all: Vec<&str> = [dir.as_str(), config.as_str(), system.as_str()]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        self.wrapped(Path::new(env!("CARGO_BIN_EXE_rkt")), &all)
    }

    pub fn rkt(&self, arguments: &[&str]) -> Printed {
        self.command(arguments).output().unwrap().into()
    }

    /// Standard output of a command that succeeds.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let printed = self.rkt(arguments);
        assert_eq!(printed.code, Some(0), "{arguments:?}: {printed:?}");
        printed.stdout
    }

    /// A command that fails with rkt's code and a message.
    pub fn fails(&self, arguments: &[&str], message: &str) {
        let printed = self.rkt(arguments);
        assert!(printed.code == Some(254) && printed.stderr.contains(message), "{arguments:?}: {printed:?}");
    }

    /// `rkt run` of a shell's script in the image.
    pub fn script(&self, flags: &[&str], script: &str) -> Printed {
        let arguments = [
            &["run", "--insecure-options=image", "--net=none"],
            flags,
            &[IMAGE, "--exec=sh", "--", "-c", script],
        ];
        self.rkt(&arguments.concat())
    }

    /// A pod that runs in the background.
    pub fn spawn(&self, flags: &[&str], script: &str) -> Running {
        let uuid_file = self.path(&format!("uuid-{}", fs::read_dir(self.folder.path()).unwrap().count()));
        let save = format!("--uuid-file-save={uuid_file}");
        let net: &[&str] =
            if flags.iter().any(|flag| flag.starts_with("--net")) { &[] } else { &["--net=none"] };
        let first: &[&str] = &["run", "--insecure-options=image", &save];
        let arguments = [first, net, flags, &[IMAGE, "--exec=sh", "--", "-c", script]].concat();
        let child = self.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let uuid = self.wait_for("UUID of the pod", || {
            fs::read_to_string(&uuid_file).ok().filter(|uuid| !uuid.is_empty()).ok_or_else(String::new)
        });
        let running = Running { child: Some(child), uuid, uuid_file };
        self.wait_for("start of the pod", || {
            let status = self.rkt(&["status", &running.uuid]);
            if status.stdout.contains("started=") { Ok(()) } else { Err(format!("{status:?}")) }
        });
        running
    }

    pub fn state(&self, uuid: &str) -> String {
        let text = self.ok(&["status", uuid]);
        text.lines().next().unwrap().strip_prefix("state=").unwrap().to_owned()
    }

    /// Polls a condition; `Err` is the last state.
    pub fn wait_for<T>(&self, what: &str, mut condition: impl FnMut() -> Result<T, String>) -> T {
        let start = Instant::now();
        loop {
            match condition() {
                Ok(value) => return value,
                Err(state) => assert!(start.elapsed() < DEADLINE, "{what}: {state}"),
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut network) = self.network.take() {
            // It may have ended.
            drop(network.kill());
            network.wait().unwrap();
        }
    }
}

/// A pod in the background. Killed on drop.
pub struct Running {
    child: Option<Child>,
    pub uuid: String,
    pub uuid_file: String,
}

impl Running {
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = self.child.as_ref().unwrap().id();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id.cast_signed()), signal).unwrap();
    }

    pub fn finish(mut self) -> Printed {
        self.child.take().unwrap().wait_with_output().unwrap().into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            child.wait().unwrap();
        }
    }
}
