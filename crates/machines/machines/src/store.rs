//! A cluster's folder: its layout, its state file and its lock.
//!
//! The state file is replaced atomically. Only the holder of the lock may write it.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cluster::{Cluster, FORMAT, fnv};
use crate::limits;

/// Prefix of the lock file's text; the verb follows.
const HOLDER: &str = "keelson ";
/// Readiness file, relative to the node's folder.
pub(crate) const READY: &str = "host/ready.json";
/// File that describes the running guest, relative to the node's folder.
pub(crate) const GUEST: &str = "guest.json";
/// State file, relative to the cluster's folder.
pub(crate) const STATE: &str = "cluster.json";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("invalid cluster name {0:?}: use letters, digits, - and _ only, at most 32 characters")]
    Name(String),
    #[error("the socket path {path} has {length} bytes; the maximum is {max} (use a shorter --state-dir)",
        max = limits::SOCKET_PATH_MAX)]
    LongPath { path: PathBuf, length: usize },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is damaged; `keelson destroy` removes the cluster")]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("{path} has format {has}, this keelson supports {FORMAT}; `keelson destroy` removes the cluster")]
    Format { path: PathBuf, has: u32 },
    #[error("interrupted while waiting for {holder}")]
    Interrupted { holder: String },
}

impl Layout {
    /// `state` (usually `$XDG_STATE_HOME/keelson`) must be absolute; the cluster's folder is `state`/`name`.
    pub fn new(state: &Path, name: &str) -> Result<Self, StoreError> {
        let valid = !name.is_empty()
            && name.len() <= 32
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !valid {
            return Err(StoreError::Name(name.to_owned()));
        }
        let layout = Self { root: state.join(name) };
        // Checks the longest possible socket path first, so that no later step fails because of it.
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

    /// Identifies this folder in names that all clusters of a host share: 8 hexadecimal digits.
    #[must_use]
    pub fn hash_prefix(&self) -> String {
        format!("{:08x}", fnv(&self.root.to_string_lossy()) & 0xffff_ffff)
    }

    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// SMBIOS string with the registration token of the update server.
    #[must_use]
    pub fn registration(&self) -> PathBuf {
        self.root.join("registration.smbios")
    }

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

    /// Private ssh key of the cluster; the public key has `.pub` appended.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.root.join("ssh_key")
    }

    /// Sockets of the LAN switch: `control.sock`, and `NAME.sock` for each node.
    #[must_use]
    pub fn lan(&self) -> PathBuf {
        self.root.join("lan")
    }

    #[must_use]
    pub fn node(&self, name: &str) -> NodeLayout {
        NodeLayout { root: self.root.join(name) }
    }

    /// Whether keelson created this folder. Protects unrelated folders from a mistyped cluster name.
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

    /// Acquires the cluster's lock for `verb`. Calls `waiting` once with the holder if it has to wait.
    pub fn lock(
        &self,
        verb: &str,
        cancel: &AtomicBool,
        waiting: &mut dyn FnMut(&str),
    ) -> Result<Lock, StoreError> {
        let path = self.lock_file();
        let failed = |source| StoreError::Write { path: path.clone(), source };
        let mut file = self.open_lock(&path).map_err(failed)?;
        let mut notified = false;
        loop {
            match file.try_lock() {
                Ok(()) if is_same_file(&file, &path).map_err(failed)? => break,
                // The lock was deleted with its cluster while this waited: the new cluster's lock is another file.
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
            if !notified {
                waiting(&holder);
                notified = true;
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

    /// Creates the cluster's folder. The folder is private because it contains disks and user-data, which hold
    /// secrets.
    fn open_lock(&self, path: &Path) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.root)?;
        File::options().read(true).write(true).create(true).truncate(false).open(path)
    }
}

/// Whether `path` still refers to this file.
fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(current) => Ok((current.dev(), current.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Exclusive permission to change a cluster, released on drop.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

fn holder(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { "another keelson".to_owned() } else { line.to_owned() }
}

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

    /// The second disk, raw.
    #[must_use]
    pub fn spare_disk(&self) -> PathBuf {
        self.root.join("spare-disk.raw")
    }

    #[must_use]
    pub fn variables(&self) -> PathBuf {
        self.root.join("firmware-variables.fd")
    }

    /// Files of a QEMU node that survive a power failure.
    #[must_use]
    pub fn persistent_files(&self) -> [PathBuf; 2] {
        [self.disk(), self.variables()]
    }

    #[must_use]
    pub fn config_drive(&self) -> PathBuf {
        self.root.join("config-drive.img")
    }

    /// The config drive's content as a folder, for nspawn.
    #[must_use]
    pub fn config_folder(&self) -> PathBuf {
        self.root.join("config-drive")
    }

    /// All console output since the node was created.
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

    /// Output of the node's process.
    #[must_use]
    pub fn process_log(&self) -> PathBuf {
        self.root.join("process.log")
    }

    /// Folder that is bound to `/run/keelson/host` in an nspawn node.
    #[must_use]
    pub fn host(&self) -> PathBuf {
        self.root.join("host")
    }

    #[must_use]
    pub fn ready(&self) -> PathBuf {
        self.root.join(READY)
    }

    /// The root directory of an nspawn node.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.root.join("root")
    }

    /// Parameters of the node's supervisor.
    #[must_use]
    pub fn node_plan(&self) -> PathBuf {
        self.root.join("keeper.json")
    }

    /// The running guest, written by the supervisor.
    #[must_use]
    pub fn guest(&self) -> PathBuf {
        self.root.join(GUEST)
    }
}

/// Replaces a file atomically and durably; creates its folder.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(folder)?;
    service::file::replace(path, content, FILE_MODE)
}

pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
