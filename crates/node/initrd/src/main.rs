//! The init process of the initrd: finds `/usr` by its root hash, mounts the node's file systems, and starts
//! systemd there.
//!
//! It replaces systemd in the initrd, at a fraction of its processor time, for the ordinary boot only: the disk
//! is present, its file systems are clean, and the kernel command line asks for nothing else. Otherwise it
//! undoes its work and starts systemd in the initrd, whose units wait, repair, report and reboot.
//!
//! An initrd with a live image boots without a disk, and has no such fallback: it reports the error and halts.

mod boot;
mod command_line;
mod disk;
mod kernel_log;
mod live;
mod memory;
mod mounts;
mod programs;

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Instant;

use boot::BootError;
use live::LiveError;
use mounts::MountError;

/// The path in the initrd and on the node.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("error: initrd must run as PID 1");
        return ExitCode::from(2);
    }
    if live::is_live() {
        let Err(error) = start_node(live::mount_node);
        halt(&error);
    }
    let Err(error) = start_node(boot::mount_node);
    kernel_log::warning(&format!("continuing with systemd in the initrd: {}", service::error::chain(&error)));
    mounts::unmount_node();
    boot::close_usr();
    let error = Command::new(SYSTEMD).exec();
    kernel_log::warning(&format!("cannot start {SYSTEMD}: {error}"));
    // The kernel panics when init exits, and reboots (panic=).
    ExitCode::FAILURE
}

fn start_node<E>(mount_node: fn() -> Result<(), E>) -> Result<Infallible, E>
where
    E: From<MountError> + From<BootError>,
{
    let started = Instant::now();
    mounts::mount_kernel_interfaces()?;
    mounts::mount_api_file_systems();
    memory::lower_reserve();
    mount_node()?;
    kernel_log::info(&format!("file systems mounted after {} ms", started.elapsed().as_millis()));
    mounts::switch_root(Path::new(mounts::ROOT))?;
    let error = Command::new(SYSTEMD).exec();
    Err(BootError::Start(error).into())
}

/// Keeps the error on the console: a restart would fail in the same way.
fn halt(error: &LiveError) -> ! {
    kernel_log::warning(&format!("cannot start the live system: {}", service::error::chain(error)));
    kernel_log::warning("the machine is halted; Ctrl-Alt-Del restarts it");
    loop {
        thread::park();
    }
}
