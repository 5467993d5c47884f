//! A copy of the checkout's sources, for mutations.
//!
//! Only the copy is written to. Copy and checkout share a build folder in which cargo distinguishes them only by
//! modification time: after a mutation the checkout's files get newer times, so that nothing links against mutated
//! objects. Unchanged files keep their modification time, so that cargo recompiles only what a mutation affects.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use crate::workspace::known_to_git;

/// A folder with the copy, its build and its logs, used by one process at a time.
pub struct Copy {
    source: PathBuf,
    work: PathBuf,
    /// Held until drop.
    _lock: File,
}

/// An applied mutation.
pub struct Applied {
    before: BTreeMap<PathBuf, Vec<u8>>,
    /// The same files of the checkout.
    checkout: Vec<PathBuf>,
}

/// How far the checkout's modification times are set into the future during a mutation: longer than a build, but
/// short in case this process is killed meanwhile.
const AHEAD: Duration = Duration::from_secs(3600);

impl Copy {
    /// Locks the folder `work` for a copy of the checkout `source`.
    pub fn open(source: &Path, work: &Path) -> Result<Self> {
        fs::create_dir_all(work).with_context(|| format!("cannot create {}", work.display()))?;
        let path = work.join("lock");
        let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another run of mutate uses {}", work.display()),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let copy = Self { source: source.to_path_buf(), work: work.to_path_buf(), _lock: lock };
        for folder in [copy.checkout(), copy.build(), copy.logs()] {
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(copy)
    }

    pub fn checkout(&self) -> PathBuf {
        self.work.join("checkout")
    }

    /// Cargo's target folder of the copy: mutated programs must not replace the checkout's.
    pub fn build(&self) -> PathBuf {
        self.work.join("build")
    }

    pub fn logs(&self) -> PathBuf {
        self.work.join("logs")
    }

    /// Synchronizes the copy with the checkout: tracked files, and new ones that are not ignored.
    pub fn sync(&self) -> Result<()> {
        let to = self.checkout();
        let files = known_to_git(&self.source)?;
        for file in crate::workspace::list(&to)? {
            if !files.contains(&file) {
                let stray = to.join(file);
                fs::remove_file(&stray).with_context(|| format!("cannot remove {}", stray.display()))?;
            }
        }
        for file in &files {
            let (from, to) = (self.source.join(file), to.join(file));
            copy_file(&from, &to)
                .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        }
        Ok(())
    }

    /// Writes these texts, by path below the checkout, into the copy.
    pub fn apply(&self, files: &BTreeMap<PathBuf, String>) -> Result<Applied> {
        let mut before = BTreeMap::new();
        let checkout: Vec<_> = files.keys().map(|file| self.source.join(file)).collect();
        set_modified(&checkout, SystemTime::now() + AHEAD)?;
        for (file, text) in files {
            let path = self.checkout().join(file);
            let old = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            before.insert(path.clone(), old);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Applied { before, checkout })
    }
}

impl Applied {
    pub fn restore(self) -> Result<()> {
        for (path, bytes) in self.before {
            fs::write(&path, bytes).with_context(|| format!("cannot restore {}", path.display()))?;
        }
        // Newer than the mutated objects.
        set_modified(&self.checkout, SystemTime::now())
    }
}

fn set_modified(files: &[PathBuf], at: SystemTime) -> Result<()> {
    for file in files {
        File::open(file)
            .and_then(|open| open.set_modified(at))
            .with_context(|| format!("cannot set the time of {}", file.display()))?;
    }
    Ok(())
}

/// Writes only if the content differs. Links are recreated.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    if from.symlink_metadata()?.is_symlink() {
        match fs::remove_file(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return std::os::unix::fs::symlink(fs::read_link(from)?, to),
        }
    }
    let same = to.symlink_metadata().is_ok_and(|about| about.is_file()) && fs::read(to)? == fs::read(from)?;
    if same && fs::metadata(from)?.permissions() == fs::metadata(to)?.permissions() {
        return Ok(());
    }
    // Never a hard link: a mutation would change the checkout.
    fs::copy(from, to).map(drop)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(root: &Path, arguments: &[&str]) {
        let output = Command::new("git").args(arguments).current_dir(root).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// A checkout with one tracked and one ignored file, and its copy.
    fn made() -> (tempfile::TempDir, Copy) {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir_all(source.join("src")).unwrap();
        git(&source, &["init", "--quiet"]);
        for (file, text) in [(".gitignore", "/target\n"), ("src/a.rs", "one\n")] {
            fs::write(source.join(file), text).unwrap();
        }
        std::os::unix::fs::symlink("a.rs", source.join("src/link")).unwrap();
        git(&source, &["add", "."]);
        let copy = Copy::open(&source, &source.join("target/mutate")).unwrap();
        copy.sync().unwrap();
        (folder, copy)
    }

    fn text(copy: &Copy, file: &str) -> String {
        fs::read_to_string(copy.checkout().join(file)).unwrap()
    }

    #[test]
    fn a_mutation_is_written_to_the_copy_alone() {
        let (_folder, copy) = made();
        let applied = copy.apply(&[("src/a.rs".into(), "two\n".to_owned())].into()).unwrap();
        assert_eq!(text(&copy, "src/a.rs"), "two\n");
        assert_eq!(text(&copy, "src/link"), "two\n");
        assert_eq!(fs::read_to_string(copy.source.join("src/a.rs")).unwrap(), "one\n");
        applied.restore().unwrap();
        assert_eq!(text(&copy, "src/a.rs"), "one\n");
    }

    #[test]
    fn the_checkout_is_newer_than_what_was_compiled_of_a_mutation() {
        let (_folder, copy) = made();
        let time = || fs::metadata(copy.source.join("src/a.rs")).unwrap().modified().unwrap();
        let applied = copy.apply(&[("src/a.rs".into(), "two\n".to_owned())].into()).unwrap();
        assert!(time() > SystemTime::now());
        let compiled = SystemTime::now();
        applied.restore().unwrap();
        assert!(compiled <= time() && time() <= SystemTime::now());
    }

    #[test]
    fn a_sync_undoes_what_a_killed_run_left() {
        let (_folder, copy) = made();
        let killed = copy.apply(&[("src/a.rs".into(), "two\n".to_owned())].into()).unwrap();
        drop(killed);
        fs::write(copy.checkout().join("stray"), "").unwrap();
        fs::write(copy.source.join("src/new.rs"), "new\n").unwrap();
        copy.sync().unwrap();
        assert_eq!(text(&copy, "src/a.rs"), "one\n");
        assert_eq!(text(&copy, "src/new.rs"), "new\n");
        assert!(!copy.checkout().join("stray").exists());
        fs::remove_file(copy.source.join("src/new.rs")).unwrap();
        copy.sync().unwrap();
        assert!(!copy.checkout().join("src/new.rs").exists());
    }

    #[test]
    fn an_unchanged_file_keeps_its_time() {
        let (_folder, copy) = made();
        let time = || fs::metadata(copy.checkout().join("src/a.rs")).unwrap().modified().unwrap();
        let before = time();
        copy.sync().unwrap();
        assert_eq!(time(), before);
    }

    #[test]
    fn a_second_run_is_refused() {
        let (_folder, copy) = made();
        let error = Copy::open(&copy.source, &copy.work).err().map(|error| error.to_string());
        assert!(error.as_ref().is_some_and(|text| text.starts_with("another run of mutate")), "{error:?}");
    }
}
