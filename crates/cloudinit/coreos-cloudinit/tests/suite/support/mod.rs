//! Runs the program below a root folder, with recorded helper programs, a fake systemd on a private bus, and an
//! HTTP server.

pub mod server;
pub mod systemd;
pub mod tracer;
pub mod vmware;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A machine whose root is a folder.
pub struct Machine {
    folder: TempDir,
}

pub struct RunOutput {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Machine {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("root/etc")).unwrap();
        fs::create_dir_all(folder.path().join("bin")).unwrap();
        let machine = Self { folder };
        machine.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        machine
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    pub fn put(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    pub fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path(path)).unwrap().permissions().mode() & 0o7777
    }

    /// Installs a program that records its arguments and input and exits with `status`.
    pub fn record(&self, program: &str, status: i32) {
        let log = self.folder.path().join("recorded");
        let path = self.folder.path().join("bin").join(program);
        let text = format!(
            "#!/bin/sh\n{{ echo \"{program} $*\"; cat | sed 's/^/< /'; }} >> '{}'\necho refused >&2\nexit {status}\n",
            log.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Installs a shell script as a program.
    pub fn program(&self, program: &str, script: &str) {
        let path = self.folder.path().join("bin").join(program);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn recorded(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("recorded")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Runs with user-data from a file.
    pub fn run(&self, user_data: impl AsRef<[u8]>, arguments: &[&str]) -> RunOutput {
        self.start(&[&[&*self.user_data(user_data)], arguments].concat(), &[], b"")
    }

    /// Stores the user-data and returns the argument for it.
    fn user_data(&self, user_data: impl AsRef<[u8]>) -> String {
        let file = self.folder.path().join("user-data");
        fs::write(&file, user_data).unwrap();
        format!("-from-file={}", file.display())
    }

    pub fn start(&self, arguments: &[&str], environment: &[(&str, &str)], input: &[u8]) -> RunOutput {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        output(command, input)
    }

    /// Overrides the limit of all commands, in seconds, and runs with this `TimeoutSec=`.
    pub fn run_as_unit(&self, user_data: &str, commands_limit: &str, timeout_sec: &str) -> RunOutput {
        let mut command = self.command(&["-root-run", &self.user_data(user_data)]);
        command.env("COREOS_CLOUDINIT_TEST_COMMANDS_LIMIT", commands_limit);
        let mut timeout = Command::new("timeout");
        timeout.arg(timeout_sec);
        output(wrapped(timeout, &command), b"")
    }

    /// The command for this machine, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-cloudinit"));
        command.arg(format!("-root={}", self.root().display())).args(arguments);
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.folder.path().join("bin").display()));
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", self.bus_path().display()));
        command
    }

    pub fn bus_path(&self) -> PathBuf {
        self.folder.path().join("bus")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn wrapped(mut wrapper: Command, command: &Command) -> Command {
    wrapper.arg(command.get_program()).args(command.get_args()).env_clear();
    wrapper.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapper
}

fn output(mut command: Command, input: &[u8]) -> RunOutput {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // The program may have exited without reading its input.
    pipe.write_all(input).unwrap_or(());
    drop(pipe);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    RunOutput {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

impl RunOutput {
    /// Checks the exit status and that the output contains all of `expected`.
    pub fn expect(&self, code: i32, expected: &[&str]) -> &Self {
        let all = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(self.code, code, "{all}");
        for text in expected {
            assert!(all.contains(text), "{text:?} is not in:\n{all}");
        }
        self
    }

    pub fn never_contains(&self, text: &str) -> &Self {
        let all = format!("{}{}", self.stdout, self.stderr);
        assert!(!all.contains(text), "{text:?} is in:\n{all}");
        self
    }
}
