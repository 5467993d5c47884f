//! A user's SSH keys: one file per source of keys, merged into the file that sshd reads.
//!
//! Nothing in the user's home is trusted: links are not followed.

use crate::Outcome;
use crate::accounts::Account;
use crate::files::{self, Owner, Request};
use crate::root::{FileError, Root};

const FOLDER: &str = ".ssh/authorized_keys.d";
const FILE: &str = ".ssh/authorized_keys";
/// Holds the keys that existed before the folder.
const EXISTING_KEYS: &str = "old_authorized_keys";
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
const MAX_KEYS_BYTES: usize = 4 << 20;

/// The files that [`install`] writes, without the one for existing keys.
pub fn files(account: &Account, name: &str) -> [String; 2] {
    let home = account.home.trim_end_matches('/');
    [format!("{home}/{FOLDER}/{name}"), format!("{home}/{FILE}")]
}

/// Replaces the keys of source `name`. `owner` is the owner of the files.
///
/// # Errors
/// A file cannot be read or written.
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
    // A missing home is created for the user: sshd could not read the keys in one of root's.
    if !home.is_empty() {
        files::directory(root, home, DIRECTORY_MODE, owner)?;
    }
    let folder = format!("{home}/{FOLDER}");
    let [source_file, file] = self::files(account, name);
    // Dotfiles are not sources: they may be leftovers of an interrupted run.
    if files::list(root, &folder)?.iter().all(|name| name.starts_with('.'))
        && let Some(existing) = files::read_no_follow(root, &file, MAX_KEYS_BYTES)?
        && !existing.is_empty()
    {
        write(&format!("{folder}/{EXISTING_KEYS}"), &existing)?;
    }
    write(&source_file, (keys.join("\n") + "\n").as_bytes())?;
    let mut all = Vec::new();
    for name in files::list(root, &folder)? {
        if name.starts_with('.') {
            continue;
        }
        let source_keys =
            files::read_no_follow(root, &format!("{folder}/{name}"), MAX_KEYS_BYTES)?.unwrap_or_default();
        all.extend_from_slice(&source_keys);
        if !source_keys.is_empty() && !source_keys.ends_with(b"\n") {
            all.push(b'\n');
        }
    }
    write(&file, &all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_home_belongs_to_its_user() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let account = Account { uid: 7, gid: 8, home: "/home/a".into() };
        let is_root = nix::unistd::geteuid().is_root();
        // chown requires root.
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
