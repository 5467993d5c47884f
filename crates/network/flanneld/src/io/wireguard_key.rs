//! The file of WireGuard's private key: Base64, as `wg genkey` prints it and flannel writes it.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, Result, anyhow, ensure};
use flannel_core::WireguardSecret;

use crate::limits::MAX_KEY_FILE;

/// Mode of the file: only its owner may read it.
const MODE: u32 = 0o600;

/// The key of the file, which is created with a random one if it is absent. A file that has no key is not replaced: the
/// operator may have the key elsewhere.
pub fn read_or_create(path: &Path) -> Result<WireguardSecret> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| anyhow!("cannot create a private key: {error}"))?;
    let key = WireguardSecret::private(random);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    service::file::replace(path, format!("{}\n", key.to_base64()).as_bytes(), MODE)
        .with_context(|| format!("cannot write the private key to {}", path.display()))?;
    tracing::info!("created a private key in {}", path.display());
    Ok(key)
}

/// The key of the file; none if it is absent.
pub fn read(path: &Path) -> Result<Option<WireguardSecret>> {
    let context = || format!("cannot use the private key {}", path.display());
    // Before it is opened, which would wait for the writer of a pipe.
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        result => result.with_context(context)?,
    };
    check(path, &metadata).with_context(context).map(Some)
}

fn check(path: &Path, metadata: &fs::Metadata) -> Result<WireguardSecret> {
    ensure!(metadata.is_file(), "it is not a file");
    let mode = metadata.permissions().mode() & 0o7777;
    ensure!(
        mode & 0o077 == 0,
        "its mode is {mode:04o}, so that others may have read it: remove it, and the next start creates another one, or \
         `chmod 600` it"
    );
    let mut text = String::new();
    File::open(path)?.take(MAX_KEY_FILE).read_to_string(&mut text)?;
    let key = text.trim_ascii().parse();
    key.map_err(|error| anyhow!("{error}; remove the file, and the next start creates a new key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/wgkey");
        assert_eq!(read(&path).unwrap(), None);
        let key = read_or_create(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(read_or_create(&path).unwrap(), key);
        assert_eq!(read(&path).unwrap(), Some(key));
        let other = read_or_create(&folder.path().join("other")).unwrap();
        assert_ne!(other, key);
        // flannel writes the file with another mode, and without a line's end.
        fs::write(&path, other.to_base64()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(read_or_create(&path).unwrap(), other);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_remains() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wgkey");
        let check = |content: &[u8], mode, expected: &str| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = format!("{:#}", read_or_create(&path).unwrap_err());
            assert_eq!(error, format!("cannot use the private key {}: {expected}", path.display()));
            assert_eq!(fs::read(&path).unwrap(), content);
        };
        let no_key = "32 bytes in Base64 are required, as `wg genkey` prints them; remove the file, and the next start \
                      creates a new key";
        check(b"", 0o600, no_key);
        check(b"AAAA", 0o600, no_key);
        check(&[b'A'; 100_000], 0o600, no_key);
        check(&[0xff; 44], 0o600, "stream did not contain valid UTF-8");
        let key = WireguardSecret([7; 32]).to_base64();
        let mode = "so that others may have read it: remove it, and the next start creates another one, or `chmod 600` it";
        check(key.as_bytes(), 0o644, &format!("its mode is 0644, {mode}"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = format!("{:#}", read_or_create(&path).unwrap_err());
        assert!(error.ends_with("it is not a file"), "{error}");
    }
}
