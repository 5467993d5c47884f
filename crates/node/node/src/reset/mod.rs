//! `keelson-reset`: resets the machine to its first boot.
//!
//! Only requests it: systemd-repart in the initrd of the next boot recreates the partitions marked
//! `FactoryReset=yes`. The running system erases nothing, and both `/usr` slots are kept.

mod oem;
mod power;
mod variable;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::applet::{EXIT_FAILURE, EXIT_USAGE};
use crate::root::Root;
use variable::Scope;

/// locksmithd's `LockMarker`: this machine may hold the lock.
const LOCK_MARKER: &str = "/var/lib/locksmith/lock-requested";
/// locksmithd's `CordonFile`: it drained this machine, which needs no lock.
const DRAIN_MARKER: &str = "/var/lib/locksmith/drained";
const BLOCKERS: [(&str, &str); 2] = [
    (
        LOCK_MARKER,
        "error: this machine may hold the cluster's reboot lock, and its machine ID may change with the reset\n\
         hint: locksmithctl unlock, then retry; or use --ignore-lock, and if the lock stays held: locksmithctl \
         unlock --stale",
    ),
    (
        DRAIN_MARKER,
        "error: this machine is drained for a reboot, and would stay cordoned after the reset\n\
         hint: sudo systemctl restart locksmithd, then retry; or use --ignore-lock, and after the reset: fleetctl uncordon \
         MACHINE",
    ),
];
/// The text that confirms the reset.
const CONFIRMATION: &str = "reset";
const EXAMPLES: &str = "Examples:
  sudo keelson-reset              ask for confirmation, then reset with a reboot
  sudo keelson-reset --yes        do not ask
  sudo keelson-reset --no-reboot  reset at the next boot
  sudo keelson-reset --oem        also erase the platform's cloud-config and the channel

Erased: /etc, /var, /home and everything else on the ROOT partition; with --oem the OEM partition.
Kept: the system in both slots, the boot partition; without --oem the OEM partition, whose cloud-config applies \
as root at each boot.";

/// Resets this machine to its state at the first boot: the next boot erases all local files.
#[derive(Parser)]
#[command(name = "keelson-reset", after_help = EXAMPLES)]
struct Flags {
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Also erase the OEM partition: its cloud-config, and the channel (then `stable`) and update server in its update.conf
    #[arg(long)]
    oem: bool,
    /// Do not reboot now; the next boot resets the machine
    #[arg(long)]
    no_reboot: bool,
    /// Reset even if this machine may hold the cluster's reboot lock, or is drained for a reboot
    #[arg(long)]
    ignore_lock: bool,
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    if let Err(error) = variable::check(&flags.root) {
        return Ok(refuse(&error, error.hint()));
    }
    let kept = match oem::files(&flags.root) {
        Err(error) if flags.oem => return Ok(refuse(&error, error.hint())),
        Ok(files) if !flags.oem => files,
        _ => Vec::new(),
    };
    let blocker = BLOCKERS.iter().find(|(marker, _)| flags.root.at(marker).exists());
    if let Some((_, message)) = blocker.filter(|_| !flags.ignore_lock) {
        eprintln!("{message}");
        return Ok(ExitCode::from(EXIT_FAILURE));
    }
    if !kept.is_empty() {
        eprintln!("kept on the OEM partition (--oem erases it): {}", kept.join(", "));
    }
    if !flags.yes {
        if !std::io::stdin().is_terminal() {
            eprintln!(
                "error: stdin is not a terminal, cannot ask for confirmation\nhint: use --yes to reset without confirmation"
            );
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        if !confirmed(flags.oem)? {
            eprintln!("aborted, nothing was changed");
            return Ok(ExitCode::from(EXIT_FAILURE));
        }
    }
    let scope = if flags.oem { Scope::RootAndOem } else { Scope::Root };
    if let Err(error) = variable::request(&flags.root, scope) {
        return Ok(refuse(&error, error.hint()));
    }
    if flags.no_reboot || !flags.root.is_machine() {
        eprintln!("the next boot resets this machine");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("rebooting to reset this machine");
    power::reboot().context("the next boot resets this machine, but the reboot failed")?;
    Ok(ExitCode::SUCCESS)
}

fn refuse(error: &dyn std::error::Error, hint: Option<&str>) -> ExitCode {
    eprintln!("error: {}", service::error::chain(error));
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(EXIT_FAILURE)
}

fn confirmed(oem: bool) -> Result<bool> {
    let oem = if oem { ", and the OEM partition" } else { "" };
    eprint!(
        "This erases /etc, /var, /home and all other local files of this machine{oem}.\nType `{CONFIRMATION}` to continue: "
    );
    std::io::stderr().flush()?;
    let mut reply = String::new();
    std::io::stdin().read_line(&mut reply).context("cannot read the confirmation")?;
    Ok(reply.trim() == CONFIRMATION)
}
