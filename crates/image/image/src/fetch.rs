//! The verified cache of .deb files.
//!
//! A file is stored under its SHA-256 after its content was hashed; it is hashed again when it is unpacked. apt
//! downloads the files (`apt-helper`), so its proxies, credentials and methods apply.

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
/// Concurrent downloads; mirrors accept a few connections per client.
const PARALLEL_DOWNLOADS: usize = 6;
/// Packages per download process: enough to reuse its connection, few enough for progress.
const BATCH: usize = 8;
const NAMES_MAX: usize = 8;

/// A folder of .deb files named by their SHA-256.
#[derive(Debug, Clone)]
pub struct DebCache {
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FillReport {
    pub packages: usize,
    pub downloaded: usize,
    /// Total size of all packages.
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
    #[error("{}", describe_unavailable(.0))]
    Unavailable(Vec<Package>),
    #[error("{0}: the download does not match the SHA-256 in os/packages.lock")]
    Mismatch(String),
    #[error("interrupted between two downloads")]
    Stopped,
    #[error("the cache lacks {}, and no mirror can be reached:\n{log}", list_names(.missing))]
    Download { missing: Vec<Package>, log: String },
}

fn describe_unavailable(packages: &[Package]) -> String {
    format!(
        "no mirror has {} any more: `keelson image lock` pins the current versions, a snapshot archive in \
         KEELSON_SNAPSHOT provides old ones",
        list_names(packages)
    )
}

/// `a 1, b 2 and 3 more`.
pub fn list_names<P: Borrow<Package>>(packages: &[P]) -> String {
    let names: Vec<_> = packages
        .iter()
        .map(Borrow::borrow)
        .take(NAMES_MAX)
        .map(|package| format!("{} {}", package.name, package.version))
        .collect();
    let more = packages.len().saturating_sub(NAMES_MAX);
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

    /// Whether a file with the right name and size exists; its content is verified when it is read. A truncated file,
    /// as after a full disk or a power failure, does not count.
    fn has(&self, package: &Package) -> bool {
        self.path(package).metadata().is_ok_and(|file| file.is_file() && file.len() == package.size)
    }

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

    /// Downloads the missing packages of `lock`, until `stop` is set. `progress` gets the number of present packages
    /// and of all.
    pub fn fill(
        &self,
        lock: &Lock,
        stop: &AtomicBool,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<FillReport, FetchError> {
        let total = lock.packages.len();
        let bytes = lock.packages.iter().map(|package| package.size).sum();
        let missing: Vec<&Package> = lock.packages.iter().filter(|package| !self.has(package)).collect();
        let downloaded = missing.len();
        if !missing.is_empty() {
            self.download(&missing, &Mirrors::of_host()?, stop, &|done| {
                progress(total - downloaded + done, total)
            })?;
        }
        Ok(FillReport { packages: total, downloaded, bytes })
    }

    /// Tries the mirrors one after the other for the missing packages.
    fn download(
        &self,
        missing: &[&Package],
        mirrors: &Mirrors,
        stop: &AtomicBool,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<(), FetchError> {
        // Only the main archive's mirrors always exist.
        if missing.iter().any(|package| mirrors.of(package.archive()).is_empty()) {
            return Err(MirrorError::NoSecurity.into());
        }
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
                progress(missing.iter().filter(|package| self.has(package)).count());
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
        if wanted.iter().all(|package| is_unavailable(&log, package)) {
            return Err(FetchError::Unavailable(wanted.into_iter().cloned().collect()));
        }
        let missing = wanted.into_iter().cloned().collect();
        Err(FetchError::Download { missing, log: last_lines(&log, 10) })
    }

    fn run_batches(
        &self,
        jobs: &BTreeMap<&str, Vec<&Package>>,
        stop: &AtomicBool,
        progress: &(dyn Fn() + Sync),
    ) -> Result<String, FetchError> {
        let batches: Vec<(&str, &[&Package])> = jobs
            .iter()
            .flat_map(|(mirror, packages)| packages.chunks(BATCH).map(move |batch| (*mirror, batch)))
            .collect();
        let next = AtomicUsize::new(0);
        let worker = || -> Result<String, FetchError> {
            let mut log = String::new();
            while let Some((mirror, batch)) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Ctrl-C ends the running downloads; no further ones may start.
                if stop.load(Ordering::Relaxed) {
                    return Err(FetchError::Stopped);
                }
                log += &self.download_batch(mirror, batch)?;
                progress();
            }
            Ok(log)
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..PARALLEL_DOWNLOADS).map(|_| scope.spawn(worker)).collect();
            let mut log = String::new();
            for handle in workers {
                // invariant: workers do not panic; a panic would be propagated.
                log += &handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            Ok(log)
        })
    }

    /// Returns apt's output; successful downloads are in the cache.
    fn download_batch(&self, mirror: &str, batch: &[&Package]) -> Result<String, FetchError> {
        let mut command = Command::new(APT_HELPER);
        command.env("LC_ALL", "C.UTF-8").args(["-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=2"]);
        command.arg("download-file");
        for package in batch {
            command.arg(format!("{mirror}{}", escape_uri(&package.path))).arg(self.partial(package));
            command.arg(format!("SHA256:{}", package.sha256));
        }
        let output = command.stdin(Stdio::null()).output().map_err(FetchError::Helper)?;
        for package in batch {
            self.move_to_cache(package)?;
        }
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn partial(&self, package: &Package) -> PathBuf {
        self.folder.join("partial").join(format!("{}-{}", std::process::id(), package.sha256))
    }

    /// Moves a download that apt has verified into the cache; flushed first, because the name asserts the content.
    fn move_to_cache(&self, package: &Package) -> Result<(), FetchError> {
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

/// Whether apt reported 404 for every mirror: one that did not respond may have the package.
fn is_unavailable(log: &str, package: &Package) -> bool {
    let mut failures = failures(log, package).peekable();
    failures.peek().is_some() && failures.all(|line| line.contains(" 404 "))
}

fn failures<'log>(log: &'log str, package: &Package) -> impl Iterator<Item = &'log str> {
    let file = escape_uri(&package.path);
    log.lines().filter(move |line| line.starts_with("E: Failed to fetch ") && line.contains(&file))
}

/// `%3a` and `~` are literal in pool paths, so they must be escaped in URIs.
fn escape_uri(path: &str) -> String {
    path.replace('%', "%25").replace('~', "%7e").replace('+', "%2b")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("E:")).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Removes partial downloads of processes that have exited; their names start with the pid.
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
            source: None,
            path: format!("pool/main/{name}_1.deb"),
            size: 1,
            sha256: "0".repeat(64),
            trees: vec![],
        }
    }

    #[test]
    fn truncated_files_are_missing_and_damaged_ones_are_discarded() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DebCache::open(folder.path()).unwrap();
        let intact = Package { sha256: hex(&Sha256::digest(b"a")), ..package("whole") };
        let changed = Package { sha256: hex(&Sha256::digest(b"b")), ..package("changed") };
        let truncated = Package { sha256: hex(&Sha256::digest(b"c")), ..package("cut") };
        for (package, content) in [(&intact, "a"), (&changed, "x"), (&truncated, "")] {
            fs::write(cache.path(package), content).unwrap();
        }
        assert!(cache.has(&intact) && cache.has(&changed) && !cache.has(&truncated));
        assert_eq!(cache.discard_damaged(&[&intact, &changed]).unwrap(), [&changed]);
        assert!(cache.has(&intact) && !cache.has(&changed));
    }

    #[test]
    fn unavailable_means_not_found_on_every_mirror() {
        let line = |mirror: &str, answer: &str| {
            format!("E: Failed to fetch http://{mirror}/debian/pool/main/a_1.deb  {answer}\n")
        };
        let (unavailable, busy) =
            (line("m.invalid", "404  Not Found [IP: ::1 80]"), line("s.invalid", "503  Busy"));
        assert!(is_unavailable(&unavailable, &package("a")));
        assert!(is_unavailable(&(unavailable.clone() + &unavailable), &package("a")));
        assert!(
            !is_unavailable(&(unavailable.clone() + &busy), &package("a")),
            "the second mirror may have it"
        );
        assert!(!is_unavailable(&unavailable, &package("b")));
    }

    #[test]
    fn a_missing_archive_is_reported_before_a_download() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DebCache::open(folder.path()).unwrap();
        let mirrors = Mirrors { main: vec!["http://127.0.0.1:1/trixie/".into()], ..Mirrors::default() };
        let update = Package { path: "pool/updates/main/a_1.deb".into(), ..package("a") };
        let outcome = cache.download(&[&update], &mirrors, &AtomicBool::new(false), &|_| panic!("it ran"));
        assert!(matches!(outcome, Err(FetchError::Mirror(MirrorError::NoSecurity))), "{outcome:?}");
    }

    #[test]
    fn no_download_starts_after_an_interrupt() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DebCache::open(folder.path()).unwrap();
        let mirrors = Mirrors { main: vec!["http://127.0.0.1:1/debian/".into()], ..Mirrors::default() };
        let outcome =
            cache.download(&[&package("a")], &mirrors, &AtomicBool::new(true), &|_| panic!("it ran"));
        assert!(matches!(outcome, Err(FetchError::Stopped)), "{outcome:?}");
    }

    #[test]
    fn leftovers_of_killed_downloads_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DebCache::open(folder.path()).unwrap();
        let ours = cache.partial(&package("a"));
        let leftover = ours.with_file_name("4194305-00");
        for path in [&ours, &leftover] {
            fs::write(path, "").unwrap();
        }
        DebCache::open(folder.path()).unwrap();
        assert!(ours.exists() && !leftover.exists());
    }
}
