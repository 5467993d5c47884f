//! Uplinks: slirp4netns connects an interface of a network namespace to the networks of the host through ordinary
//! sockets. The host's firewall and routes stay as they are.
//!
//! slirp4netns does not reach the host's loopback at its gateway, but connects to whatever address a packet has: also
//! to 127.0.0.1. No machine may send packets to one that runs in the host's network. Between the two is a namespace in
//! which the kernel of the host makes the packets, from the connections of the machine's user network (of QEMU, or
//! another slirp4netns), and in which 127.0.0.1 is the namespace's own.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sandbox::SandboxError;

use super::namespace;
use crate::credential::UPLINK_INTERFACE;
use crate::process::inherit;
use crate::tools::Tools;

/// The network between the two: a part of the user network's own (10.0.2.0/24), so that it covers no other network of
/// the host. slirp4netns is the third address.
const BETWEEN: &str = "10.0.2.128/25";
/// The name server in a namespace with [`Slirp::configured`]: forwards to those of the host.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 131);

/// slirp4netns reports to its standard error only that it cannot open this.
const TUN: &str = "/dev/net/tun";

#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    #[error("cannot open {TUN}")]
    Device(#[source] io::Error),
    #[error(transparent)]
    Tools(#[from] SandboxError),
    #[error("cannot run slirp4netns")]
    Start(#[from] io::Error),
    #[error("slirp4netns exited before the interface existed")]
    Exited,
}

impl UplinkError {
    /// What `node` does not reach, and why.
    pub fn without_uplink(&self, node: &str) -> String {
        let cause = service::error::chain(self);
        format!("{node} does not reach the networks of this host: no uplink: {cause}")
    }
}

/// The uplink of an nspawn node, whose network it reaches through a namespace of its own.
#[derive(Debug)]
pub struct Uplink {
    _node: Slirp,
    _between: Slirp,
}

impl Uplink {
    /// Adds an interface to the node's `namespace`, which the node configures. Returns once the interface exists.
    pub fn start(tools: &Path, namespace: &OwnedFd) -> Result<Self, UplinkError> {
        let between = namespace::create()?;
        let configured = Slirp::configured(tools, &between)?;
        let tools = Tools::open(tools, &[])?.with_name_server(NAME_SERVER);
        let mut command = tools.command("slirp4netns")?;
        command.arg("--mtu=1500");
        namespace::run_in(&mut command, &between);
        Ok(Self { _node: Slirp::start(command, namespace)?, _between: configured })
    }
}

/// A running slirp4netns. It is killed when this value is dropped, and exits with the process that has it.
#[derive(Debug)]
pub struct Slirp {
    child: Child,
    /// It exits when the pipe closes, also if this process is killed.
    _exit: PipeWriter,
}

impl Slirp {
    /// Adds an interface with address and default route to `namespace`, which reaches what this process reaches, and
    /// [`NAME_SERVER`]. Returns once the interface exists.
    pub fn configured(tools: &Path, namespace: &OwnedFd) -> Result<Self, UplinkError> {
        let mut command = Tools::open(tools, &[])?.with_name_servers().command("slirp4netns")?;
        // The kernel of the host makes the packets: large ones triple the throughput.
        command.args(["--configure", "--cidr", BETWEEN, "--mtu=65520"]);
        Self::start(command, namespace)
    }

    fn start(command: Command, namespace: &OwnedFd) -> Result<Self, UplinkError> {
        File::options().read(true).write(true).open(TUN).map_err(UplinkError::Device)?;
        let (exit_end, exit) = io::pipe()?;
        let (mut ready, ready_end) = io::pipe()?;
        let child = spawn(command, namespace, &exit_end, &ready_end)?;
        let slirp = Self { child, _exit: exit };
        drop(ready_end);
        if ready.read(&mut [0])? == 0 {
            return Err(UplinkError::Exited);
        }
        Ok(slirp)
    }
}

impl Drop for Slirp {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("slirp4netns: {error}");
        }
    }
}

#[allow(unsafe_code, reason = "system calls between fork and exec")]
fn spawn(
    mut command: Command,
    namespace: &OwnedFd,
    exit: &PipeReader,
    ready: &PipeWriter,
) -> io::Result<Child> {
    let inherited: [RawFd; 3] = [namespace.as_raw_fd(), exit.as_raw_fd(), ready.as_raw_fd()];
    // It parses frames: without capabilities, files and most system calls.
    command.args(["--netns-type=path", "--enable-sandbox", "--enable-seccomp"]);
    command.arg("--disable-host-loopback");
    command.arg(format!("--exit-fd={}", inherited[1])).arg(format!("--ready-fd={}", inherited[2]));
    command.arg(format!("/proc/self/fd/{}", inherited[0])).arg(UPLINK_INTERFACE);
    // It reports addresses to stdout; errors go to the supervisor's log.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: only system calls on integers between fork and exec.
    unsafe {
        command.pre_exec(move || inherited.into_iter().try_for_each(inherit));
    }
    command.spawn()
}
