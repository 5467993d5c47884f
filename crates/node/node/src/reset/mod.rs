//! `keelson-reset`: resets the machine to its first boot.
//!
//! Only requests it: systemd-repart in the initrd of the next boot recreates the partitions marked
//! `FactoryReset=yes`. The running system erases nothing, and both `/usr` slots are kept.

mod power;
mod variable;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::applet::{EXIT_FAILURE, EXIT_USAGE};
use crate::root::Root;
use variable::RequestError;

/// locksmithd's `LockMarker`: this machine may hold the lock.
const LOCK_MARKER: &str = "/var/lib/locksmith/lock-requested";
/// locksmithd's `CordonFile`: it drained this machine, which needs no lock.
const DRAIN_MARKER: &str = "/var/lib/locksmith/drained";
const BLOCKERS: [(&str, &str); 2] = [
    (
        LOCK_MARKER,
        "error: this machine may hold the cluster's reboot lock, and after the reset its id may be another one\n\
         hint: locksmithctl unlock, then again; or --ignore-lock, and where no machine reboots any more: locksmithctl \
         unlock --stale",
    ),
    (
        DRAIN_MARKER,
        "error: this machine is drained for a reboot, and after the reset nothing ends that\n\
         hint: sudo systemctl restart locksmithd, then again; or --ignore-lock, and after the reset: fleetctl uncordon \
         MACHINE",
    ),
];
/// The text that confirms the reset.
const CONFIRMATION: &str = "reset";
const EXAMPLES: &str = "Examples:
  sudo keelson-reset              asks, then reboots into the reset
  sudo keelson-reset --yes        does not ask
  sudo keelson-reset --no-reboot  the next boot resets, whenever it comes

What goes: /etc, /var, /home and everything else on the ROOT partition.
What stays: the system in both slots, the OEM partition, the boot partition.";

/// Makes this machine as on its first boot: all of its own files are erased at the next start.
#[derive(Parser)]
#[command(name = "keelson-reset", after_help = EXAMPLES)]
struct Flags {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only mark the next boot
    #[arg(long)]
    no_reboot: bool,
    /// Reset also while this machine may hold the cluster's reboot lock, or is drained for a reboot
    #[arg(long)]
    ignore_lock: bool,
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    if let Err(error) = variable::check(&flags.root) {
        return Ok(refuse(&error));
    }
    let blocker = BLOCKERS.iter().find(|(marker, _)| flags.root.at(marker).exists());
    if let Some((_, message)) = blocker.filter(|_| !flags.ignore_lock) {
        eprintln!("{message}");
        return Ok(ExitCode::from(EXIT_FAILURE));
    }
    if !flags.yes {
        if !std::io::stdin().is_terminal() {
            eprintln!(
                "error: nobody can be asked here\nhint: add --yes to erase this machine's files unasked"
            );
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        if !confirmed()? {
            eprintln!("nothing was changed");
            return Ok(ExitCode::from(EXIT_FAILURE));
        }
    }
    if let Err(error) = variable::request(&flags.root) {
        return Ok(refuse(&error));
    }
    if flags.no_reboot || !flags.root.is_machine() {
        eprintln!("the next boot resets this machine");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("rebooting into the reset");
    power::reboot().context("the next boot resets this machine, but it cannot be rebooted from here")?;
    Ok(ExitCode::SUCCESS)
}

fn refuse(error: &RequestError) -> ExitCode {
    eprintln!("error: {}", service::error::chain(error));
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(EXIT_FAILURE)
}

fn confirmed() -> Result<bool> {
    eprint!(
        "This erases /etc, /var, /home and all else of this machine's own.\nType `{CONFIRMATION}` to go on: "
    );
    std::io::stderr().flush()?;
    let mut reply = String::new();
    std::io::stdin().read_line(&mut reply).context("cannot read the answer")?;
    Ok(reply.trim() == CONFIRMATION)
}
