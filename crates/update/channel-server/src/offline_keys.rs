//! Offline keys where the server could read them: whoever takes over the server would sign releases or root metadata.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use release::SecretKeyHeader;
use update_core::roots::Role;

/// Secret key files are shorter.
const MAX_BYTES: u64 = 4096;
/// Begin the comments of the keys that `keelson keys` and this server create, and the names of their files.
const ROOT: [&str; 2] = ["Keelson's root", "root-"];
const RELEASE: [&str; 2] = ["Keelson's release", "release"];
const CHANNEL: [&str; 2] = ["Keelson's channel", "channel"];
const ONLINE: [&str; 2] = [ONLINE_COMMENT, "online"];
/// The comment of a key that the server creates.
pub const ONLINE_COMMENT: &str = "online key of a Keelson channel server";

/// A secret key that belongs on no server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineKey {
    pub path: PathBuf,
    /// `None`: unknown, but encrypted or another key than the server's.
    role: Option<Role>,
}

impl fmt::Display for OfflineKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.role {
            Some(role) => write!(to, "the secret {} key {path}", role.name()),
            None => write!(to, "the secret key {path}, which is no channel key,"),
        }
    }
}

/// The first offline key in `folder`, if any. `served`: the channel key; its role may be unknown.
///
/// # Errors
/// The folder cannot be listed.
pub fn offline_key(folder: &Path, served: Option<&Path>) -> io::Result<Option<OfflineKey>> {
    let entries: io::Result<Vec<_>> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = entries?;
    paths.sort();
    Ok(paths.into_iter().find_map(|path| {
        let is_served = served.is_some_and(|served| served.file_name() == path.file_name());
        offline(path, is_served)
    }))
}

fn offline(path: PathBuf, is_served: bool) -> Option<OfflineKey> {
    // Not every file: reading a pipe would block.
    if !path.is_file() {
        return None;
    }
    let mut text = String::new();
    // What this process cannot read, it cannot lose; what is no text is no key.
    File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)).ok()?;
    let header = SecretKeyHeader::of_file(&text)?;
    let role = role(header.comment).or_else(|| role(&path.file_name()?.to_string_lossy()));
    match role {
        Some(Role::Channel) => None,
        // A key that was not created by `keelson keys`.
        None if is_served && !header.is_encrypted => None,
        _ => Some(OfflineKey { path, role }),
    }
}

/// The role in a comment or a file name.
fn role(text: &str) -> Option<Role> {
    let roles =
        [(ROOT, Role::Root), (RELEASE, Role::Release), (CHANNEL, Role::Channel), (ONLINE, Role::Channel)];
    let found =
        roles.into_iter().find(|(prefixes, _)| prefixes.iter().any(|prefix| text.starts_with(prefix)));
    found.map(|(_, role)| role)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use minisign::KeyPair;

    use super::*;

    fn text(comment: &str, password: Option<&str>) -> String {
        let pair = match password {
            Some(password) => KeyPair::generate_encrypted_keypair(Some(password.to_owned())),
            None => KeyPair::generate_unencrypted_keypair(),
        };
        pair.unwrap().sk.to_box(Some(comment)).unwrap().into_string()
    }

    /// The key that is found in a folder with `channel.key`, which is served, and another file.
    fn check(name: &str, text: &str, expected: Option<Option<Role>>) {
        let folder = tempfile::tempdir().unwrap();
        let served = folder.path().join("channel.key");
        fs::write(&served, self::text("Keelson's channel key own", None)).unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let found = offline_key(folder.path(), Some(&served)).unwrap();
        assert_eq!(found, expected.map(|role| OfflineKey { path, role }), "{name}");
    }

    #[test]
    fn offline_keys_are_found_by_comment_and_by_name() {
        let other = "minisign encrypted secret key";
        for (name, comment, role) in [
            ("root-1.key", "Keelson's root-1 key", Some(Role::Root)),
            ("a copy", "Keelson's root key root-1, of root version 2 on", Some(Role::Root)),
            ("channel.key", "Keelson's release key own", Some(Role::Release)),
            ("online.key", "Keelson's release key own, of root version 2 on", Some(Role::Release)),
            ("release.revoked-in-2.key", other, Some(Role::Release)),
            ("root-2.key", other, Some(Role::Root)),
            ("minisign.key", other, None),
        ] {
            for password in [None, Some("password")] {
                check(name, &text(comment, password), Some(role));
            }
        }
        for (name, comment) in [
            ("channel.revoked-in-2.key", "Keelson's channel key own"),
            ("old", "Keelson's channel key own, of root version 2 on"),
            ("online.key", ONLINE_COMMENT),
            // As it is served.
            ("channel.key", other),
        ] {
            check(name, &text(comment, None), None);
        }
        check("release.key", "-----BEGIN PRIVATE KEY-----\n", None);
    }

    #[test]
    fn a_key_of_unknown_origin_is_served_unless_it_is_encrypted() {
        let folder = tempfile::tempdir().unwrap();
        let served = folder.path().join("key");
        for password in [None, Some("password")] {
            fs::write(&served, text("any", password)).unwrap();
            let found = offline_key(folder.path(), Some(&served)).unwrap();
            assert_eq!(found.is_some(), password.is_some(), "{password:?}");
        }
    }
}
