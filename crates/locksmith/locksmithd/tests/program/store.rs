//! An in-memory key-value store, and locksmithctl against it.

use std::ops::Deref;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use memory_etcd::MemoryEtcd;

pub const SEMAPHORE: &str = "/coreos.com/updateengine/rebootlock/semaphore";
pub const METADATA: &str = "/coreos.com/updateengine/rebootlock/semaphore.meta";

pub struct Store(MemoryEtcd);

impl Store {
    pub fn start() -> Store {
        Store(MemoryEtcd::start("127.0.0.1:0"))
    }

    /// Runs locksmithctl; returns stdout, marked stderr, and the exit code if not 0.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        ctl(&[&["-endpoint", self.url.as_str()], arguments].concat())
    }
}

impl Deref for Store {
    type Target = MemoryEtcd;

    fn deref(&self) -> &MemoryEtcd {
        &self.0
    }
}

pub fn program(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_locksmithd"));
    command.arg0(name).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

pub fn ctl(arguments: &[&str]) -> String {
    let output = program("locksmithctl").args(arguments).output().unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .for_each(|line| text.push_str(&format!("err| {line}\n")));
    match output.status.code() {
        Some(0) => text,
        code => format!("{text}exit {code:?}\n"),
    }
}
