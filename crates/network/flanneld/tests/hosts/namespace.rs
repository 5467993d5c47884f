//! Network namespaces.

use std::{
    fs::File,
    net::UdpSocket,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::sched::{CloneFlags, setns};

/// A network namespace by name, removed with its interfaces when dropped.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// None without the rights or without `ip`.
    pub fn create(label: &str) -> Option<Namespace> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lab-{}-{number}-{label}", std::process::id());
        let created = Command::new("ip").args(["netns", "add", &name]).stderr(Stdio::null()).status();
        let namespace = created.is_ok_and(|status| status.success()).then_some(Namespace { name })?;
        namespace.ip("link set lo up");
        Some(namespace)
    }

    /// `ip` with these arguments.
    pub fn ip(&self, arguments: &str) -> String {
        let output =
            Command::new("ip").args(["-n", &self.name]).args(arguments.split_whitespace()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip -n {} {arguments}: {stderr}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }

    /// A program in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).stdin(Stdio::null());
        command
    }

    /// A shell in the namespace.
    pub fn shell(&self, script: &str) -> String {
        let output = self.command("sh").args(["-euc", script]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {script}: {stderr}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `action` on a thread in the namespace. Sockets and threads that it creates remain there.
    pub fn run<T: Send + 'static>(&self, action: impl FnOnce() -> T + Send + 'static) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        let thread = std::thread::spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
            action()
        });
        thread.join().unwrap()
    }

    /// A datagram socket in the namespace.
    pub fn socket(&self, address: &str) -> UdpSocket {
        let address = address.to_owned();
        self.run(move || UdpSocket::bind(address).unwrap())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The test's result counts, not that of the removal.
        drop(Command::new("ip").args(["netns", "del", &self.name]).status());
    }
}
