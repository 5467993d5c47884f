//! Text files of which some lines are ours: the others stay, and a file that says it already is not touched.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use service::file::replace;

const NEW_MODE: u32 = 0o644;

/// Replaces the file by what `merge` makes of it; a missing one counts as empty. False when nothing changes.
///
/// # Errors
/// The file cannot be read or replaced, or is no UTF-8 text.
pub fn merge_file(path: &Path, merge: impl FnOnce(&str) -> String) -> io::Result<bool> {
    let (before, mode) = match fs::read(path) {
        Ok(bytes) => (bytes, fs::metadata(path)?.permissions().mode() & 0o7777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), NEW_MODE),
        Err(error) => return Err(error),
    };
    let before = String::from_utf8(before).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("it is no UTF-8 text: {error}"))
    })?;
    let after = merge(&before);
    if after == before {
        return Ok(false);
    }
    replace(path, after.as_bytes(), mode)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) -> io::Result<bool> {
        merge_file(path, |_| text.to_owned())
    }

    #[test]
    fn mode_is_kept_and_an_unchanged_file_is_not_touched() {
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
    fn bytes_that_are_no_text_are_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("environment");
        fs::write(&path, b"A=\xff\n").unwrap();
        assert!(write(&path, "A=1\n").unwrap_err().to_string().starts_with("it is no UTF-8 text"));
        assert_eq!(fs::read(&path).unwrap(), b"A=\xff\n");
    }
}
