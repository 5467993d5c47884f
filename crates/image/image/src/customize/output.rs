//! A file that has no name until it is complete: an interruption, also by SIGKILL, leaves nothing. On a file system without
//! such files (NFS) it has a temporary name, which SIGKILL leaves.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc::O_TMPFILE;
use nix::unistd::linkat;
use tempfile::{NamedTempFile, TempPath};

use super::error::CustomizeError;
use crate::tree::PathContext;

/// Bytes that are copied between two checks of the flag.
const BLOCK: usize = 1 << 20;

pub struct Output {
    /// In the folder of `to`.
    file: File,
    name: Option<TempPath>,
    folder: PathBuf,
    to: PathBuf,
}

impl Output {
    pub fn new(to: &Path) -> io::Result<Self> {
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = fs::canonicalize(parent.unwrap_or(Path::new(".")))?;
        if to.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let to = folder.join(to.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        let mut options = File::options();
        options.read(true).write(true).mode(0o600).custom_flags(O_TMPFILE);
        let (file, name) = match options.open(&folder) {
            Ok(file) => (file, None),
            Err(_) => {
                let (file, name) = NamedTempFile::new_in(&folder)?.into_parts();
                (file, Some(name))
            }
        };
        Ok(Self { file, name, folder, to })
    }

    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub fn copy(&mut self, from: &mut impl Read, cancel: &AtomicBool) -> Result<(), CustomizeError> {
        let mut block = vec![0; BLOCK];
        loop {
            if cancel.load(Ordering::Relaxed) {
                return Err(CustomizeError::Interrupted);
            }
            let count = from.read(&mut block).at(&self.to)?;
            if count == 0 {
                return Ok(());
            }
            self.file.write_all(&block[..count]).at(&self.to)?;
        }
    }

    /// Gives the file its name. It may have secrets, and is readable by its owner only.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        match self.name {
            Some(name) => name.persist(&self.to)?,
            None => self.link()?,
        }
        File::open(&self.folder)?.sync_all()
    }

    /// Replaces an existing file: linkat(2) does not.
    fn link(&self) -> io::Result<()> {
        let name = self.to.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let partial = self.folder.join(format!(".{name}.{}.partial", std::process::id()));
        let descriptor = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        linkat(AT_FDCWD, &descriptor, AT_FDCWD, &partial, AtFlags::AT_SYMLINK_FOLLOW)?;
        if let Err(error) = fs::rename(&partial, &self.to) {
            fs::remove_file(&partial)?;
            return Err(error);
        }
        Ok(())
    }
}
