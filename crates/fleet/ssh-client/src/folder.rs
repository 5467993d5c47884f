//! The private folder of one `ssh`.
//!
//! A shell makes it, waits for the end of this process, and removes it. It ignores the signals that end this process, from
//! before there is a folder: so nothing remains after Ctrl-C or a SIGKILL, and no handler of signals is needed.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::Error;
use crate::limits::ANSWER_BYTES;

/// Makes a folder in `$0`, prints its path, and removes it at the end of standard input, a pipe that only this process
/// holds.
const KEEP: &str = r#"
trap "" HUP INT QUIT TERM
PATH="$PATH:/usr/bin:/bin"
made=$(mktemp -d "$0/keelson-ssh-XXXXXXXX") || exit
printf %s "$made"
exec >&- 2>&-
read _
rm -rf -- "$made"
"#;

/// The longest path of a socket (unix(7)), without the zero at its end.
const SOCKET_PATH_BYTES: usize = 107;

pub struct Folder {
    path: PathBuf,
    opened: File,
    _keeper: Keeper,
}

/// The shell. The folder is removed when it is dropped.
struct Keeper(Child);

impl Folder {
    /// Below the folder for temporary files, for this user only.
    pub fn new() -> Result<Folder, Error> {
        let parent = std::env::temp_dir();
        Self::below(&parent).map_err(|cause| Error::Folder { path: parent, cause })
    }

    fn below(parent: &Path) -> io::Result<Folder> {
        let keeper = Command::new("/bin/sh")
            .args(["-c", KEEP])
            .arg(std::path::absolute(parent)?)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut keeper = Keeper(keeper);
        let path = PathBuf::from(OsString::from_vec(output(keeper.0.stdout.take())?));
        if path.as_os_str().is_empty() {
            let said = output(keeper.0.stderr.take())?;
            return Err(io::Error::other(String::from_utf8_lossy(&said).trim().to_owned()));
        }
        Ok(Folder { opened: File::open(&path)?, path, _keeper: keeper })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(self.path.join(name))?.write_all(text.as_bytes())
    }

    /// Empty where the file does not exist.
    pub fn read(&self, name: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        match File::open(self.path.join(name)) {
            Ok(file) => file.take(ANSWER_BYTES).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A path of the socket in it that `connect` takes.
    pub fn socket(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        match path.as_os_str().len() {
            ..=SOCKET_PATH_BYTES => path,
            _ => PathBuf::from(format!("/proc/self/fd/{}/{name}", self.opened.as_raw_fd())),
        }
    }
}

fn output(from: Option<impl io::Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(ANSWER_BYTES).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

impl Drop for Keeper {
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
    fn it_is_private_and_removed() {
        let folder = Folder::new().unwrap();
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
    fn where_there_can_be_none() {
        let error = Folder::below(Path::new("/nonexistent")).err().unwrap().to_string();
        assert!(error.ends_with("No such file or directory"), "{error}");
    }
}
