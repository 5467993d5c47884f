//! Unit files pass `systemd-analyze verify`.
//!
//! Only messages about the file itself count: referenced programs and units are in the image, not on this host.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

const PROGRAM: &str = "systemd-analyze";
const KINDS: [&str; 8] = ["automount", "mount", "path", "service", "slice", "socket", "target", "timer"];
/// The image's systemd version: an older one on the host does not know all keys.
const IMAGE_SYSTEMD: u32 = 257;
/// Messages about programs that only the image has.
const NOT_ON_THIS_HOST: [&str; 2] = ["is not executable: No such file or directory", " not found."];
const UNKNOWN: [&str; 2] = ["Unknown key", "Unknown section"];

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let units: Vec<_> = workspace.files.iter().filter(|file| is_unit(file)).collect();
    if units.is_empty() {
        return Ok(Outcome::Skipped("there are no unit files".into()));
    }
    let Some(version) = host_version() else {
        return Ok(Outcome::Skipped(format!("no {PROGRAM} here (apt-get install systemd)")));
    };
    let older = version < IMAGE_SYSTEMD;
    let mut findings = Vec::new();
    for unit in units {
        let output = verify(&workspace.root.join(unit))?;
        findings.extend(objections(unit, &output, older));
    }
    let note = older.then(|| {
        format!("systemd {version} here, {IMAGE_SYSTEMD} in the image: unknown keys were not judged")
    });
    Ok(Outcome::Checked { findings, note })
}

pub(super) fn is_unit(file: &Path) -> bool {
    let below_system = file.parent().is_some_and(|folder| folder.ends_with("systemd/system"));
    let kind = file.extension().unwrap_or_default();
    below_system && KINDS.iter().any(|known| kind == *known)
}

/// Parses `systemd 257 (257.13-1~deb13u1)`.
fn host_version() -> Option<u32> {
    let output = Command::new(PROGRAM).arg("--version").output().ok()?;
    String::from_utf8_lossy(&output.stdout).split_whitespace().nth(1)?.parse().ok()
}

/// systemd's messages about the unit at `path`. The exit code is unusable: missing programs affect it too.
fn verify(path: &PathBuf) -> Result<String> {
    let output = Command::new(PROGRAM)
        .args(["verify", "--man=no", "--generators=no", "--recursive-errors=no"])
        .arg(path)
        .env("LC_ALL", "C")
        .output()
        .with_context(|| format!("cannot start {PROGRAM}"))?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The lines of systemd's output that are about the file `unit` itself.
fn objections(unit: &Path, output: &str, older: bool) -> Vec<Finding> {
    let name = unit.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // systemd instantiates a template: `a@.service` is reported as `a@i.service`.
    let stem = name.split_once('@').map_or(name.as_str(), |(stem, _)| stem);
    let about = |line: &&str| line.contains(name.as_str()) || line.contains(&format!("{stem}@"));
    let counts = |line: &&str| {
        let absent = NOT_ON_THIS_HOST.iter().any(|text| line.contains(text));
        let unknown = older && UNKNOWN.iter().any(|text| line.contains(text));
        !absent && !unknown
    };
    let lines = output.lines().filter(about).filter(counts);
    lines
        .map(|line| {
            // Both `PATH:LINE: text` and `NAME: text` begin with a location.
            let (location, text) = line.split_once(": ").unwrap_or((&name, line));
            let number = location.rsplit_once(':').map_or(String::new(), |(_, number)| format!(":{number}"));
            Finding::new(format!("{}{number}", unit.display()), text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    const PLACE: &str = "units/usr/lib/systemd/system/";

    fn check_output(name: &str, output: &str, older: bool, expected: &[&str]) {
        let unit = PathBuf::from(PLACE).join(name);
        let findings: Vec<_> = objections(&unit, output, older).iter().map(ToString::to_string).collect();
        assert_eq!(findings, expected);
    }

    #[test]
    fn what_is_about_the_file_counts() {
        check_output(
            "a.service",
            "/x/a.service:8: Failed to parse service type, ignoring: onehot\n\
             a.service: Command /usr/lib/keelson/a is not executable: No such file or directory\n\
             a.service: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.\n\
             other.service: Refusing.\n",
            false,
            &[
                "units/usr/lib/systemd/system/a.service:8: Failed to parse service type, ignoring: onehot",
                "units/usr/lib/systemd/system/a.service: Service has no ExecStart=, ExecStop=, or \
                 SuccessAction=. Refusing.",
            ],
        );
    }

    #[test]
    fn keys_that_an_older_systemd_does_not_know_are_not_judged() {
        let output = "/x/a.service:8: Unknown key 'Foo' in section [Service], ignoring.";
        check_output("a.service", output, true, &[]);
        check_output(
            "a.service",
            output,
            false,
            &["units/usr/lib/systemd/system/a.service:8: Unknown key 'Foo' in section [Service], ignoring."],
        );
    }

    #[test]
    #[ignore = "wants systemd-analyze: cargo verify wants"]
    fn a_bad_unit_is_found_and_a_good_one_passes() {
        let good = format!("{PLACE}good@.service");
        let bad = format!("{PLACE}bad@.service");
        let made = with_files(&[
            (good.as_str(), "[Unit]\nDescription=g\n[Service]\nExecStart=/usr/lib/keelson/absent\n"),
            (
                bad.as_str(),
                "[Unit]\nDescription=b\n[Service]\nType=onehot\nExecStart=/usr/lib/keelson/absent\n",
            ),
        ]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        let places: Vec<_> = findings.iter().map(|finding| finding.location.clone()).collect();
        assert_eq!(places, [format!("{bad}:4")]);
    }
}
