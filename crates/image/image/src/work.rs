//! The folder of intermediate results, cached by their inputs.
//!
//! A result is a folder `KIND/KEY`, where KEY is the digest of all its inputs. It is created under a temporary name
//! and renamed when it is complete and flushed, so that a build can be interrupted at any time, even by a power
//! failure, and continues later.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::fetch::hex;
use crate::tree::{PathContext, TreeError, make_folder, remove};

/// Hex digits of a key in a folder's name.
const KEY_DIGITS: usize = 20;
/// Results that are kept per kind: the newest and the one before, for switching between two states.
const KEPT_RESULTS: usize = 2;
/// Name of a result in progress.
const PARTIAL: &str = "partial";
/// Polling interval of a build that waits for the lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

type Flush = fn(&Path) -> io::Result<()>;

/// Interval of notices while waiting for the lock.
const NOTICE_INTERVAL: Duration = Duration::from_secs(30);

/// The holder of the lock, and for how long it has been held.
fn holder(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let since = fs::metadata(path).and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
    let time = since.map(|since| format!(", for {} s", since.as_secs())).unwrap_or_default();
    if text.is_empty() { "another keelson".to_owned() } else { format!("another keelson ({text}{time})") }
}

/// The open work folder; locked by one process at a time.
#[derive(Debug)]
pub struct Work {
    folder: PathBuf,
    _lock: Flock<File>,
    flush: Flush,
}

#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    #[error("cannot access the work folder")]
    Folder(#[from] TreeError),
    #[error("cannot lock the work folder {path}")]
    Lock { path: PathBuf, source: io::Error },
    #[error("interrupted while waiting for another build in {0}")]
    Stopped(PathBuf),
}

impl Work {
    /// Waits while another build has the folder, until `stop` is set. `waiting` gets the holder, first immediately
    /// and then every 30 seconds.
    pub fn open(folder: &Path, stop: &AtomicBool, waiting: impl Fn(&str)) -> Result<Self, WorkError> {
        make_folder(folder)?;
        let path = folder.join("lock");
        // Not truncated: it contains the current holder.
        let options = || File::options().write(true).create(true).truncate(false).open(&path);
        let mut file = options().at(&path)?;
        let started = Instant::now();
        let mut notices = 0;
        let mut lock = loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => break lock,
                Err((again, nix::errno::Errno::EWOULDBLOCK)) => file = again,
                Err((_, error)) => return Err(WorkError::Lock { path, source: error.into() }),
            }
            if started.elapsed() >= NOTICE_INTERVAL * notices {
                waiting(&holder(&path));
                notices += 1;
            }
            if stop.load(Ordering::Relaxed) {
                return Err(WorkError::Stopped(folder.to_path_buf()));
            }
            std::thread::sleep(LOCK_INTERVAL);
        };
        let text = format!("process {}", std::process::id());
        lock.set_len(0).and_then(|()| lock.write_all(text.as_bytes())).at(&path)?;
        let work = Self { folder: folder.to_path_buf(), _lock: lock, flush };
        // Partial results of interrupted builds are not in use, but take space.
        for kind_folder in work.kind_folders()? {
            remove(&kind_folder.join(PARTIAL))?;
        }
        Ok(work)
    }

    fn kind_folders(&self) -> Result<Vec<PathBuf>, TreeError> {
        let mut kind_folders = Vec::new();
        for entry in fs::read_dir(&self.folder).at(&self.folder)? {
            kind_folders.push(entry.at(&self.folder)?.path());
        }
        kind_folders.retain(|path| path.is_dir());
        Ok(kind_folders)
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The result of `kind` for `key`, created by `make` in an empty folder if it does not exist. The second value is
    /// whether it existed.
    pub fn result<E: From<TreeError>>(
        &self,
        kind: &str,
        key: &Key,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(PathBuf, bool), E> {
        let kind_folder = self.folder.join(kind);
        let result = kind_folder.join(key.name());
        if result.is_dir() {
            // The modification time is the time of the last use.
            let now = now_timeval();
            nix::sys::stat::utimes(&result, &now, &now).map_err(io::Error::from).at(&result)?;
            return Ok((result, true));
        }
        let partial = kind_folder.join(PARTIAL);
        remove(&partial)?;
        make_folder(&partial)?;
        make(&partial)?;
        // Otherwise the rename might survive a power failure and the content might not.
        (self.flush)(&partial).at(&partial)?;
        fs::rename(&partial, &result).at(&result)?;
        self.remove_old(&kind_folder)?;
        Ok((result, false))
    }

    /// The folder of `kind` for `key`, for callers that fill it incrementally; content of an interrupted fill is
    /// kept. The caller must know whether it is complete.
    pub fn resumable(&self, kind: &str, key: &Key) -> Result<PathBuf, TreeError> {
        let kind_folder = self.folder.join(kind);
        let result = kind_folder.join(key.name());
        make_folder(&result)?;
        let now = now_timeval();
        nix::sys::stat::utimes(&result, &now, &now).map_err(io::Error::from).at(&result)?;
        self.remove_old(&kind_folder)?;
        Ok(result)
    }

    /// An empty folder for temporary files of `kind`; the next build removes what a crash leaves in it.
    pub fn scratch(&self, kind: &str) -> Result<Scratch, TreeError> {
        let folder = self.folder.join(kind).join(PARTIAL);
        remove(&folder)?;
        make_folder(&folder)?;
        Ok(Scratch { folder })
    }

    fn remove_old(&self, kind_folder: &Path) -> Result<(), TreeError> {
        let mut results = Vec::new();
        for entry in fs::read_dir(kind_folder).at(kind_folder)? {
            let path = entry.at(kind_folder)?.path();
            results.push((path.metadata().and_then(|metadata| metadata.modified()).at(&path)?, path));
        }
        results.sort();
        let surplus = results.len().saturating_sub(KEPT_RESULTS);
        for (_, path) in results.into_iter().take(surplus) {
            if let Some(_unused) = lock_result(&path, FlockArg::LockExclusiveNonblock).at(&path)? {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is removed when the work folder is opened.
        remove(&self.folder).unwrap_or_default();
    }
}

/// Protects a result from removal by any process while this exists.
#[derive(Debug)]
pub struct InUse {
    _lock: Flock<File>,
}

impl InUse {
    /// Requires the lock of the work folder, since a build may be removing the result.
    pub(crate) fn new(result: &Path) -> Result<Self, TreeError> {
        let lock = lock_result(result, FlockArg::LockSharedNonblock).at(result)?;
        let lock = lock.ok_or(io::ErrorKind::WouldBlock.into()).at(result)?;
        Ok(Self { _lock: lock })
    }
}

/// `None` if another process holds a conflicting lock.
fn lock_result(folder: &Path, mode: FlockArg) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(File::open(folder)?, mode) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// Flushes the whole file system: a result may have tens of thousands of files.
fn flush(folder: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(folder)?)?)
}

fn now_timeval() -> nix::sys::time::TimeVal {
    use nix::sys::time::TimeValLike;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    nix::sys::time::TimeVal::milliseconds(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// Digest of the inputs of a result, built incrementally.
#[derive(Debug, Clone)]
pub struct Key {
    hash: Sha256,
}

impl Key {
    /// `recipe` identifies the code that creates the result.
    #[must_use]
    pub fn new(recipe: &str) -> Self {
        Self { hash: Sha256::new() }.with(recipe)
    }

    #[must_use]
    pub fn with(mut self, input: &str) -> Self {
        self.hash.update(input.len().to_le_bytes());
        self.hash.update(input);
        self
    }

    pub fn with_path(self, path: &Path) -> Result<Self, TreeError> {
        Ok(self.with(&crate::tree::digest(path)?))
    }

    /// Adds the content of several files; an empty list is an input too.
    pub fn with_paths<'a>(self, paths: impl Iterator<Item = &'a PathBuf>) -> Result<Self, TreeError> {
        let digests = paths.map(|path| crate::tree::digest(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.with(&digests.join(" ")))
    }

    #[must_use]
    pub fn name(&self) -> String {
        hex(&self.hash.clone().finalize())[..KEY_DIGITS].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_made_once_and_never_partial() {
        let folder = tempfile::tempdir().unwrap();
        let open = |stop| Work::open(folder.path(), &AtomicBool::new(stop), |_| ());
        let work = open(false).unwrap();
        assert!(matches!(open(true), Err(WorkError::Stopped(_))), "two have the folder");
        let key = Key::new("v1").with("input");
        let broken = work.result("kind", &key, |partial| {
            crate::tree::write_file(&partial.join("half"), b"", 0o644)?;
            Err(TreeError { path: "x".into(), source: io::Error::other("cut") })
        });
        assert!(broken.is_err());
        let make = |partial: &Path| crate::tree::write_file(&partial.join("whole"), b"", 0o644);
        let (result, cached) = work.result("kind", &key, make).unwrap();
        assert!(!cached && result.join("whole").exists() && !result.join("half").exists());
        let never = |_: &Path| -> Result<(), TreeError> { panic!("it is there") };
        assert!(work.result("kind", &key, never).unwrap().1);
        crate::tree::write_file(&folder.path().join("kind/partial/half"), b"", 0o644).unwrap();
        drop(work);
        open(false).unwrap();
        assert!(!folder.path().join("kind/partial").exists());
    }

    #[test]
    fn resumable_folders_survive_interruption_and_few_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Work::open(folder.path(), &AtomicBool::new(false), |_| ()).unwrap();
        let fill = |name: &str| open().resumable("kind", &Key::new(name)).unwrap();
        let first = fill("1");
        fs::write(first.join("half"), "").unwrap();
        assert!(fill("1").join("half").exists());
        for name in ["2", "1", "3"] {
            // File times have a resolution of some milliseconds.
            std::thread::sleep(Duration::from_millis(20));
            fill(name);
        }
        assert!(first.join("half").exists());
        assert_eq!(fs::read_dir(folder.path().join("kind")).unwrap().count(), KEPT_RESULTS);
    }

    #[test]
    fn results_in_use_are_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let build = |name: &str| {
            let work = Work::open(folder.path(), &AtomicBool::new(false), |_| ()).unwrap();
            // File times have a resolution of some milliseconds.
            std::thread::sleep(Duration::from_millis(20));
            let (result, _) = work.result::<TreeError>("kind", &Key::new(name), |_| Ok(())).unwrap();
            (InUse::new(&result).unwrap(), result)
        };
        let (in_use, first) = build("1");
        let (_, second) = build("2");
        for name in ["3", "4"] {
            build(name);
            assert!(first.exists(), "it was in use when {name} was made");
        }
        assert!(!second.exists());
        drop(in_use);
        build("5");
        assert!(!first.exists());
    }

    #[test]
    fn a_result_is_flushed_before_it_is_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let mut work = Work::open(folder.path(), &AtomicBool::new(false), |_| ()).unwrap();
        let make = |partial: &Path| crate::tree::write_file(&partial.join("whole"), b"", 0o644);
        let key = Key::new("v1");
        work.flush = |partial| {
            assert!(partial.join("whole").exists(), "flushed before it is whole");
            Err(io::Error::other("the disk is broken"))
        };
        assert!(work.result("kind", &key, make).is_err());
        assert!(!folder.path().join("kind").join(key.name()).exists());
        work.flush = flush;
        assert!(work.result("kind", &key, make).unwrap().0.join("whole").exists());
    }

    #[test]
    fn a_file_is_keyed_by_content_and_not_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        let mut names = std::collections::BTreeSet::new();
        let mut add = |paths: &[&PathBuf]| {
            names.insert(Key::new("r").with_paths(paths.iter().copied()).unwrap().name());
        };
        add(&[]);
        for content in ["one", "two"] {
            fs::write(&file, content).unwrap();
            add(&[&file]);
            add(&[&file, &file]);
        }
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn inputs_are_delimited() {
        assert_ne!(Key::new("r").with("ab").with("c").name(), Key::new("r").with("a").with("bc").name());
    }
}
