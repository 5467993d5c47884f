//! The verified cache of .deb files.
//!
//! A file comes into the cache under its SHA-256 only after its bytes were hashed; the unpacking hashes them
//! once more. Downloads are apt's own (`apt-helper`): its proxies, credentials and methods count.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use crate::lock::{Lock, Package};
use crate::mirror::{MirrorError, Mirrors};

const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
/// Downloads at a time; a mirror answers several connections of one client well, not dozens.
const PARALLEL_DOWNLOADS: usize = 6;
/// Packages that one download process takes: enough to reuse its connection, few enough for progress.
const BATCH: usize = 8;
/// Packages that a message names.
const NAMED: usize = 8;

/// A folder of .deb files named by their SHA-256.
#[derive(Debug, Clone)]
pub struct DebCache {
    folder: PathBuf,
}

/// What [`DebCache::fill`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    pub packages: usize,
    pub downloaded: usize,
    /// Of all packages.
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("cannot use the package cache {path}")]
    Cache { path: PathBuf, source: io::Error },
    #[error("cannot run {APT_HELPER}, which downloads packages")]
    Helper(#[source] io::Error),
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error("{}", describe_gone(.0))]
    Gone(Vec<Package>),
    #[error("{0}: what the mirror sent does not match the SHA-256 in os/packages.lock")]
    Mismatch(String),
    #[error("stopped between two downloads")]
    Stopped,
    #[error("the cache lacks {}, and no mirror could be asked for it:\n{log}", named(.missing))]
    Download { missing: Vec<Package>, log: String },
}

fn describe_gone(packages: &[Package]) -> String {
    format!(
        "no mirror has {} any more: `keelson image lock` pins what they have now, a snapshot archive in \
         KEELSON_SNAPSHOT has old ones",
        named(packages)
    )
}

/// `a 1, b 2 and 3 more`.
pub fn named<P: Borrow<Package>>(packages: &[P]) -> String {
    let names: Vec<_> = packages
        .iter()
        .map(Borrow::borrow)
        .take(NAMED)
        .map(|package| format!("{} {}", package.name, package.version))
        .collect();
    let more = packages.len().saturating_sub(NAMED);
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}

impl DebCache {
    pub fn open(folder: &Path) -> Result<Self, FetchError> {
        let partial = folder.join("partial");
        fs::create_dir_all(&partial)
            .and_then(|()| remove_abandoned(&partial))
            .map_err(|source| FetchError::Cache { path: partial, source })?;
        Ok(Self { folder: folder.to_path_buf() })
    }

    #[must_use]
    pub fn path(&self, package: &Package) -> PathBuf {
        self.folder.join(format!("{}.deb", package.sha256))
    }

    /// Whether a file of the right name and size is there; the bytes are looked at by who reads them. A cut or
    /// empty file, which a full disk or a power cut of old leaves, is none.
    fn has(&self, package: &Package) -> bool {
        self.path(package).metadata().is_ok_and(|file| file.is_file() && file.len() == package.size)
    }

    /// Throws out those of `packages` whose bytes are not what the lock says, and returns them.
    pub fn discard_damaged<'lock>(
        &self,
        packages: &[&'lock Package],
    ) -> Result<Vec<&'lock Package>, FetchError> {
        let mut damaged = Vec::new();
        for package in packages {
            let path = self.path(package);
            let cache = |source| FetchError::Cache { path: path.clone(), source };
            if sha256_of(&path).map_err(cache)? != package.sha256 {
                fs::remove_file(&path).map_err(cache)?;
                damaged.push(*package);
            }
        }
        Ok(damaged)
    }

    /// Makes every package of `lock` present, until `stop` is set. `told` is called with (present, of all).
    pub fn fill(
        &self,
        lock: &Lock,
        stop: &AtomicBool,
        told: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Filled, FetchError> {
        let total = lock.packages.len();
        let bytes = lock.packages.iter().map(|package| package.size).sum();
        let missing: Vec<&Package> = lock.packages.iter().filter(|package| !self.has(package)).collect();
        let downloaded = missing.len();
        if !missing.is_empty() {
            self.download(&missing, &Mirrors::of_this_machine()?, stop, &|done| {
                told(total - downloaded + done, total)
            })?;
        }
        Ok(Filled { packages: total, downloaded, bytes })
    }

    /// Asks one mirror after the other for what is still missing.
    fn download(
        &self,
        missing: &[&Package],
        mirrors: &Mirrors,
        stop: &AtomicBool,
        told: &(dyn Fn(usize) + Sync),
    ) -> Result<(), FetchError> {
        let rounds = mirrors.main.len().max(mirrors.security.len());
        let mut wanted: Vec<&Package> = missing.to_vec();
        let mut log = String::new();
        for round in 0..rounds {
            let mut jobs: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
            for package in &wanted {
                if let Some(mirror) = mirrors.of(package.archive()).get(round) {
                    jobs.entry(mirror).or_default().push(package);
                }
            }
            log += &self.run_batches(&jobs, stop, &|| {
                told(missing.iter().filter(|package| self.has(package)).count());
            })?;
            wanted.retain(|package| !self.has(package));
            if wanted.is_empty() {
                return Ok(());
            }
        }
        if let Some(package) = wanted
            .iter()
            .find(|package| failures(&log, package).any(|line| line.ends_with("Hash Sum mismatch")))
        {
            return Err(FetchError::Mismatch(format!("{} {}", package.name, package.version)));
        }
        if wanted.iter().all(|package| is_gone(&log, package)) {
            return Err(FetchError::Gone(wanted.into_iter().cloned().collect()));
        }
        let missing = wanted.into_iter().cloned().collect();
        Err(FetchError::Download { missing, log: last_lines(&log, 10) })
    }

    fn run_batches(
        &self,
        jobs: &BTreeMap<&str, Vec<&Package>>,
        stop: &AtomicBool,
        told: &(dyn Fn() + Sync),
    ) -> Result<String, FetchError> {
        let batches: Vec<(&str, &[&Package])> = jobs
            .iter()
            .flat_map(|(mirror, packages)| packages.chunks(BATCH).map(move |batch| (*mirror, batch)))
            .collect();
        let next = AtomicUsize::new(0);
        let worker = || -> Result<String, FetchError> {
            let mut log = String::new();
            while let Some((mirror, batch)) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Ctrl-C ends the downloads that run; the next ones must not begin.
                if stop.load(Ordering::Relaxed) {
                    return Err(FetchError::Stopped);
                }
                log += &self.download_batch(mirror, batch)?;
                told();
            }
            Ok(log)
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..PARALLEL_DOWNLOADS).map(|_| scope.spawn(worker)).collect();
            let mut log = String::new();
            for handle in workers {
                // invariant: a worker does not panic; if it does, so does the build.
                log += &handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            Ok(log)
        })
    }

    /// Returns what apt said; which files came is seen in the cache.
    fn download_batch(&self, mirror: &str, batch: &[&Package]) -> Result<String, FetchError> {
        let mut command = Command::new(APT_HELPER);
        command.env("LC_ALL", "C.UTF-8").args(["-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=2"]);
        command.arg("download-file");
        for package in batch {
            command.arg(format!("{mirror}{}", escaped(&package.path))).arg(self.partial(package));
            command.arg(format!("SHA256:{}", package.sha256));
        }
        let output = command.stdin(Stdio::null()).output().map_err(FetchError::Helper)?;
        for package in batch {
            self.adopt(package)?;
        }
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn partial(&self, package: &Package) -> PathBuf {
        self.folder.join("partial").join(format!("{}-{}", std::process::id(), package.sha256))
    }

    /// Moves a finished download, which apt has compared with its hash, to its place; flushed, for a name that
    /// says what the bytes are must not outlive them.
    fn adopt(&self, package: &Package) -> Result<(), FetchError> {
        let partial = self.partial(package);
        if !partial.is_file() {
            return Ok(());
        }
        File::open(&partial)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&partial, self.path(package)))
            .map_err(|source| FetchError::Cache { path: partial, source })
    }
}

/// Whether apt said of every mirror that it does not have the package: one that did not answer may have it.
fn is_gone(log: &str, package: &Package) -> bool {
    let mut failures = failures(log, package).peekable();
    failures.peek().is_some() && failures.all(|line| line.contains(" 404 "))
}

/// apt's verdicts on one package.
fn failures<'log>(log: &'log str, package: &Package) -> impl Iterator<Item = &'log str> {
    let file = escaped(&package.path);
    log.lines().filter(move |line| line.starts_with("E: Failed to fetch ") && line.contains(&file))
}

/// In the pool `%3a` and `~` stand for themselves; in a URI they must be escaped once more.
fn escaped(path: &str) -> String {
    path.replace('%', "%25").replace('~', "%7e").replace('+', "%2b")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("E:")).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Removes what a download left whose process is gone; the names begin with its number.
fn remove_abandoned(partial: &Path) -> io::Result<()> {
    for entry in fs::read_dir(partial)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let process = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Hex digits of a file's SHA-256.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..count]);
    }
}

/// Lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // invariant: writing to a String does not fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> Package {
        Package {
            name: name.into(),
            version: "1".into(),
            architecture: "all".into(),
            path: format!("pool/main/{name}_1.deb"),
            size: 1,
            sha256: "0".repeat(64),
            trees: vec![],
        }
    }

    #[test]
    fn cut_files_are_missing_and_damaged_ones_are_thrown_out() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DebCache::open(folder.path()).unwrap();
        let whole = Package { sha256: hex(&Sha256::digest(b"a")), ..package("whole") };
        let changed = Package { sha256: hex(&Sha256::digest(b"b")), ..package("changed") };
        let cut = Package { sha256: hex(&Sha256::digest(b"c")), ..package("cut") };
        for (package, content) in [(&whole, "a"), (&changed, "x"), (&cut, "")] {
            fs::write(cache.path(package), content).unwrap();
        }
        assert!(cache.has(&whole) && cache.has(&changed) && !cache.has(&cut));
        assert_eq!(cache.discard_damaged(&[&whole, &changed]).unwrap(), [&changed]);
        assert!(cache.has(&whole) && !cache.has(&changed));
    }

    #[test]
    fn gone_is_what_every_mirror_answers() {
        let line = |mirror: &str, answer: &str| {
            format!("E: Failed to fetch http://{mirror}/debian/pool/main/a_1.deb  {answer}\n")
        };
        let (gone, busy) = (line("m.invalid", "404  Not Found [IP: ::1 80]"), line("s.invalid", "503  Busy"));
        assert!(is_gone(&gone, &package("a")));
        assert!(is_gone(&(gone.clone() + &gone), &package("a")));
        assert!(!is_gone(&(gone.clone() + &busy), &package("a")), "the second mirror may have it");
        assert!(!is_gone(&gone, &package("b")));
    }

    #[test]
    fn no_download_begins_after_an_interrupt() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DebCache::open(folder.path()).unwrap();
        let mirrors = Mirrors { main: vec!["http://127.0.0.1:1/debian/".into()], security: vec![] };
        let outcome =
            cache.download(&[&package("a")], &mirrors, &AtomicBool::new(true), &|_| panic!("it ran"));
        assert!(matches!(outcome, Err(FetchError::Stopped)), "{outcome:?}");
    }

    #[test]
    fn what_a_killed_download_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DebCache::open(folder.path()).unwrap();
        let ours = cache.partial(&package("a"));
        let left = ours.with_file_name("4194305-00");
        for path in [&ours, &left] {
            fs::write(path, "").unwrap();
        }
        DebCache::open(folder.path()).unwrap();
        assert!(ours.exists() && !left.exists());
    }
}
