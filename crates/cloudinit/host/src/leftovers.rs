//! What a run leaves behind that was cut off in the middle of a write: its temporary files.
//!
//! It must never remove one that another run is writing now.

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::files::TEMPORARY_PREFIX;
use crate::root::{FileError, Root};

/// Removes them from the folder that `path` is in. Returns how many there were.
///
/// # Errors
/// The folder cannot be read, or one cannot be removed.
pub fn remove_beside(root: &Root, path: &str) -> Result<usize, FileError> {
    let Some(place) = root.parent(path, None)? else { return Ok(0) };
    let failed = |what| move |error: Errno| FileError::system(what, path, error);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut folder =
        Dir::openat(&place.directory, ".", flags, Mode::empty()).map_err(failed("list what is beside"))?;
    let mut found = Vec::new();
    for entry in folder.iter() {
        let entry = entry.map_err(failed("list what is beside"))?;
        if let Ok(name) = entry.file_name().to_str()
            && is_left_over(name)
        {
            found.push(name.to_owned());
        }
    }
    for name in &found {
        unlinkat(&place.directory, name.as_str(), UnlinkatFlags::NoRemoveDir)
            .map_err(failed("remove what was left beside"))?;
    }
    Ok(found.len())
}

fn is_left_over(name: &str) -> bool {
    let number =
        name.strip_prefix(TEMPORARY_PREFIX).and_then(|rest| rest.split_once('-')).map(|(number, _)| number);
    let is_number = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.is_some_and(|number| is_number(number) && !runs(number))
}

/// Whether that process is a run of this program: after a boot the number may be anybody's. This process is at the
/// beginning of its own writes when it asks, so that what has its number is of an earlier one.
fn runs(number: &str) -> bool {
    let name = |number: &str| std::fs::read(format!("/proc/{number}/comm")).ok();
    number != std::process::id().to_string() && name(number).is_some_and(|other| name("self") == Some(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_writes_any_more_goes() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // The kernel names a process after its program a little later than it lets who started it go on.
        let comm = format!("/proc/{}/comm", other.id());
        while std::fs::read_to_string(&comm).unwrap() != "sleep\n" {
            std::thread::yield_now();
        }
        let own = std::process::id();
        let gone = [
            format!("{TEMPORARY_PREFIX}{own}-0"),
            format!("{TEMPORARY_PREFIX}{}-7", other.id()),
            format!("{TEMPORARY_PREFIX}4194999-1"),
        ];
        let stay = [
            format!("{TEMPORARY_PREFIX}-1"),
            format!("{TEMPORARY_PREFIX}x-1"),
            format!("{TEMPORARY_PREFIX}7"),
            "file".to_owned(),
        ];
        for name in gone.iter().chain(&stay) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(remove_beside(&root, "/any").unwrap(), gone.len());
        assert!(stay.iter().all(|name| folder.path().join(name).exists()));
        assert_eq!(remove_beside(&root, "/no/folder").unwrap(), 0);
        // Another run of the same program has what it writes.
        std::fs::write("/proc/self/comm", "sleep").unwrap();
        std::fs::write(folder.path().join(&gone[1]), "").unwrap();
        assert_eq!(remove_beside(&root, "/any").unwrap(), 0);
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(remove_beside(&root, "/any").unwrap(), 1);
    }
}
