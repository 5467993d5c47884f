//! The dated copy of the advisory database, in the cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use nix::fcntl::{RenameFlags, renameat2};

use crate::command::{require_success, show, show_and_read};

pub const URL: &str = "https://github.com/RustSec/advisory-db.git";
/// Overrides the place of the copy.
const VARIABLE: &str = "KEELSON_ADVISORIES";
/// In the copy: when it was changed last. The date of the download would hide that a mirror is old.
const DATE: &str = "keelson-date";

/// The place of the copy: below the cache folder.
pub fn default_folder() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = || absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    absolute(VARIABLE)
        .or_else(|| Some(cache()?.join("keelson/advisories")))
        .context("neither XDG_CACHE_HOME nor HOME is set")
}

/// When the advisories were changed last; `None` if there is none.
pub fn date(folder: &Path) -> Result<Option<Timestamp>> {
    let path = folder.join(DATE);
    if !folder.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path)
        .with_context(|| format!("the copy has no date: cannot read {}", path.display()))?;
    text.trim().parse().map(Some).with_context(|| format!("{} has no valid date", path.display()))
}

/// Downloads the database from `url`, and replaces the copy if `is_valid` accepts the new one.
pub fn refresh(folder: &Path, url: &str, is_valid: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let parent = folder.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let scratch = tempfile::Builder::new()
        .prefix("advisories-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
    let new = scratch.path().join("new");
    let mut clone = Command::new("git");
    // Asks for no password, and runs nothing of the user's settings.
    clone.env("GIT_TERMINAL_PROMPT", "0").env("GIT_CONFIG_COUNT", "1");
    clone.env("GIT_CONFIG_KEY_0", "core.hooksPath").env("GIT_CONFIG_VALUE_0", "/dev/null");
    clone.args(["clone", "--quiet", "--depth", "1", "--single-branch", "--", url]).arg(&new);
    require_success(show(&mut clone)?).with_context(|| format!("cannot download {url}"))?;
    is_valid(&new).with_context(|| format!("{url} is not usable, the copy is kept"))?;
    fs::write(new.join(DATE), last_change(&new)?).context("cannot write the date")?;
    // The old copy is removed with the scratch folder.
    let exchanged = match folder.exists() {
        true => {
            renameat2(nix::fcntl::AT_FDCWD, &new, nix::fcntl::AT_FDCWD, folder, RenameFlags::RENAME_EXCHANGE)
        }
        false => {
            renameat2(nix::fcntl::AT_FDCWD, &new, nix::fcntl::AT_FDCWD, folder, RenameFlags::RENAME_NOREPLACE)
        }
    };
    if let Err(error) = exchanged {
        bail!("cannot replace {}: {error}", folder.display());
    }
    Ok(())
}

/// The date of the last commit.
fn last_change(clone: &Path) -> Result<String> {
    let mut log = Command::new("git");
    log.arg("-C").arg(clone).args(["log", "-1", "--format=%cI"]);
    let date =
        require_success(show_and_read(&mut log)?).context("cannot read the date of the last commit")?;
    Ok(date.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "2026-11-20T12:00:00+00:00";

    fn git(folder: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@a.example", "-c", "commit.gpgsign=false"];
        let mut command = Command::new("git");
        command.env("GIT_COMMITTER_DATE", DAY).arg("-C").arg(folder).args(identity).args(arguments);
        let output = command.output();
        let output = output.expect("git is needed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn a_copy_is_replaced_by_a_valid_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let (source, copy) = (folder.path().join("source"), folder.path().join("cache/advisories"));
        fs::create_dir(&source).unwrap();
        git(&source, &["init", "--quiet"]);
        let commit = |text: &str| {
            fs::write(source.join("file"), text).unwrap();
            git(&source, &["add", "."]);
            git(&source, &["commit", "--quiet", "-m", "a"]);
        };
        commit("one");
        let url = format!("file://{}", source.display());
        assert_eq!(date(&copy).unwrap(), None);
        refresh(&copy, &url, |_| Ok(())).unwrap();
        let read = || fs::read_to_string(copy.join("file")).unwrap();
        let first = date(&copy).unwrap().unwrap();
        assert_eq!(first, DAY.parse().unwrap(), "that of the commit");
        commit("two");
        let error = refresh(&copy, &url, |_| bail!("it is empty")).unwrap_err();
        assert!(format!("{error:#}").ends_with("the copy is kept: it is empty"), "{error:#}");
        let error = refresh(&copy, &format!("{url}-none"), |_| Ok(())).unwrap_err();
        assert!(format!("{error:#}").contains("cannot download"), "{error:#}");
        assert_eq!((read().as_str(), date(&copy).unwrap()), ("one", Some(first)));
        let is_new = |new: &Path| match fs::read_to_string(new.join("file"))?.as_str() {
            "two" => Ok(()),
            other => bail!("unexpected {other}"),
        };
        refresh(&copy, &url, is_new).unwrap();
        assert_eq!(read(), "two");
        assert_eq!(fs::read_dir(folder.path().join("cache")).unwrap().count(), 1, "nothing else is left");
        fs::remove_file(copy.join(DATE)).unwrap();
        assert!(date(&copy).unwrap_err().to_string().contains("the copy has no date"));
    }
}
