//! A user's SSH keys: one file per source of keys, merged into the file that sshd reads.
//!
//! Nothing in the user's home is trusted: links are not followed.

use std::collections::BTreeMap;

use crate::Outcome;
use crate::accounts::Account;
use crate::files::{self, Owner, Request};
use crate::root::{FileError, Root};

const FOLDER: &str = ".ssh/authorized_keys.d";
const FILE: &str = ".ssh/authorized_keys";
/// Holds the keys of no source: those that existed before the folder, and those added later.
const EXISTING_KEYS: &str = "old_authorized_keys";
/// What was last written to [`FILE`].
const WRITTEN: &str = ".written";
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
/// Keys that others added to the file that sshd reads, or removed from it, since this wrote it stay added or removed,
/// unless a source lists them.
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
    let read = |path: &str| files::read_no_follow(root, path, MAX_KEYS_BYTES);
    let mut sources = BTreeMap::new();
    for name in files::list(root, &folder)? {
        // Dotfiles are not sources: they may be leftovers of an interrupted run.
        if !name.starts_with('.') {
            let content = read(&format!("{folder}/{name}"))?.unwrap_or_default();
            sources.insert(name, content);
        }
    }
    let written_file = format!("{folder}/{WRITTEN}");
    let written = read(&written_file)?;
    if let Some(current) = read(&file)? {
        let existing = sources.get(EXISTING_KEYS);
        let edited = match &written {
            Some(written) => edited(existing.map_or(&[], Vec::as_slice), &current, written),
            None if sources.is_empty() => current,
            None => existing.cloned().unwrap_or_default(),
        };
        if edited != existing.cloned().unwrap_or_default() {
            write(&format!("{folder}/{EXISTING_KEYS}"), &edited)?;
            sources.insert(EXISTING_KEYS.to_owned(), edited);
        }
    }
    sources.insert(name.to_owned(), (keys.join("\n") + "\n").into_bytes());
    let mut all = Vec::new();
    for content in sources.values() {
        all.extend_from_slice(content);
        if !content.is_empty() && !content.ends_with(b"\n") {
            all.push(b'\n');
        }
    }
    if written.as_ref() != Some(&all) {
        // Should this end early, what it wrote must not count as added by others: such keys would outlive their source.
        write(&written_file, &[written.as_deref().unwrap_or_default(), &all].concat())?;
    }
    write(&source_file, &sources[name])?;
    let outcome = write(&file, &all)?;
    write(&written_file, &all)?;
    Ok(outcome)
}

/// The keys of no source: those of `existing` that are still in `current`, then the lines of `current` that were not
/// written there.
fn edited(existing: &[u8], current: &[u8], written: &[u8]) -> Vec<u8> {
    let kept = lines(existing).filter(|line| lines(current).any(|one| one == *line));
    let added = lines(current).filter(|line| !lines(written).any(|one| one == *line));
    kept.chain(added).flat_map(|line| [line, b"\n"].concat()).collect()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
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

    struct Home(tempfile::TempDir);

    impl Home {
        /// A home whose file has these keys.
        fn new(keys: &str) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir_all(home.path("authorized_keys.d")).unwrap();
            home.edit(keys);
            home
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join("home/a/.ssh").join(name)
        }

        fn edit(&self, keys: &str) {
            std::fs::write(self.path("authorized_keys"), keys).unwrap();
        }

        fn try_install(&self, name: &str, keys: &[&str]) -> Result<Outcome, FileError> {
            let account = Account { uid: 0, gid: 0, home: "/home/a".into() };
            let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
            let root = Root::open(self.0.path()).unwrap();
            install(&root, &account, Owner::default(), name, &keys)
        }

        /// Replaces a source's keys. The file then has these lines.
        fn check(&self, name: &str, keys: &[&str], lines: &[&str]) -> Outcome {
            let outcome = self.try_install(name, keys).unwrap();
            let text = std::fs::read_to_string(self.path("authorized_keys")).unwrap();
            assert_eq!(text.lines().collect::<Vec<_>>(), lines);
            outcome
        }
    }

    #[test]
    fn sources_are_replaced_one_by_one() {
        let home = Home::new("existing");
        assert_eq!(home.check("b", &["k1", "k2"], &["k1", "k2", "existing"]), Outcome::Changed);
        assert_eq!(home.check("b", &["k1", "k2"], &["k1", "k2", "existing"]), Outcome::Unchanged);
        assert_eq!(home.check("c", &["k4"], &["k1", "k2", "k4", "existing"]), Outcome::Changed);
        assert_eq!(home.check("b", &["k3"], &["k3", "k4", "existing"]), Outcome::Changed);
        std::os::unix::fs::symlink("/etc/shadow", home.path("authorized_keys.d/evil")).unwrap();
        assert!(home.try_install("b", &["k"]).is_err());
    }

    #[test]
    fn edits_of_the_file_last() {
        let home = Home::new("existing\n");
        home.check("b", &["k1"], &["k1", "existing"]);
        // As `ssh-copy-id` and Vagrant do.
        home.edit("k1\nadded\n");
        assert_eq!(home.check("b", &["k1"], &["k1", "added"]), Outcome::Unchanged);
        home.check("b", &["k2"], &["k2", "added"]);
        // A source that lists the key too, and no longer.
        home.check("c", &["added"], &["k2", "added", "added"]);
        home.check("c", &["k3"], &["k2", "k3", "added"]);
        home.edit("k2\n");
        home.check("c", &["k3"], &["k2", "k3"]);
        std::fs::remove_file(home.path("authorized_keys")).unwrap();
        home.check("c", &["k3"], &["k2", "k3"]);
    }

    #[test]
    fn an_interruption_authorizes_no_revoked_key() {
        let home = Home::new("");
        home.check("b", &["k1"], &["k1"]);
        // The source is replaced, the file not yet.
        std::fs::write(home.path("authorized_keys.d/b"), "k2\n").unwrap();
        home.check("c", &["k3"], &["k2", "k3"]);
    }
}
