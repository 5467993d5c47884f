//! `coreos-setup-environment FILE`: writes the node's address as `COREOS_PRIVATE_IPV4` and `COREOS_PUBLIC_IPV4`
//! (cloud-config.md 2.9), and the host's names to `/etc/hosts`.
//!
//! It runs before user-data is read and must not fail the boot if the network is missing: it logs that and
//! writes nothing. Lines of others are kept.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use nix::unistd::{AccessFlags, access};

use crate::address::{self, Network};
use crate::file_merge::merge_file;
use crate::hosts;
use crate::root::Root;

/// A platform's program, which queries its hypervisor.
const PLATFORM_PROGRAM: &str = "/usr/share/oem/bin/coreos-setup-environment";
/// Sorted by name; missing lines are added in this order.
const KEYS: [&str; 2] = ["COREOS_PRIVATE_IPV4", "COREOS_PUBLIC_IPV4"];

/// Writes the address of this machine to FILE, an environment file for units.
#[derive(Parser)]
#[command(
    name = "coreos-setup-environment",
    after_help = "Example:\n  coreos-setup-environment /etc/environment"
)]
struct Flags {
    /// Environment file to update; other lines are kept
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Seconds to wait for an address
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    if let Some(program) = platform_program(&flags.root) {
        let error = Command::new(&program).arg(&flags.file).exec();
        return Err(error).with_context(|| format!("cannot run {}", program.display()));
    }
    let names = hosts::write(&flags.root).context("cannot write the configured host names to /etc/hosts")?;
    if !names.is_empty() {
        eprintln!("{} written to /etc/hosts", names.join(", "));
    }
    let path = flags.root.at(&flags.file);
    let limit = Duration::from_secs(flags.timeout);
    let recorded = recorded(&fs::read_to_string(&path).unwrap_or_default());
    let find = || {
        let network = Network::observe(&flags.root);
        match recorded {
            Some(address) => network.with_address(address, "as recorded"),
            None => network.preferred(),
        }
    };
    let preferred = address::wait_for(limit, find).context("cannot watch the network")?;
    let Some(found) = preferred.or_else(|| Network::observe(&flags.root).best_available()) else {
        eprintln!("no address after {} s: neither a LAN nor a default route; nothing written", flags.timeout);
        return Ok(ExitCode::SUCCESS);
    };
    let address = found.address.to_string();
    let changed = merge_file(&path, |before| merge(before, &address))
        .with_context(|| format!("cannot write {}", flags.file.display()))?;
    let outcome = if changed { "written to" } else { "already in" };
    eprintln!("{address} of {} ({}) {outcome} {}", found.interface, found.reason, flags.file.display());
    Ok(ExitCode::SUCCESS)
}

/// The platform's program, which takes precedence, unless it is a link to this one. The OEM partition is mounted
/// `noexec`, so that only an operator who changes that has one.
fn platform_program(root: &Root) -> Option<PathBuf> {
    let program = root.at(PLATFORM_PROGRAM);
    if access(&program, AccessFlags::X_OK).is_err() {
        if program.exists() {
            eprintln!("{PLATFORM_PROGRAM} is not executable there: the image's program runs instead");
        }
        return None;
    }
    let is_own = program.canonicalize().ok()? == std::env::current_exe().ok()?.canonicalize().ok()?;
    (!is_own).then_some(program)
}

/// The private address of others, such as Vagrant's, which records that of its private network. It counts while the
/// machine has it.
fn recorded(text: &str) -> Option<Ipv4Addr> {
    let [private, public] = KEYS.map(|key| value(text, key));
    if public.is_some() && public != private { private?.parse().ok() } else { None }
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// Replaces the first line of each key, and appends missing ones. This program writes the same address to both
/// keys: a differing public address was set by a platform or an operator, and is kept.
fn merge(text: &str, address: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let [private, public] = KEYS.map(|key| value(text, key));
    let keeps_public = public.is_some() && public != private;
    for key in KEYS.into_iter().filter(|key| !(keeps_public && *key == KEYS[1])) {
        let line = format!("{key}={address}");
        let existing = lines.iter().position(|old| old.split_once('=').is_some_and(|(name, _)| name == key));
        match existing {
            Some(index) => lines[index] = line,
            None => lines.push(line),
        }
    }
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str) {
        assert_eq!(merge(before, "10.77.0.11"), after);
        assert_eq!(merge(after, "10.77.0.11"), after, "a second run changes nothing");
    }

    #[test]
    fn lines_are_merged() {
        let both = "COREOS_PRIVATE_IPV4=10.77.0.11\nCOREOS_PUBLIC_IPV4=10.77.0.11\n";
        check("", both);
        check("PATH=/bin\r\n# note", &format!("PATH=/bin\n# note\n{both}"));
        check(
            "COREOS_PRIVATE_IPV4=1.2.3.4\nA=b\nCOREOS_PUBLIC_IPV4=1.2.3.4\nCOREOS_PUBLIC_IPV4=5.6.7.8\n",
            "COREOS_PRIVATE_IPV4=10.77.0.11\nA=b\nCOREOS_PUBLIC_IPV4=10.77.0.11\nCOREOS_PUBLIC_IPV4=5.6.7.8\n",
        );
    }

    #[test]
    fn an_address_of_another_is_recorded() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(recorded(text).map(|address| address.to_string()).as_deref(), expect, "{text}");
        };
        check("COREOS_PUBLIC_IPV4=127.0.0.1\nCOREOS_PRIVATE_IPV4=172.17.8.101", Some("172.17.8.101"));
        check("COREOS_PUBLIC_IPV4=10.0.2.15\nCOREOS_PRIVATE_IPV4=10.0.2.15\n", None);
        check("COREOS_PRIVATE_IPV4=10.0.2.15\n", None);
        check("COREOS_PUBLIC_IPV4=127.0.0.1\nCOREOS_PRIVATE_IPV4=host\n", None);
    }

    #[test]
    fn a_public_address_of_another_is_kept() {
        check(
            "COREOS_PRIVATE_IPV4=10.77.0.9\nCOREOS_PUBLIC_IPV4=203.0.113.7\n",
            "COREOS_PRIVATE_IPV4=10.77.0.11\nCOREOS_PUBLIC_IPV4=203.0.113.7\n",
        );
        check(
            "COREOS_PUBLIC_IPV4=203.0.113.7\n",
            "COREOS_PUBLIC_IPV4=203.0.113.7\nCOREOS_PRIVATE_IPV4=10.77.0.11\n",
        );
    }
}
