//! Removes temporary files of interrupted runs.
//!
//! Files of a concurrent run are kept.

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::files::TEMPORARY_PREFIX;
use crate::root::{FileError, Root};

/// Removes leftovers from the folder of `path`. Returns their number.
///
/// # Errors
/// The folder cannot be read, or a file cannot be removed.
pub fn remove_beside(root: &Root, path: &str) -> Result<usize, FileError> {
    let Some(location) = root.parent(path, None)? else { return Ok(0) };
    let failed = |what| move |error: Errno| FileError::system(what, path, error);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut folder =
        Dir::openat(&location.directory, ".", flags, Mode::empty()).map_err(failed("list what is beside"))?;
    let mut found = Vec::new();
    for entry in folder.iter() {
        let entry = entry.map_err(failed("list what is beside"))?;
        if let Ok(name) = entry.file_name().to_str()
            && is_leftover(name)
        {
            found.push(name.to_owned());
        }
    }
    for name in &found {
        unlinkat(&location.directory, name.as_str(), UnlinkatFlags::NoRemoveDir)
            .map_err(failed("remove what was left beside"))?;
    }
    Ok(found.len())
}

fn is_leftover(name: &str) -> bool {
    let number =
        name.strip_prefix(TEMPORARY_PREFIX).and_then(|rest| rest.split_once('-')).map(|(number, _)| number);
    let is_number = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.is_some_and(|number| is_number(number) && !is_running(number))
}

/// Whether the process is a run of this program: after a boot its PID may belong to another one. This process
/// has not written anything yet, so that a file with its PID is a leftover.
fn is_running(number: &str) -> bool {
    let name = |number: &str| std::fs::read(format!("/proc/{number}/comm")).ok();
    number != std::process::id().to_string() && name(number).is_some_and(|other| name("self") == Some(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leftovers_of_finished_runs_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // The kernel sets the name after exec, later than spawn returns.
        let comm = format!("/proc/{}/comm", other.id());
        while std::fs::read_to_string(&comm).unwrap() != "sleep\n" {
            std::thread::yield_now();
        }
        let own = std::process::id();
        let removed = [
            format!("{TEMPORARY_PREFIX}{own}-0"),
            format!("{TEMPORARY_PREFIX}{}-7", other.id()),
            format!("{TEMPORARY_PREFIX}4194999-1"),
        ];
        let kept = [
            format!("{TEMPORARY_PREFIX}-1"),
            format!("{TEMPORARY_PREFIX}x-1"),
            format!("{TEMPORARY_PREFIX}7"),
            "file".to_owned(),
        ];
        for name in removed.iter().chain(&kept) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(remove_beside(&root, "/any").unwrap(), removed.len());
        assert!(kept.iter().all(|name| folder.path().join(name).exists()));
        assert_eq!(remove_beside(&root, "/no/folder").unwrap(), 0);
        // A running process of the same name keeps its files.
        std::fs::write("/proc/self/comm", "sleep").unwrap();
        std::fs::write(folder.path().join(&removed[1]), "").unwrap();
        assert_eq!(remove_beside(&root, "/any").unwrap(), 0);
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(remove_beside(&root, "/any").unwrap(), 1);
    }
}
