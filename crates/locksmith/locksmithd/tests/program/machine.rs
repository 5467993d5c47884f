//! A running locksmithd between fakes of its peers.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bus::Bus;
use crate::store::{Store, program};

const LIMIT: Duration = Duration::from_secs(20);

/// Polls until the condition holds; fails with the last observed value.
#[track_caller]
pub fn wait_until<T: std::fmt::Debug>(
    wanted: &str,
    observe: impl Fn() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        let observed = observe();
        if holds(&observed) {
            return observed;
        }
        assert!(Instant::now() < end, "{wanted}: {observed:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn own_id() -> String {
    std::fs::read_to_string("/etc/machine-id").unwrap().trim().to_owned()
}

pub struct Machine {
    pub store: Store,
    pub bus: Bus,
    folder: tempfile::TempDir,
}

impl Machine {
    /// With a running etcd.
    pub fn new() -> Machine {
        let folder = tempfile::tempdir().unwrap();
        let bus = Bus::start(folder.path());
        bus.change(|state| {
            state.units.insert("etcd.service".into(), "active".into());
        });
        Machine { store: Store::start(), bus, folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = program("locksmithd");
        command
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.bus.address)
            .env("RUNTIME_DIRECTORY", self.path("run"))
            .env("STATE_DIRECTORY", self.path("state"))
            .env("LOCKSMITHD_ENDPOINT", &self.store.url)
            .env("LOCKSMITHD_RETRY_INTERVAL", "50ms")
            .env("LOCKSMITHD_FLEET_ENDPOINT", format!("unix://{}", self.path("fleet").display()))
            .envs(variables.iter().copied());
        command
    }

    /// Logs to a file.
    pub fn start(&self, variables: &[(&str, &str)]) -> Running {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let child = self.command(variables).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Running { child, log: self.path("log") }
    }

    pub fn coordinator(&self) -> String {
        std::fs::read_to_string(self.path("run/coordinator.conf")).unwrap_or_default()
    }

    /// Signals a needed reboot from a connection of the test's user, root in CI.
    pub fn send_need_reboot(&self) -> Command {
        let mut command = program("locksmithctl");
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &self.bus.address).arg("send-need-reboot");
        command
    }
}

pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    #[track_caller]
    pub fn logs(&self, text: &str) {
        wait_until(&format!("the log to say {text:?}"), || self.log(), |log| log.contains(text));
    }

    /// Sends SIGTERM and returns the exit code.
    pub fn stop(mut self) -> Option<i32> {
        let id = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have exited already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
