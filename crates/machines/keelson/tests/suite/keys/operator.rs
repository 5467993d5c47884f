//! Runs `keelson` as an operator does.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::pty::{OpenptyResult, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

pub const PASSWORD: &str = "correct horse battery staple";
/// Of the tokens.
pub const PIN: &str = "271828";

/// With a home directory, and perhaps a password in the environment.
pub struct Operator {
    pub home: tempfile::TempDir,
    pub variable: Option<&'static str>,
    /// SoftHSM's configuration.
    pub softhsm: Option<PathBuf>,
}

impl Operator {
    /// With an empty home directory and without a password.
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), variable: None, softhsm: None }
    }

    /// With keys in the default folder.
    pub fn with_keys() -> Self {
        let operator = Self { variable: Some(PASSWORD), ..Self::new() };
        operator.succeed(&["keys"]);
        operator
    }

    pub fn keys(&self) -> PathBuf {
        self.home.path().join(".config/keelson/keys")
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).current_dir(self.home.path()).stdin(Stdio::null());
        if let Some(password) = self.variable {
            command.env("KEELSON_KEYS_PASSWORD", password);
        }
        if let Some(configuration) = &self.softhsm {
            command.env("SOFTHSM2_CONF", configuration);
        }
        command
    }

    /// With a deadline: a server that starts against expectation would serve forever.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command("timeout");
        command.args(["60", env!("CARGO_BIN_EXE_keelson")]).args(arguments).output().unwrap()
    }

    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let both = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(both).unwrap();
        assert!(!text.contains(PASSWORD), "{text}");
        text
    }

    pub fn fail(&self, arguments: &[&str], code: i32, expected: &str) {
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && error.contains(expected), "{arguments:?}: {error}");
        assert!(!error.contains(PASSWORD) && !error.contains(PIN), "{error}");
    }

    /// Types lines on a terminal, one at each prompt. Returns what the terminal shows.
    pub fn types(&self, arguments: &[&str], lines: &[&str]) -> (bool, String) {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let mut command = self.command("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_keelson")]).args(arguments);
        command.stdout(slave.try_clone().unwrap()).stderr(slave.try_clone().unwrap()).stdin(slave);
        let mut child = command.spawn().unwrap();
        // Holds the terminal open.
        drop(command);
        let mut terminal = File::from(master);
        let mut shown = Vec::new();
        for line in lines {
            read_prompt(&mut terminal, &mut shown, &mut child);
            terminal.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        // Linux reports EIO when the last process has closed the terminal.
        assert!(terminal.read_to_end(&mut shown).is_err());
        (child.wait().unwrap().success(), String::from_utf8(shown).unwrap())
    }
}

/// Reads up to the next prompt, which ends with a colon and a space, and waits until the echo is off.
fn read_prompt(terminal: &mut File, shown: &mut Vec<u8>, child: &mut Child) {
    let from = shown.len();
    let mut byte = [0];
    while !shown[from..].ends_with(b": ") {
        let read = terminal.read(&mut byte);
        assert!(read.is_ok(), "{}", String::from_utf8_lossy(shown));
        shown.push(byte[0]);
    }
    // Nothing reports a change of the terminal's settings.
    while tcgetattr(&*terminal).unwrap().local_flags.contains(LocalFlags::ECHO) {
        assert!(child.try_wait().unwrap().is_none(), "it ended with the echo on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
