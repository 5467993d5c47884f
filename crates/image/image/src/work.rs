//! The folder of intermediate results: each is made once for its inputs.
//!
//! A result is a folder `KIND/KEY` where KEY is the digest of everything it is made from. It is made under
//! another name and renamed when it is whole and on disk, so that work may be cut at any moment, by a power cut
//! too, and goes on where it was.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::fetch::hex;
use crate::tree::{At, TreeError, make_folder, remove};

/// Hex digits of a key that stand in a folder's name.
const KEY_DIGITS: usize = 20;
/// Results of one kind that are kept: the newest and the one before, for going back and forth.
const KEPT_RESULTS: usize = 2;
/// A result that is being made.
const PARTIAL: &str = "partial";
/// How often a waiting build looks whether it may go on or shall stop.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// Puts everything on disk that a folder's file system has been given.
type Flush = fn(&Path) -> io::Result<()>;

/// Between two words of who is waited for.
const TOLD_EACH: Duration = Duration::from_secs(30);

/// Who has the lock, and for how long.
fn holder(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let since = fs::metadata(path).and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
    let time = since.map(|since| format!(", for {} s", since.as_secs())).unwrap_or_default();
    if text.is_empty() { "another keelson".to_owned() } else { format!("another keelson ({text}{time})") }
}

/// The open work folder; only one process has it at a time.
#[derive(Debug)]
pub struct Work {
    folder: PathBuf,
    _lock: Flock<File>,
    flush: Flush,
}

#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    #[error("cannot use the work folder")]
    Folder(#[from] TreeError),
    #[error("cannot lock the work folder {path}")]
    Lock { path: PathBuf, source: io::Error },
    #[error("stopped waiting for another build in {0}")]
    Stopped(PathBuf),
}

impl Work {
    /// Waits where another build has the folder, until `stop` is set; `waiting` is told who that is at first, and each
    /// half minute.
    pub fn open(folder: &Path, stop: &AtomicBool, waiting: impl Fn(&str)) -> Result<Self, WorkError> {
        make_folder(folder)?;
        let path = folder.join("lock");
        // What it says of who has it is kept.
        let options = || File::options().write(true).create(true).truncate(false).open(&path);
        let mut file = options().at(&path)?;
        let begun = Instant::now();
        let mut told = 0;
        let mut lock = loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => break lock,
                Err((again, nix::errno::Errno::EWOULDBLOCK)) => file = again,
                Err((_, error)) => return Err(WorkError::Lock { path, source: error.into() }),
            }
            if begun.elapsed() >= TOLD_EACH * told {
                waiting(&holder(&path));
                told += 1;
            }
            if stop.load(Ordering::Relaxed) {
                return Err(WorkError::Stopped(folder.to_path_buf()));
            }
            std::thread::sleep(LOCK_INTERVAL);
        };
        let text = format!("process {}", std::process::id());
        lock.set_len(0).and_then(|()| lock.write_all(text.as_bytes())).at(&path)?;
        let work = Self { folder: folder.to_path_buf(), _lock: lock, flush };
        // What a build left that was cut: nobody else is at it, and it takes room.
        for shelf in work.shelves()? {
            remove(&shelf.join(PARTIAL))?;
        }
        Ok(work)
    }

    /// The folders of each kind of result.
    fn shelves(&self) -> Result<Vec<PathBuf>, TreeError> {
        let mut shelves = Vec::new();
        for entry in fs::read_dir(&self.folder).at(&self.folder)? {
            shelves.push(entry.at(&self.folder)?.path());
        }
        shelves.retain(|path| path.is_dir());
        Ok(shelves)
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The result of `kind` for `key`, made by `make` in a new empty folder if it is not there yet.
    /// The second value tells whether it was there.
    pub fn result<E: From<TreeError>>(
        &self,
        kind: &str,
        key: &Key,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(PathBuf, bool), E> {
        let shelf = self.folder.join(kind);
        let place = shelf.join(key.name());
        if place.is_dir() {
            // Its age is its last use.
            let now = filetime_now();
            nix::sys::stat::utimes(&place, &now, &now).map_err(io::Error::from).at(&place)?;
            return Ok((place, true));
        }
        let partial = shelf.join(PARTIAL);
        remove(&partial)?;
        make_folder(&partial)?;
        make(&partial)?;
        // Else a name might outlive a power cut, and what it stands for might not.
        (self.flush)(&partial).at(&partial)?;
        fs::rename(&partial, &place).at(&place)?;
        self.forget_old(&shelf)?;
        Ok((place, false))
    }

    /// The folder of `kind` for `key`, empty if it is new, for who fills it bit by bit: what a fill that was cut left
    /// there stays. Whether it is whole is the filler's to say.
    pub fn continued(&self, kind: &str, key: &Key) -> Result<PathBuf, TreeError> {
        let shelf = self.folder.join(kind);
        let place = shelf.join(key.name());
        make_folder(&place)?;
        let now = filetime_now();
        nix::sys::stat::utimes(&place, &now, &now).map_err(io::Error::from).at(&place)?;
        self.forget_old(&shelf)?;
        Ok(place)
    }

    fn forget_old(&self, shelf: &Path) -> Result<(), TreeError> {
        let mut results = Vec::new();
        for entry in fs::read_dir(shelf).at(shelf)? {
            let path = entry.at(shelf)?.path();
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

/// A result that no build clears for as long as this lives, in whatever process.
#[derive(Debug)]
pub struct InUse {
    _lock: Flock<File>,
}

impl InUse {
    /// For who has the work folder: without it a build may be clearing the result.
    pub(crate) fn new(result: &Path) -> Result<Self, TreeError> {
        let lock = lock_result(result, FlockArg::LockSharedNonblock).at(result)?;
        let lock = lock.ok_or(io::ErrorKind::WouldBlock.into()).at(result)?;
        Ok(Self { _lock: lock })
    }
}

/// None where another's lock is in the way.
fn lock_result(folder: &Path, how: FlockArg) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(File::open(folder)?, how) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// The whole file system at once: a result is up to tens of thousands of files.
fn flush(folder: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(folder)?)?)
}

fn filetime_now() -> nix::sys::time::TimeVal {
    use nix::sys::time::TimeValLike;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    nix::sys::time::TimeVal::milliseconds(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// What a result is made from, as it grows.
#[derive(Debug, Clone)]
pub struct Key {
    hash: Sha256,
}

impl Key {
    /// `recipe` names the way it is made; it changes when the code that makes it does.
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

    /// The content of a file or folder.
    pub fn with_path(self, path: &Path) -> Result<Self, TreeError> {
        Ok(self.with(&crate::tree::digest(path)?))
    }

    /// The content of each of several files; none of them is an input too.
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
    fn a_result_is_made_once_and_never_half() {
        let folder = tempfile::tempdir().unwrap();
        let open = |stop| Work::open(folder.path(), &AtomicBool::new(stop), |_| ());
        let work = open(false).unwrap();
        assert!(matches!(open(true), Err(WorkError::Stopped(_))), "two have the folder");
        let key = Key::new("v1").with("input");
        let broken = work.result("kind", &key, |partial| {
            crate::tree::put(&partial.join("half"), b"", 0o644)?;
            Err(TreeError { path: "x".into(), source: io::Error::other("cut") })
        });
        assert!(broken.is_err());
        let make = |partial: &Path| crate::tree::put(&partial.join("whole"), b"", 0o644);
        let (place, cached) = work.result("kind", &key, make).unwrap();
        assert!(!cached && place.join("whole").exists() && !place.join("half").exists());
        let never = |_: &Path| -> Result<(), TreeError> { panic!("it is there") };
        assert!(work.result("kind", &key, never).unwrap().1);
        crate::tree::put(&folder.path().join("kind/partial/half"), b"", 0o644).unwrap();
        drop(work);
        open(false).unwrap();
        assert!(!folder.path().join("kind/partial").exists());
    }

    #[test]
    fn what_is_filled_bit_by_bit_outlives_a_cut_and_few_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Work::open(folder.path(), &AtomicBool::new(false), |_| ()).unwrap();
        let fill = |name: &str| open().continued("kind", &Key::new(name)).unwrap();
        let first = fill("1");
        fs::write(first.join("half"), "").unwrap();
        assert!(fill("1").join("half").exists());
        for name in ["2", "1", "3"] {
            // Its age is the file system's, in ticks of some milliseconds.
            std::thread::sleep(Duration::from_millis(20));
            fill(name);
        }
        assert!(first.join("half").exists());
        assert_eq!(fs::read_dir(folder.path().join("kind")).unwrap().count(), KEPT_RESULTS);
    }

    #[test]
    fn what_is_in_use_outlives_any_number_of_builds() {
        let folder = tempfile::tempdir().unwrap();
        let build = |name: &str| {
            let work = Work::open(folder.path(), &AtomicBool::new(false), |_| ()).unwrap();
            // Its age is the file system's, in ticks of some milliseconds.
            std::thread::sleep(Duration::from_millis(20));
            let (place, _) = work.result::<TreeError>("kind", &Key::new(name), |_| Ok(())).unwrap();
            (InUse::new(&place).unwrap(), place)
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
    fn a_result_is_on_disk_before_it_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut work = Work::open(folder.path(), &AtomicBool::new(false), |_| ()).unwrap();
        let make = |partial: &Path| crate::tree::put(&partial.join("whole"), b"", 0o644);
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
    fn a_file_counts_by_its_content_and_not_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        let mut names = std::collections::BTreeSet::new();
        let mut note = |paths: &[&PathBuf]| {
            names.insert(Key::new("r").with_paths(paths.iter().copied()).unwrap().name());
        };
        note(&[]);
        for content in ["one", "two"] {
            fs::write(&file, content).unwrap();
            note(&[&file]);
            note(&[&file, &file]);
        }
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn inputs_do_not_run_into_each_other() {
        assert_ne!(Key::new("r").with("ab").with("c").name(), Key::new("r").with("a").with("bc").name());
    }
}
