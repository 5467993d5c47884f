//! Our services are sandboxed: `systemd-analyze security` rates the exposure of each at most [`LIMIT`].
//!
//! Services that run third-party code or may change any part of a machine are exempt, with a reason.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::finding::{Finding, Outcome};
use super::unit_files::is_unit;
use crate::workspace::Workspace;

/// The units of our services; the other folders hold drop-ins for Debian's.
const UNITS: [&str; 2] = ["units", "os/rootfs/usr/lib/systemd/system"];
const PROGRAM: &str = "systemd-analyze";
/// From 0.0 (sandboxed) to 10.0, as systemd rates it: up to 3.0 is `OK`.
const LIMIT: f64 = 3.0;
const PROVISIONS: &str = "writes any file, creates users and controls any unit: cloud-config demands it";
/// Prefix of `ExecStart=`, and why such a unit is exempt.
const UNCONFINED: [(&str, &str); 3] = [
    ("/usr/bin/coreos-cloudinit", PROVISIONS),
    ("-/usr/sbin/sshd -i", "whoever logs in may do anything"),
    ("/usr/lib/keelson/keelson-health-check", "runs the operator's checks"),
];

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    if Command::new(PROGRAM).arg("--version").output().is_err() {
        return Ok(Outcome::Skipped(format!("no {PROGRAM} here (apt-get install systemd)")));
    }
    let services = workspace.files.iter().filter(|file| is_ours(file) && is_unit(file) && is_service(file));
    let (mut findings, mut rated) = (Vec::new(), Vec::new());
    for unit in services {
        let text = workspace.read(unit)?;
        let is_masked = text.is_empty();
        if is_masked || unconfined(&text).is_some() {
            continue;
        }
        let exposure = exposure(&workspace.root.join(unit))?;
        let location = unit.display().to_string();
        match exposure {
            None => findings.push(Finding::new(location, format!("{PROGRAM} does not rate it"))),
            Some(exposure) if exposure > LIMIT => {
                let message = format!("exposure {exposure}, at most {LIMIT}: see `{PROGRAM} security`");
                findings.push(Finding::new(location, message));
            }
            Some(exposure) => {
                rated.push(format!("{} {exposure}", unit.file_stem().unwrap_or_default().to_string_lossy()));
            }
        }
    }
    Ok(Outcome::Checked { findings, note: Some(format!("exposure: {}", rated.join(", "))) })
}

fn is_ours(file: &Path) -> bool {
    UNITS.iter().any(|folder| file.starts_with(folder))
}

fn is_service(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "service")
}

/// The reason if a unit with this text is exempt.
fn unconfined(text: &str) -> Option<&'static str> {
    let starts = |line: &str| {
        let command = line.strip_prefix("ExecStart=")?;
        UNCONFINED.iter().find(|(begin, _)| command.starts_with(begin)).map(|(_, reason)| *reason)
    };
    text.lines().find_map(starts)
}

/// The exposure level of the unit file by `systemd-analyze security`, which needs no running systemd.
fn exposure(path: &Path) -> Result<Option<f64>> {
    let output = Command::new(PROGRAM)
        .args(["security", "--offline=true", "--no-pager"])
        .arg(path)
        .env("LC_ALL", "C")
        .env("SYSTEMD_EMOJI", "0")
        .output()
        .with_context(|| format!("cannot start {PROGRAM}"))?;
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Parses `Overall exposure level for etcd.service: 1.6 OK`.
fn parse(text: &str) -> Option<f64> {
    let (_, rating) = text.rsplit_once("Overall exposure level for ")?;
    rating.split_once(": ")?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    #[test]
    fn the_rating_is_read() {
        let text = "  NAME   DESCRIPTION\n\n-> Overall exposure level for etcd.service: 1.6 OK\n";
        assert_eq!(parse(text), Some(1.6));
        assert_eq!(parse("Failed to load unit"), None);
    }

    #[test]
    fn only_listed_programs_are_unconfined() {
        assert_eq!(
            unconfined("[Service]\nExecStart=/usr/bin/coreos-cloudinit --oem=${OEM}\n"),
            Some(PROVISIONS)
        );
        assert_eq!(unconfined("[Service]\nExecStart=/usr/bin/etcd\n"), None);
    }

    #[test]
    #[ignore = "wants systemd-analyze: cargo verify wants"]
    fn an_open_service_is_found() {
        let text = "[Service]\nExecStart=/usr/bin/open\n";
        let made = with_files(&[
            ("units/usr/lib/systemd/system/open.service", text),
            ("os/rootfs/usr/lib/systemd/system/open.service", text),
            ("os/rootfs/usr/lib/systemd/system/masked.service", ""),
            ("os/rootfs/usr/share/keelson/examples/tour.service", text),
        ]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else {
            panic!("nothing was checked")
        };
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings.iter().all(|found| found.to_string().contains("exposure 9.")), "{findings:?}");
    }
}
