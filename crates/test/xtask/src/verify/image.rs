//! Builds whole images, also under injected faults: the ignored tests `builds` of crate `image`.
//!
//! They run `keelson` in a temporary folder on a real disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::result::{Skip, StepResult, judge};
use crate::command::{ignored_tests, show};
use crate::keelson;
use crate::workspace::Workspace;

/// Part of the step, and the modules of the test binary that it runs. All tests of a run share a first build.
const MODULES: [(&str, &[&str]); 3] = [
    (USUAL, &["same_bytes", "verify_and_diff", "packages", "vulnerabilities", "toolbox"]),
    (FAULTS, &["incremental", "interruptions", "faults"]),
    (FORMATS, &["formats"]),
];
/// The image is the same bytes wherever it is built; damage to it or its packages is found.
pub const USUAL: &str = "usual";
/// Builds that are interrupted, repeated or without space.
pub const FAULTS: &str = "faults";
/// Images for all hypervisors and clouds.
pub const FORMATS: &str = "formats";
/// The test of [`USUAL`]'s modules that takes several minutes: two whole checkouts, including cargo's work.
pub const TWO_CHECKOUTS: &str = "two-checkouts";
const TWO_CHECKOUTS_TEST: &str = "same_bytes::two_whole_checkouts";
/// Has space for several gigabytes; `/tmp` may be a tmpfs.
const WORK_FOLDER: &str = "/var/tmp";

/// Runs these parts of the step in one process.
pub fn run(workspace: &Workspace, parts: &[String]) -> Result<StepResult> {
    let root = &workspace.root;
    let keelson = keelson::build_once(root)?;
    let folder = Path::new(WORK_FOLDER).join(format!("keelson-builds-{}", std::process::id()));
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Another user builds in it too.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).context("cannot open the folder")?;
    let outcome = run_tests(root, &keelson, &folder, parts);
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    outcome
}

fn run_tests(root: &Path, keelson: &Path, folder: &Path, parts: &[String]) -> Result<StepResult> {
    let mut command = ignored_tests(root, &["--test", "builds"]);
    // The tests share a first build in one process. Each needs gigabytes for a while, and the tools assume two
    // processors.
    command.args(["--test-threads", "2"]);
    let has = |name: &str| parts.iter().any(|part| part == name);
    for (_, modules) in MODULES.iter().filter(|(part, _)| has(part)) {
        command.args(modules.iter().map(|module| format!("{module}::")));
    }
    if has(TWO_CHECKOUTS) {
        command.arg(TWO_CHECKOUTS_TEST);
    } else {
        command.args(["--skip", TWO_CHECKOUTS_TEST]);
    }
    let ended = show(command.env("KEELSON", keelson).env("KEELSON_BUILDS", folder))?;
    let mut result = StepResult::new("image", judge(&ended));
    result.skipped = skipped(folder)?;
    Ok(result)
}

/// Checks that were impossible on this host, one `TEST: REASON` per line.
fn skipped(folder: &Path) -> Result<Vec<Skip>> {
    let list = folder.join("skipped");
    if !list.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&list).context("cannot read what was skipped")?;
    let skip = |line: &str| {
        let (test, reason) = line.split_once(": ").unwrap_or(("", line));
        Skip { part: format!("image/{test}"), reason: reason.to_owned() }
    };
    Ok(text.lines().map(skip).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_of_builds_is_in_a_part() {
        let folder = crate::workspace::root().join("crates/image/image/tests/builds");
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_run = MODULES.iter().any(|(_, modules)| {
                modules.iter().any(|module| path.file_stem().is_some_and(|stem| stem == *module))
            });
            assert!(
                is_run || !fs::read_to_string(&path).unwrap().contains("#[ignore"),
                "{}: no part of the step image runs it",
                path.display()
            );
        }
    }

    #[test]
    fn skipped_checks_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        assert!(skipped(folder.path()).unwrap().is_empty());
        fs::write(folder.path().join("skipped"), "a: no root\nb: no mirror\n").unwrap();
        let found = skipped(folder.path()).unwrap();
        let expected = [("image/a", "no root"), ("image/b", "no mirror")];
        assert!(found.iter().map(|skip| (&*skip.part, &*skip.reason)).eq(expected), "{found:?}");
    }
}
