//! A real SSH server on loopback, an agent, and their keys, for one test.
//!
//! The server is Debian's `openssh-server`, in a mount namespace with a user `core`.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleet_api::Machine;

use crate::model::Model;
use crate::program::Program;
use crate::server::Server;

pub struct Fixture {
    // Drop order: the processes exit before the folder is removed.
    _sshd: Running,
    _agent: Option<Running>,
    pub port: u16,
    pub server: Server,
    pub program: Program,
    pub folder: tempfile::TempDir,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Path in Debian; sshd requires an absolute path.
const SSHD: &str = "/usr/sbin/sshd";

fn run_to_success(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

pub fn generate_key(path: &Path, kind: &str) {
    run_to_success(Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f"]).arg(path));
}

impl Fixture {
    pub fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        generate_key(&root.join("host"), "ed25519");
        generate_key(&root.join("user"), "ed25519");
        std::fs::copy(root.join("user.pub"), root.join("authorized")).unwrap();
        let port = loopback_port::reserve().unwrap().port();
        let sshd = Running(start_sshd(root, port));
        let mut model = Model::with_three_machines();
        // A unique id prefix, and the address of the server.
        model.machines.push(Machine {
            id: "feedbeef112233445566778899aabbcc".into(),
            primary_ip: "127.0.0.1".into(),
            ..Machine::default()
        });
        let server = Server::start(root, model);
        let program = Program::in_folder(root).with("FLEETCTL_ENDPOINT", &server.endpoint());
        let fixture = Fixture { _sshd: sshd, _agent: None, port, server, program, folder };
        fixture.wait_for_banner();
        fixture
    }

    /// An agent that holds the user's key.
    pub fn with_agent(mut self) -> Fixture {
        let socket = self.path("agent");
        let agent = Command::new("ssh-agent").args(["-D", "-a", &socket]).stdout(Stdio::null()).spawn();
        self._agent = Some(Running(agent.unwrap()));
        // The socket exists before the agent listens.
        wait_for("the agent", || UnixStream::connect(&socket).is_ok());
        run_to_success(
            Command::new("ssh-add")
                .args(["-q", &self.path("user")])
                .env("SSH_AUTH_SOCK", &socket)
                .stdin(Stdio::null()),
        );
        self.program = self.program.with("SSH_AUTH_SOCK", &socket);
        self
    }

    /// Adds the server's key to the known hosts.
    pub fn with_known_host(self) -> Fixture {
        let host_key = std::fs::read_to_string(self.path("host.pub")).unwrap();
        let host_key: Vec<&str> = host_key.split_whitespace().take(2).collect();
        std::fs::create_dir(self.path(".fleetctl")).unwrap();
        let line = format!("[127.0.0.1]:{} {}\n", self.port, host_key.join(" "));
        std::fs::write(self.path(".fleetctl/known_hosts"), line).unwrap();
        self
    }

    pub fn with(mut self, name: &str, value: &str) -> Fixture {
        self.program = self.program.with(name, value);
        self
    }

    /// Sets a variable to the path of a file in the folder.
    pub fn with_path(self, name: &str, file: &str) -> Fixture {
        let path = self.path(file);
        self.with(name, &path)
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs `fleetctl ssh` to the server with further arguments.
    pub fn ssh(&self, arguments: &[&str], input: &str) -> String {
        let port = format!("--ssh-port={}", self.port);
        self.program.run(&[&["ssh", &port, "feedbeef"], arguments].concat(), input)
    }

    /// Adds a program to the start of the PATH of sessions.
    pub fn script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.path().join("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn wait_for_banner(&self) {
        wait_for("the SSH server", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }
}

pub fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !there() {
        assert!(Instant::now() < end, "{what} does not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn start_sshd(root: &Path, port: u16) -> Child {
    let shown = |name: &str| root.join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(root.join("bin")).unwrap();
    let fleetctl: PathBuf = env!("CARGO_BIN_EXE_fleetctl").into();
    std::os::unix::fs::symlink(fleetctl, root.join("bin/fleetctl")).unwrap();
    let users = format!(
        "root:x:0:0:root:{home}:/bin/sh\ncore:x:0:0:core:{home}:/bin/sh\nsshd:x:65534:65534::/run/sshd:/bin/false\n",
        home = root.display()
    );
    std::fs::write(root.join("passwd"), users).unwrap();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
         PermitRootLogin yes\nPasswordAuthentication no\nPidFile none\nAllowAgentForwarding yes\n\
         SetEnv PATH={}:/usr/bin:/bin\n",
        shown("host"),
        shown("authorized"),
        shown("bin")
    );
    std::fs::write(root.join("sshd_config"), config).unwrap();
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && mount --bind {} /etc/passwd && \
         exec {} -D -e -f {}",
        shown("passwd"),
        SSHD,
        shown("sshd_config")
    );
    let log = std::fs::File::create(root.join("sshd.log")).unwrap();
    Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
