//! The uplink of an nspawn node: slirp4netns connects a second interface of the node's network namespace to the
//! networks of the host through ordinary sockets, as QEMU's user network does for its nodes. The host's firewall and
//! routes stay as they are.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sandbox::SandboxError;

use crate::credential::UPLINK_INTERFACE;
use crate::process::inherit;
use crate::tools::Tools;

#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    #[error(transparent)]
    Tools(#[from] SandboxError),
    #[error("cannot run slirp4netns")]
    Start(#[from] io::Error),
    #[error("slirp4netns exited before the interface existed")]
    Exited,
}

/// A running slirp4netns. It is killed when this value is dropped, and exits with the process that has it.
#[derive(Debug)]
pub struct Uplink {
    child: Child,
    /// It exits when the pipe closes, also if this process is killed.
    _exit: PipeWriter,
}

impl Uplink {
    /// Returns once the interface exists.
    pub fn start(tools: &Path, namespace: &OwnedFd) -> Result<Self, UplinkError> {
        let (exit_end, exit) = io::pipe()?;
        let (mut ready, ready_end) = io::pipe()?;
        let command = Tools::open(tools, &[])?.with_name_servers().command("slirp4netns")?;
        let child = spawn(command, namespace, &exit_end, &ready_end)?;
        let uplink = Self { child, _exit: exit };
        drop(ready_end);
        if ready.read(&mut [0])? == 0 {
            return Err(UplinkError::Exited);
        }
        Ok(uplink)
    }
}

impl Drop for Uplink {
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
    // It parses frames of the node: without capabilities, files and most system calls. `port_forward` relays the
    // services that the host offers: the rest of its loopback is not the node's.
    command.args(["--netns-type=path", "--mtu=1500", "--enable-sandbox", "--enable-seccomp"]);
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
