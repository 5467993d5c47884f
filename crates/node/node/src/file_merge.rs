//! Merges lines into text files that others edit too. Unchanged files are not rewritten.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use service::file::replace;

const NEW_MODE: u32 = 0o644;

/// Replaces the file with the result of `merge`; a missing file counts as empty. Returns whether it changed.
///
/// # Errors
/// The file cannot be read or replaced, or is not UTF-8.
pub fn merge_file(path: &Path, merge: impl FnOnce(&str) -> String) -> io::Result<bool> {
    let (old, mode) = match fs::read(path) {
        Ok(bytes) => (bytes, fs::metadata(path)?.permissions().mode() & 0o7777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), NEW_MODE),
        Err(error) => return Err(error),
    };
    let old = String::from_utf8(old)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("invalid UTF-8: {error}")))?;
    let new = merge(&old);
    if new == old {
        return Ok(false);
    }
    replace(path, new.as_bytes(), mode)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) -> io::Result<bool> {
        merge_file(path, |_| text.to_owned())
    }

    #[test]
    fn mode_is_kept_and_unchanged_files_are_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("environment");
        assert!(write(&path, "A=1\n").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, NEW_MODE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!write(&path, "A=1\n").unwrap());
        assert!(write(&path, "A=2\n").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn invalid_utf8_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("environment");
        fs::write(&path, b"A=\xff\n").unwrap();
        assert!(write(&path, "A=1\n").unwrap_err().to_string().starts_with("invalid UTF-8"));
        assert_eq!(fs::read(&path).unwrap(), b"A=\xff\n");
    }
}
