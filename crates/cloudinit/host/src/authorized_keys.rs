//! ssh keys of a user: one file for each source of keys, and the file that sshd reads, made of all of them.
//!
//! Nothing in the user's home is trusted: links are not followed.

use crate::Outcome;
use crate::accounts::Account;
use crate::files::{self, Owner, Request};
use crate::root::{FileError, Root};

const FOLDER: &str = ".ssh/authorized_keys.d";
const FILE: &str = ".ssh/authorized_keys";
/// Keys that were there before the folder was.
const OLD_KEYS: &str = "old_authorized_keys";
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
const MAX_KEYS_BYTES: usize = 4 << 20;

/// The files that [`install`] writes, but for those that were there before it ever ran.
pub fn files(account: &Account, name: &str) -> [String; 2] {
    let home = account.home.trim_end_matches('/');
    [format!("{home}/{FOLDER}/{name}"), format!("{home}/{FILE}")]
}

/// Replaces the keys of source `name`. `owner` is whose the files are to be.
///
/// # Errors
/// What could not be read or written.
pub fn install(
    root: &Root,
    account: &Account,
    owner: Owner,
    name: &str,
    keys: &[String],
) -> Result<Outcome, FileError> {
    let home = account.home.trim_end_matches('/');
    let write = |path: &str, content: &[u8]| {
        files::write(root, &Request { path, mode: FILE_MODE, owner, content, directory_mode: DIRECTORY_MODE })
    };
    // A user without a home directory gets one for them, or sshd could not read them.
    if !home.is_empty() {
        files::directory(root, home, DIRECTORY_MODE, owner)?;
    }
    let folder = format!("{home}/{FOLDER}");
    let [own, file] = self::files(account, name);
    // What begins with a dot is no source of keys: a run that was cut off may have left it.
    if files::list(root, &folder)?.iter().all(|name| name.starts_with('.'))
        && let Some(old) = files::read_plain(root, &file, MAX_KEYS_BYTES)?
        && !old.is_empty()
    {
        write(&format!("{folder}/{OLD_KEYS}"), &old)?;
    }
    write(&own, (keys.join("\n") + "\n").as_bytes())?;
    let mut all = Vec::new();
    for name in files::list(root, &folder)? {
        if name.starts_with('.') {
            continue;
        }
        let part = files::read_plain(root, &format!("{folder}/{name}"), MAX_KEYS_BYTES)?.unwrap_or_default();
        all.extend_from_slice(&part);
        if !part.is_empty() && !part.ends_with(b"\n") {
            all.push(b'\n');
        }
    }
    write(&file, &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_directory_that_is_made_belongs_to_its_user() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let account = Account { uid: 7, gid: 8, home: "/home/a".into() };
        let is_root = nix::unistd::geteuid().is_root();
        // Only root gives files away.
        let owner = if is_root { Owner { uid: Some(7), gid: Some(8) } } else { Owner::default() };
        install(&root, &account, owner, "b", &["k".into()]).unwrap();
        let status = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap();
        assert_eq!(status("home").uid(), nix::unistd::geteuid().as_raw());
        for path in ["home/a", "home/a/.ssh", "home/a/.ssh/authorized_keys.d", "home/a/.ssh/authorized_keys"]
        {
            let status = status(path);
            assert!(!is_root || (status.uid(), status.gid()) == (7, 8), "{path}");
            assert_eq!(status.mode() & 0o077, 0, "{path}");
        }
    }

    #[test]
    fn sources_are_replaced_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        std::fs::create_dir_all(folder.path().join("home/a/.ssh")).unwrap();
        std::fs::write(folder.path().join("home/a/.ssh/authorized_keys"), "by hand").unwrap();
        let account = Account { uid: 0, gid: 0, home: "/home/a".into() };
        let install = |name: &str, keys: &[&str]| {
            let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
            super::install(&root, &account, Owner::default(), name, &keys).unwrap()
        };
        let read = || std::fs::read_to_string(folder.path().join("home/a/.ssh/authorized_keys")).unwrap();
        assert_eq!(install("b", &["k1", "k2"]), Outcome::Changed);
        assert_eq!(read(), "k1\nk2\nby hand\n");
        assert_eq!(install("b", &["k1", "k2"]), Outcome::Unchanged);
        assert_eq!(install("c", &["k4"]), Outcome::Changed);
        assert_eq!(install("b", &["k3"]), Outcome::Changed);
        assert_eq!(read(), "k3\nk4\nby hand\n");
        std::os::unix::fs::symlink("/etc/shadow", folder.path().join("home/a/.ssh/authorized_keys.d/evil"))
            .unwrap();
        assert!(super::install(&root, &account, Owner::default(), "b", &["k".into()]).is_err());
    }
}
