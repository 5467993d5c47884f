//! The private directory of an `ssh` process.
//!
//! A shell creates it, waits for the exit of this process, and removes it. The shell ignores the signals that end this
//! process before it creates the directory, so that nothing remains even after SIGKILL, without signal handlers.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::Error;
use crate::limits::RESPONSE_BYTES;

/// Creates a directory in `$0`, prints its path, and removes it at the end of standard input, a pipe that only this
/// process holds.
const CLEANUP_SCRIPT: &str = r#"
trap "" HUP INT QUIT TERM
PATH="$PATH:/usr/bin:/bin"
made=$(mktemp -d "$0/keelson-ssh-XXXXXXXX") || exit
printf %s "$made"
exec >&- 2>&-
read _
rm -rf -- "$made"
"#;

/// Maximum length of a socket path (unix(7)), without the terminating zero.
const SOCKET_PATH_BYTES: usize = 107;

pub struct RuntimeDir {
    path: PathBuf,
    directory: File,
    _cleaner: Cleaner,
}

/// The shell. Removes the directory on drop.
struct Cleaner(Child);

impl RuntimeDir {
    /// Creates a directory below `TMPDIR`, accessible to this user only.
    pub fn new() -> Result<RuntimeDir, Error> {
        let parent = std::env::temp_dir();
        Self::create_in(&parent).map_err(|cause| Error::RuntimeDirectory { path: parent, cause })
    }

    fn create_in(parent: &Path) -> io::Result<RuntimeDir> {
        let cleaner = Command::new("/bin/sh")
            .args(["-c", CLEANUP_SCRIPT])
            .arg(std::path::absolute(parent)?)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut cleaner = Cleaner(cleaner);
        let path = PathBuf::from(OsString::from_vec(read_limited(cleaner.0.stdout.take())?));
        if path.as_os_str().is_empty() {
            let message = read_limited(cleaner.0.stderr.take())?;
            return Err(io::Error::other(String::from_utf8_lossy(&message).trim().to_owned()));
        }
        Ok(RuntimeDir { directory: File::open(&path)?, path, _cleaner: cleaner })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(self.path.join(name))?.write_all(text.as_bytes())
    }

    /// Returns an empty string if the file does not exist.
    pub fn read(&self, name: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        match File::open(self.path.join(name)) {
            Ok(file) => file.take(RESPONSE_BYTES).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A path of a socket in the directory that is short enough for `connect`.
    pub fn socket(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        match path.as_os_str().len() {
            ..=SOCKET_PATH_BYTES => path,
            _ => PathBuf::from(format!("/proc/self/fd/{}/{name}", self.directory.as_raw_fd())),
        }
    }
}

fn read_limited(from: Option<impl io::Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(RESPONSE_BYTES).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn directory_is_private_and_removed() {
        let folder = RuntimeDir::new().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        folder.write("a", "text").unwrap();
        assert_eq!(folder.read("a").unwrap(), "text");
        assert_eq!(folder.read("b").unwrap(), "");
        assert!(folder.write("a", "other").is_err());
        assert!(folder.socket("a").exists());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn missing_parent_directory() {
        let error = RuntimeDir::create_in(Path::new("/nonexistent")).err().unwrap().to_string();
        assert!(error.ends_with("No such file or directory"), "{error}");
    }
}
