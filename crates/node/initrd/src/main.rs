//! The first process of a boot: finds `/usr` by its root hash, mounts what the node runs from, and starts systemd there.
//!
//! It does what systemd does in an initrd, with a fraction of its processor time, and only on the ordinary path: the disk is
//! there, its file systems are sound, and the kernel command line asks for nothing else. In every other case it takes back
//! what it did and starts systemd in the initrd, whose units wait, repair, report and restart the machine.

mod boot;
mod command_line;
mod disk;
mod kernel_log;
mod mounts;
mod programs;

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use boot::BootError;

/// Of the initrd, and of the node.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("initrd: it runs as the first process of a boot only");
        return ExitCode::from(2);
    }
    let Err(error) = start_node();
    kernel_log::warning(&format!("systemd takes over in the initrd: {}", service::error::chain(&error)));
    mounts::unmount_node();
    boot::close_usr();
    let error = Command::new(SYSTEMD).exec();
    kernel_log::warning(&format!("cannot start {SYSTEMD}: {error}"));
    // The kernel panics when its first process ends, and restarts the machine (panic=).
    ExitCode::FAILURE
}

fn start_node() -> Result<Infallible, BootError> {
    let began = Instant::now();
    mounts::mount_kernel_interfaces()?;
    boot::mount_node()?;
    kernel_log::info(&format!(
        "the node's file systems are mounted after {} ms",
        began.elapsed().as_millis()
    ));
    mounts::switch_root(Path::new(mounts::ROOT))?;
    let error = Command::new(SYSTEMD).exec();
    Err(BootError::Start(error))
}
