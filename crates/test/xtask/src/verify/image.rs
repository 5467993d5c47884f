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

/// Prefix of the tests that take several minutes.
const LONG: &str = "same_bytes::two_whole_checkouts";
/// Has space for several gigabytes; `/tmp` may be a tmpfs.
const WORK_FOLDER: &str = "/var/tmp";

/// Runs the usual tests, the build of two whole checkouts including cargo's work, or both.
pub fn run(workspace: &Workspace, usual: bool, long: bool) -> Result<StepResult> {
    let root = &workspace.root;
    let keelson = keelson::build_once(root)?;
    let folder = Path::new(WORK_FOLDER).join(format!("keelson-builds-{}", std::process::id()));
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Another user builds in it too.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).context("cannot open the folder")?;
    let outcome = run_tests(root, &keelson, &folder, usual, long);
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    outcome
}

fn run_tests(root: &Path, keelson: &Path, folder: &Path, usual: bool, long: bool) -> Result<StepResult> {
    let mut command = ignored_tests(root, &["--test", "builds"]);
    // The tests share a first build in one process. Each needs gigabytes for a while, and the tools assume two
    // processors.
    command.args(["--test-threads", "2"]);
    match (usual, long) {
        (true, false) => command.args(["--skip", LONG]),
        (false, true) => command.arg(LONG),
        _ => &mut command,
    };
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
    fn skipped_checks_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        assert!(skipped(folder.path()).unwrap().is_empty());
        fs::write(folder.path().join("skipped"), "a: no root\nb: no mirror\n").unwrap();
        let found = skipped(folder.path()).unwrap();
        let expected = [("image/a", "no root"), ("image/b", "no mirror")];
        assert!(found.iter().map(|skip| (&*skip.part, &*skip.reason)).eq(expected), "{found:?}");
    }
}
