//! `keelson-motd`: the login banner (the update contract's 2.7).
//!
//! Runs at each login: it makes one query to systemd with a short timeout, and never fails.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use serde::Deserialize;
use update_core::conf::{self, ConfFile};

use crate::health::{self, Health};
use crate::os_release;
use crate::root::Root;
use crate::systemd::{self, ManagerProxy};

/// The longest delay of a login.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Setting files by precedence: the first one with a key wins.
const SETTINGS: [&str; 4] = [
    "/etc/coreos/update.conf",
    "/run/coreos/update.conf",
    "/usr/share/coreos/update.conf",
    "/usr/share/coreos/release",
];
/// locksmithd is masked if one of these links to /dev/null.
const MASK_PATHS: [&str; 2] =
    ["/etc/systemd/system/locksmithd.service", "/run/systemd/system/locksmithd.service"];
const STATUS: &str = "/run/update-engine/status.json";
/// The built-in defaults.
const DEFAULT_GROUP: &str = "stable";
const DEFAULT_STRATEGY: &str = "reboot";

/// Prints the version, the update strategy, and problems of this machine.
#[derive(Parser)]
#[command(name = "keelson-motd")]
struct Flags {
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

/// The part of the update engine's status that is shown.
#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    last_error: Option<String>,
    #[serde(default)]
    outdated: Option<String>,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    let failed = systemd::query(TIMEOUT, |bus| async move {
        systemd::failed_units(&bus, &ManagerProxy::new(&bus).await?).await
    });
    // Errors are ignored: a login banner is not the place for them.
    print!("{}", render(&flags.root, &failed.unwrap_or_default()));
    Ok(ExitCode::SUCCESS)
}

fn render(root: &Root, failed: &[String]) -> String {
    let files: Vec<_> = SETTINGS
        .iter()
        .filter_map(|path| {
            Some(ConfFile { path: (*path).to_owned(), text: fs::read_to_string(root.at(path)).ok()? })
        })
        .collect();
    let setting =
        |key: &str, default: &str| conf::lookup(&files, key).map_or(default.to_owned(), |found| found.value);
    let name = os_release::value(root, "NAME").unwrap_or_else(|| "Linux".to_owned());
    let version = os_release::value(root, "VERSION_ID").unwrap_or_else(|| "unknown".to_owned());
    let mut lines = vec![format!("{name} {} ({version})", setting("GROUP", DEFAULT_GROUP))];
    let masked = MASK_PATHS
        .iter()
        .any(|path| fs::read_link(root.at(path)).is_ok_and(|target| target == Path::new("/dev/null")));
    let strategy = setting("REBOOT_STRATEGY", DEFAULT_STRATEGY);
    let strategy = if masked || strategy == "off" { "No Reboots" } else { &strategy };
    lines.push(format!("Update Strategy: {strategy}"));
    if root.is_live() {
        lines.push(
            "Live system: changes are lost at the next boot; coreos-install writes it to a disk".to_owned(),
        );
    }
    if !failed.is_empty() {
        lines.push(format!("Failed Units: {}", failed.len()));
        lines.extend(failed.iter().map(|unit| format!("  {unit}")));
    }
    let status = status(root).unwrap_or_default();
    let present = |text: Option<String>| text.filter(|text| !text.is_empty());
    lines.extend(present(status.last_error).map(|error| format!("Last update failed: {error}")));
    lines.extend(present(status.outdated).map(|reason| format!("Updates: {reason}")));
    let is_unhealthy =
        |summary: &health::HealthSummary| matches!(summary.state, Health::Unhealthy | Health::Waiting);
    if let Some(summary) = health::summary(root).filter(is_unhealthy) {
        lines.push(format!("Not healthy: {}", summary.reason.unwrap_or_default()));
    }
    // Control characters could be terminal escape sequences.
    let sanitize =
        |line: String| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    lines.into_iter().map(|line| sanitize(line) + "\n").collect()
}

fn status(root: &Root) -> Option<Status> {
    serde_json::from_slice(&fs::read(root.at(STATUS)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const IMAGE: [(&str, &str); 3] = [
        ("/usr/lib/os-release", "NAME=\"Keelson\"\nVERSION_ID=9999.1.0\n"),
        ("/usr/share/coreos/update.conf", "SERVER=http://x/\nREBOOT_STRATEGY=best-effort\n"),
        ("/etc/coreos/update.conf", "GROUP=alpha\n"),
    ];

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        for (path, text) in IMAGE.iter().chain(files) {
            let path = root.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (folder, root)
    }

    fn check(files: &[(&str, &str)], failed: &[&str], expected: &str) {
        let (_folder, root) = machine(files);
        let failed: Vec<_> = failed.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(render(&root, &failed), expected);
    }

    #[test]
    fn healthy_machine_has_two_lines() {
        check(&[], &[], "Keelson alpha (9999.1.0)\nUpdate Strategy: best-effort\n");
        let off = [("/etc/coreos/update.conf", "GROUP=beta\nREBOOT_STRATEGY=off\n")];
        check(&off, &[], "Keelson beta (9999.1.0)\nUpdate Strategy: No Reboots\n");
    }

    #[test]
    fn problems_are_listed() {
        check(
            &[
                (
                    STATUS,
                    "{\"last_error\":\"no space in /boot\\u001b[31m\",\"outdated\":\"no new timestamp\",\"new\":1}",
                ),
                (
                    "/run/keelson/health.json",
                    "{\"state\":\"unhealthy\",\"why\":\"kv: etcd.service is failed\",\"checks\":[]}",
                ),
            ],
            &["a.service", "b.mount"],
            "Keelson alpha (9999.1.0)\nUpdate Strategy: best-effort\nFailed Units: 2\n  a.service\n  b.mount\n\
             Last update failed: no space in /boot [31m\nUpdates: no new timestamp\nNot healthy: kv: etcd.service is failed\n",
        );
    }

    #[test]
    fn healthy_or_unreadable_state_is_omitted() {
        for (status, health) in
            [("{\"last_error\":null}", "{\"state\":\"healthy\",\"why\":null}"), ("{", "{\"state\":\"odd\"}")]
        {
            check(
                &[(STATUS, status), ("/run/keelson/health.json", health)],
                &[],
                "Keelson alpha (9999.1.0)\nUpdate Strategy: best-effort\n",
            );
        }
    }

    #[test]
    fn masked_locksmithd_means_no_reboots() {
        let (_folder, root) = machine(&[("/etc/systemd/system/x", "")]);
        symlink("/dev/null", root.at("/etc/systemd/system/locksmithd.service")).unwrap();
        assert_eq!(render(&root, &[]), "Keelson alpha (9999.1.0)\nUpdate Strategy: No Reboots\n");
    }
}
