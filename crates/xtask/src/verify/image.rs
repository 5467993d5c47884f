//! Builds whole images, well and under faults: the ignored tests `builds` of crate `image`.
//!
//! They drive the `keelson` program, in a folder on a real disk that is removed again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::result::State;
use crate::command::{ignored_tests, show};
use crate::keelson;
use crate::workspace::Workspace;

/// The tests that take minutes more, by what their names begin with.
const LONG: &str = "same_bytes::two_whole_checkouts";
/// Where there is room for some gigabytes; `/tmp` may be memory.
const ROOM: &str = "/var/tmp";

/// `long` adds the build of two whole checkouts, cargo's work included.
pub fn run(workspace: &Workspace, long: bool) -> Result<State> {
    let root = &workspace.root;
    let keelson = keelson::build(root)?;
    let folder = Path::new(ROOM).join(format!("keelson-builds-{}", std::process::id()));
    fs::create_dir(&folder).with_context(|| format!("can not make {}", folder.display()))?;
    // Another user builds in there too.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).context("can not open the folder")?;
    let outcome = run_tests(root, &keelson, &folder, long);
    fs::remove_dir_all(&folder).with_context(|| format!("can not remove {}", folder.display()))?;
    outcome
}

fn run_tests(root: &Path, keelson: &Path, folder: &Path, long: bool) -> Result<State> {
    let mut command = ignored_tests(root, &["--test", "builds"]);
    // They share a first build, in one process. Each has gigabytes for a while, and the tools know two processors.
    command.args(["--test-threads", "2"]);
    if !long {
        command.args(["--skip", LONG]);
    }
    let ended = show(command.env("KEELSON", keelson).env("KEELSON_BUILDS", folder))?;
    Ok(match ended.code {
        Some(0) => State::Passed(skipped(folder)?),
        Some(code) => State::Failed(format!("exit code {code}")),
        None => State::Failed("ended by a signal".into()),
    })
}

/// What the tests could not try on this host, and why.
fn skipped(folder: &Path) -> Result<String> {
    let list = folder.join("skipped");
    if !list.exists() {
        return Ok(String::new());
    }
    let text = fs::read_to_string(&list).context("can not read what was skipped")?;
    Ok(format!("skipped: {}", text.trim().replace('\n', "; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_skipped_is_said() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(skipped(folder.path()).unwrap(), "");
        fs::write(folder.path().join("skipped"), "a: no root\nb: no mirror\n").unwrap();
        assert_eq!(skipped(folder.path()).unwrap(), "skipped: a: no root; b: no mirror");
    }
}
