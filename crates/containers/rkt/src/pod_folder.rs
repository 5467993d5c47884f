//! The folder of one pod: its lock and its files.
//!
//! `rkt run` holds the lock of the folder, the pod's first process that of `init.lock`: a pod whose `rkt` was killed is
//! busy until the kernel has ended its processes. Locks end with their processes, so no crash leaves a busy pod.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use pod::limits::MAX_MANIFEST;
use pod::{PodManifest, PodState, Uuid};

use crate::run_file;

/// Released on drop.
pub type Lock = Flock<File>;

const MAX_SMALL: u64 = 4 << 10;
const INIT_LOCK: &str = "init.lock";
pub const MANIFEST: &str = "pod";
const STATUS: &str = "status";
/// `rkt list` holds locks for moments.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A pod, where it was found.
#[derive(Debug, Clone)]
pub struct PodFolder {
    pub uuid: Uuid,
    /// The name of the folder that shows its state.
    pub stage: String,
    pub path: PathBuf,
}

impl PodFolder {
    pub fn state(&self) -> anyhow::Result<PodState> {
        let locked = self.is_locked()?;
        PodState::of(&self.stage, locked).with_context(|| format!("{} is no folder of pods", self.stage))
    }

    fn is_locked(&self) -> anyhow::Result<bool> {
        // Shared, so that concurrent listings do not see one another.
        let folder = try_lock(&self.path, FlockArg::LockSharedNonblock)?;
        let init = self.path.join(INIT_LOCK);
        if folder.is_none() || !init.exists() {
            return Ok(folder.is_none());
        }
        Ok(try_lock(&init, FlockArg::LockSharedNonblock)?.is_none())
    }

    /// The lock of what changes the pod.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        let start = Instant::now();
        loop {
            let folder = try_lock(&self.path, FlockArg::LockExclusiveNonblock)?;
            let init = self.path.join(INIT_LOCK);
            let is_free = !init.exists() || try_lock(&init, FlockArg::LockExclusiveNonblock)?.is_some();
            if let (Some(lock), true) = (folder, is_free) {
                return Ok(lock);
            }
            if start.elapsed() > LOCK_PATIENCE {
                let state = self.state()?;
                bail!("pod {} is {state}", self.uuid);
            }
            std::thread::sleep(LOCK_PAUSE);
        }
    }

    /// The lock of the pod's first process.
    pub fn lock_as_init(&self) -> anyhow::Result<Lock> {
        let path = self.path.join(INIT_LOCK);
        try_lock(&path, FlockArg::LockExclusiveNonblock)?
            .with_context(|| format!("pod {} is running", self.uuid))
    }

    /// Waits until no process works on the pod.
    pub fn wait(&self) -> anyhow::Result<()> {
        for path in [self.path.clone(), self.path.join(INIT_LOCK)] {
            if path.exists() {
                wait_for(&path)?;
            }
        }
        Ok(())
    }

    pub fn manifest(&self) -> anyhow::Result<PodManifest> {
        let path = self.path.join(MANIFEST);
        let bytes = run_file::read(&path, MAX_MANIFEST)?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is no manifest of a pod", path.display()))
    }

    pub fn write_manifest(&self, manifest: &PodManifest) -> anyhow::Result<()> {
        self.write(MANIFEST, &serde_json::to_vec(manifest)?)
    }

    /// Replaces a file; readers see the old or the new content. Not durable: see [`crate::pods::Pods::flush`].
    pub fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let path = self.path.join(name);
        let folder = path.parent().unwrap_or(&self.path);
        let write = || {
            // Created with mode 0600.
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
            file.write_all(content)?;
            file.persist(&path).map_err(|error| error.error)
        };
        write().map(drop).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The contents of a small file without white space at its end; `None` if there is none.
    pub fn text(&self, name: &str) -> anyhow::Result<Option<String>> {
        let bytes = run_file::read_if_present(&self.path.join(name), MAX_SMALL)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned()))
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> anyhow::Result<Option<T>> {
        Ok(self.text(name)?.and_then(|text| text.parse().ok()))
    }

    /// Records an app's exit status.
    pub fn write_status(&self, app: &str, status: u8) -> anyhow::Result<()> {
        let folder = self.make_folder(STATUS)?;
        let path = folder.join(app);
        let written = fs::write(&path, format!("{status}\n"));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn status(&self, app: &str) -> anyhow::Result<Option<u8>> {
        self.number(&format!("{STATUS}/{app}"))
    }

    pub fn make_folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }
}

/// `None` if another open file has the lock.
pub fn try_lock(path: &Path, how: FlockArg) -> anyhow::Result<Option<Lock>> {
    match Flock::lock(open(path)?, how) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn wait_for(path: &Path) -> anyhow::Result<()> {
    let mut file = open(path)?;
    loop {
        match Flock::lock(file, FlockArg::LockShared) {
            Ok(_) => return Ok(()),
            Err((again, Errno::EINTR)) => file = again,
            Err((_, error)) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let is_folder = path.is_dir();
    let opened = if is_folder {
        File::open(path)
    } else {
        File::options().create(true).truncate(false).read(true).write(true).open(path)
    };
    opened.or_else(|error: io::Error| Err(error).with_context(|| format!("cannot open {}", path.display())))
}
