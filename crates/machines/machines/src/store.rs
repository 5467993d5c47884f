//! A cluster's folder: where each file of it stands, how its state is written, and its lock.
//!
//! The state file is replaced in one step, so that whoever reads it sees the old or the new one. Only
//! the holder of the lock may write it.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cluster::{Cluster, FORMAT, fnv};
use crate::limits;

/// How the lock file's text begins; the verb follows.
const HOLDER: &str = "keelson ";
/// Where a node's readiness lines arrive, in the node's folder.
pub(crate) const READY: &str = "host/ready.json";
/// A cluster's state, in its folder.
pub(crate) const STATE: &str = "cluster.json";
/// Of a cluster's folder.
const FOLDER_MODE: u32 = 0o700;
/// Of the files in it.
const FILE_MODE: u32 = 0o600;

/// Where the files of one cluster stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0:?} is no cluster name: letters, digits, - and _ only, at most 32")]
    Name(String),
    #[error("the path {path} of a socket has {length} bytes; unix allows {max}. A shorter --state-dir helps",
        max = limits::SOCKET_PATH_MAX)]
    LongPath { path: PathBuf, length: usize },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is damaged; `keelson destroy` removes the cluster")]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("{path} has format {has}, this program knows {FORMAT}; `keelson destroy` removes the cluster")]
    Format { path: PathBuf, has: u32 },
    #[error("interrupted while {holder} was being waited for")]
    Interrupted { holder: String },
}

impl Layout {
    /// The folder of cluster `name` below `state` (usually `$XDG_STATE_HOME/keelson`), which must be absolute.
    pub fn new(state: &Path, name: &str) -> Result<Self, StoreError> {
        let named = !name.is_empty()
            && name.len() <= 32
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !named {
            return Err(StoreError::Name(name.to_owned()));
        }
        let layout = Self { root: state.join(name) };
        // The longest name that a socket below can get, so that nothing fails half way.
        let longest =
            layout.root.join("x".repeat(limits::NAME_PREFIX_MAX + "-01".len())).join("console.sock");
        let length = longest.as_os_str().len();
        if length > limits::SOCKET_PATH_MAX {
            return Err(StoreError::LongPath { path: longest, length });
        }
        Ok(layout)
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Tells this folder from others, in names that all clusters of a host share: 8 hexadecimal digits.
    #[must_use]
    pub fn mark(&self) -> String {
        format!("{:08x}", fnv(&self.root.to_string_lossy()) & 0xffff_ffff)
    }

    /// Folder of the cluster's certificate authority.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// Folder of the discovery service's data and log.
    #[must_use]
    pub fn discovery(&self) -> PathBuf {
        self.root.join("discovery")
    }

    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join(STATE)
    }

    #[must_use]
    pub fn user_data(&self) -> PathBuf {
        self.root.join("user-data")
    }

    /// Private half of the cluster's ssh key; the public one has `.pub` appended.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.root.join("ssh_key")
    }

    /// Sockets of the LAN's switch: `control.sock` and one `NAME.sock` a node.
    #[must_use]
    pub fn lan(&self) -> PathBuf {
        self.root.join("lan")
    }

    #[must_use]
    pub fn node(&self, name: &str) -> NodeLayout {
        NodeLayout { root: self.root.join(name) }
    }

    /// Whether a keelson has made this folder: a name that was mistyped must not cost what is not ours.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.state().exists() || holder(&self.lock_file()).starts_with(HOLDER)
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn load(&self) -> Result<Option<Cluster>, StoreError> {
        let path = self.state();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Read { path, source }),
        };
        let damaged = |source| StoreError::Damaged { path: path.clone(), source };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        if let Some(has) = format.and_then(|has| u32::try_from(has).ok()).filter(|has| *has != FORMAT) {
            return Err(StoreError::Format { path, has });
        }
        serde_json::from_value(value).map(Some).map_err(damaged)
    }

    pub fn save(&self, cluster: &Cluster) -> Result<(), StoreError> {
        let path = self.state();
        let mut text = serde_json::to_vec_pretty(cluster)
            .map_err(|error| StoreError::Write { path: path.clone(), source: error.into() })?;
        text.push(b'\n');
        replace(&path, &text).map_err(|source| StoreError::Write { path, source })
    }

    /// Takes the cluster's lock for `verb`; `waiting` is told once who holds it, when somebody does.
    pub fn lock(
        &self,
        verb: &str,
        cancel: &AtomicBool,
        waiting: &mut dyn FnMut(&str),
    ) -> Result<Lock, StoreError> {
        let path = self.lock_file();
        let failed = |source| StoreError::Write { path: path.clone(), source };
        let mut file = self.open_lock(&path).map_err(failed)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) if is_at(&file, &path).map_err(failed)? => break,
                // It was destroyed with its cluster while it was waited for: the next one's lock is another file.
                Ok(()) => {
                    file = self.open_lock(&path).map_err(failed)?;
                    continue;
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) => {}
            }
            let holder = holder(&path);
            if cancel.load(Ordering::Relaxed) {
                return Err(StoreError::Interrupted { holder });
            }
            if !told {
                waiting(&holder);
                told = true;
            }
            std::thread::sleep(limits::TICK);
        }
        let text = format!("{HOLDER}{verb} (process {})\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(failed)?;
        Ok(Lock { _file: file })
    }

    /// Makes the cluster's folder with it: below it are disks and user-data, which hold secrets.
    fn open_lock(&self, path: &Path) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.root)?;
        File::options().read(true).write(true).create(true).truncate(false).open(path)
    }
}

/// Whether `path` still names this very file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The right to change a cluster, for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

fn holder(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { "another keelson".to_owned() } else { line.to_owned() }
}

/// Where the files of one node stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLayout {
    root: PathBuf,
}

impl NodeLayout {
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.root.join("disk.qcow2")
    }

    /// The firmware's variables.
    #[must_use]
    pub fn variables(&self) -> PathBuf {
        self.root.join("firmware-variables.fd")
    }

    /// What a QEMU node writes and finds again after a power cut.
    #[must_use]
    pub fn cut_survives(&self) -> [PathBuf; 2] {
        [self.disk(), self.variables()]
    }

    #[must_use]
    pub fn config_drive(&self) -> PathBuf {
        self.root.join("config-drive.img")
    }

    /// The same content as a folder, for nspawn.
    #[must_use]
    pub fn config_folder(&self) -> PathBuf {
        self.root.join("config-drive")
    }

    /// Everything the console has shown since the node was made.
    #[must_use]
    pub fn console_log(&self) -> PathBuf {
        self.root.join("console.log")
    }

    #[must_use]
    pub fn console_socket(&self) -> PathBuf {
        self.root.join("console.sock")
    }

    #[must_use]
    pub fn qmp(&self) -> PathBuf {
        self.root.join("qmp.sock")
    }

    /// What the process behind the node had to say.
    #[must_use]
    pub fn process_log(&self) -> PathBuf {
        self.root.join("process.log")
    }

    /// Folder that an nspawn node sees as `/run/keelson/host`.
    #[must_use]
    pub fn host(&self) -> PathBuf {
        self.root.join("host")
    }

    /// Where the node's readiness lines arrive.
    #[must_use]
    pub fn ready(&self) -> PathBuf {
        self.root.join(READY)
    }

    /// The root directory of an nspawn node.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.root.join("root")
    }

    /// What the nspawn keeper is told.
    #[must_use]
    pub fn keeper(&self) -> PathBuf {
        self.root.join("keeper.json")
    }
}

/// Writes a file, and its folder, so that a reader or the next boot sees all of it or nothing.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(folder)?;
    service::file::replace(path, content, FILE_MODE)
}

/// Reads at most `limit` bytes of a file.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
