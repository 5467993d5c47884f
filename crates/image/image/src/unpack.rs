//! Unpacks .deb files into a tree, without running maintainer scripts.
//!
//! Scripts depend on machine and time, and need root and a running system. Their effects are declared in `os/`
//! instead (users by sysusers, links and files in `os/rootfs`). Owners are ignored: in the image root owns
//! everything.

pub(crate) mod status;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, Cursor, Read, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use beneath::TreeRoot;
use globset::{Glob, GlobSet, GlobSetBuilder};
use sandbox::NAME_SERVERS;
use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::fetch::{DebCache, hex};
use crate::lock::Package;

/// Top folders that are links in a merged /usr, but that some packages still use.
const MERGED_USR: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
/// The top folders of a tree; others are created on the machine.
const TOP_FOLDERS: [&str; 2] = ["usr", "etc"];

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{package} in the cache does not match its SHA-256 in os/packages.lock: {path}")]
    Damaged { package: String, path: PathBuf },
    #[error("{package} is not a readable .deb")]
    Format { package: String, source: io::Error },
    #[error("{package} has no supported data archive (xz, zstd or uncompressed)")]
    NoData { package: String },
    #[error("{package} has no supported control archive (xz, zstd or uncompressed)")]
    NoControl { package: String },
    #[error("cannot write {path}")]
    Status { path: PathBuf, source: io::Error },
    #[error("{package}: cannot unpack {path}")]
    Write { package: String, path: PathBuf, source: io::Error },
    #[error("cannot create {path}")]
    MountPoint { path: PathBuf, source: io::Error },
    #[error("{path}:{line}: {problem}")]
    Rule { path: PathBuf, line: usize, problem: String },
    #[error("interrupted between two packages")]
    Stopped,
}

/// Creates the file of a tools tree that the sandbox mounts the host's over.
pub fn make_mount_point(tree: &Path) -> Result<(), UnpackError> {
    let created = TreeRoot::open(tree).and_then(|root| root.create_file(Path::new(&NAME_SERVERS[1..])));
    created
        .map(drop)
        .map_err(|source| UnpackError::MountPoint { path: tree.join(&NAME_SERVERS[1..]), source })
}

/// Paths of packages that are excluded from the tree: `os/cut`.
#[derive(Debug, Clone)]
pub struct Exclusions {
    excluded: GlobSet,
    included: GlobSet,
}

impl Exclusions {
    pub fn read(path: &Path) -> Result<Self, UnpackError> {
        let text =
            fs::read_to_string(path).map_err(|source| UnpackError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// A line is a glob of paths without a leading `/` (`**` matches several folders); a leading `!` includes what
    /// another line excludes. `path` is used in messages only.
    pub fn parse(text: &str, path: &Path) -> Result<Self, UnpackError> {
        let (mut excluded, mut included) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        let bad = |line: usize, error: globset::Error| UnpackError::Rule {
            path: path.into(),
            line,
            problem: error.to_string(),
        };
        for (index, line) in text.lines().enumerate() {
            let rule = line.split('#').next().unwrap_or_default().trim();
            let (set, pattern) = match rule.strip_prefix('!') {
                Some(pattern) => (&mut included, pattern),
                None => (&mut excluded, rule),
            };
            if !pattern.is_empty() {
                set.add(Glob::new(pattern).map_err(|error| bad(index + 1, error))?);
            }
        }
        let build = |set: GlobSetBuilder| set.build().map_err(|error| bad(0, error));
        Ok(Self { excluded: build(excluded)?, included: build(included)? })
    }

    #[must_use]
    pub fn excludes(&self, path: &Path) -> bool {
        self.excluded.is_match(path) && !self.included.is_match(path)
    }
}

/// Unpacks `packages` into the empty folder `tree` on all cores, until `stop` is set, and writes dpkg's status. `progress`
/// gets the number of unpacked packages.
pub fn unpack(
    packages: &[&Package],
    cache: &DebCache,
    exclusions: &Exclusions,
    tree: &Path,
    stop: &AtomicBool,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<(), UnpackError> {
    let root =
        &TreeRoot::open(tree).map_err(|source| UnpackError::Read { path: tree.to_path_buf(), source })?;
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = Mutex::new(None);
    let entries = Mutex::new(BTreeMap::new());
    let mut by_size: Vec<&Package> = packages.to_vec();
    // Largest first: a large package at the end would leave the other cores idle.
    by_size.sort_by_key(|package| std::cmp::Reverse(package.size));
    let worker = || {
        while let Some(package) = by_size.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = if stop.load(Ordering::Relaxed) {
                Err(UnpackError::Stopped)
            } else {
                unpack_one(package, &cache.path(package), exclusions, root)
            };
            match outcome {
                Ok(entry) => {
                    let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
                    entries.insert(&package.name, entry);
                }
                Err(error) => {
                    next.store(by_size.len(), Ordering::Relaxed);
                    // invariant: no thread panics while it holds this lock.
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let entries: Vec<String> =
        entries.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect();
    let written = root.create_file(Path::new(status::PATH)).and_then(|mut file| {
        file.write_all(entries.join("\n").as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o644))
    });
    written.map_err(|source| UnpackError::Status { path: tree.join(status::PATH), source })
}

/// Returns the package's entry in dpkg's status.
fn unpack_one(
    package: &Package,
    deb: &Path,
    exclusions: &Exclusions,
    root: &TreeRoot,
) -> Result<String, UnpackError> {
    let name = format!("{} {}", package.name, package.version);
    let bytes = fs::read(deb).map_err(|source| UnpackError::Read { path: deb.into(), source })?;
    if hex(&Sha256::digest(&bytes)) != package.sha256 {
        return Err(UnpackError::Damaged { package: name, path: deb.into() });
    }
    let format = |source| UnpackError::Format { package: name.clone(), source };
    let mut members = ar::Archive::new(Cursor::new(bytes));
    let mut status = None;
    while let Some(member) = members.next_entry() {
        let member = member.map_err(format)?;
        let file = member.header().identifier().to_owned();
        let data: Box<dyn Read> = match file.splitn(3, |byte| *byte == b'.').nth(2) {
            Some(b"xz") => Box::new(liblzma::read::XzDecoder::new(member)),
            Some(b"zst") => Box::new(zstd::Decoder::new(member).map_err(format)?),
            None => Box::new(member),
            Some(_) => continue,
        };
        if file.starts_with(b"control.tar") {
            status = Some(status::entry(data, package).map_err(format)?);
            continue;
        }
        if !file.starts_with(b"data.tar") {
            continue;
        }
        let mut files = tar::Archive::new(io::BufReader::with_capacity(1 << 18, data));
        for entry in files.entries().map_err(format)? {
            let mut entry = entry.map_err(format)?;
            let package_path = entry.path().map_err(format)?.into_owned();
            let Some(path) = target_path(&package_path).filter(|path| !exclusions.excludes(path)) else {
                continue;
            };
            unpack_entry(&mut entry, root, &path).map_err(|source| UnpackError::Write {
                package: name.clone(),
                path,
                source,
            })?;
        }
        return status.ok_or(UnpackError::NoControl { package: name });
    }
    Err(UnpackError::NoData { package: name })
}

/// The path in the tree; `None` for paths that are not part of it. The kernel is stored beside its modules, where
/// `kernel-install` expects it.
fn target_path(package_path: &Path) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for component in package_path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    let first = parts.first()?.to_str()?;
    if let ("boot", Some(kernel)) = (first, parts.get(1)) {
        let version = kernel.to_str()?.strip_prefix("vmlinuz-")?;
        return Some(["usr/lib/modules", version, "vmlinuz"].iter().collect());
    }
    if MERGED_USR.contains(&first) {
        if parts.len() == 1 {
            return None;
        }
        parts.insert(0, OsStr::new("usr"));
    } else if !TOP_FOLDERS.contains(&first) {
        return None;
    }
    Some(parts.iter().collect())
}

fn unpack_entry(entry: &mut tar::Entry<'_, impl Read>, root: &TreeRoot, path: &Path) -> io::Result<()> {
    let mode = entry.header().mode()? & 0o7777;
    match entry.header().entry_type() {
        // The builder must be able to write to and to remove it.
        EntryType::Directory => root.make_folder(path)?.set_permissions(Permissions::from_mode(mode | 0o700)),
        EntryType::Regular | EntryType::Continuous => {
            let mut file;
            if is_compressed_module(path) {
                file = root.create_new_file(&path.with_extension(""))?;
                io::copy(&mut liblzma::read::XzDecoder::new(entry), &mut file)?;
            } else {
                file = root.create_new_file(path)?;
                io::copy(entry, &mut file)?;
            }
            // Set after the content, since a write clears set-user-id. All groups become root, so set-group-id would
            // grant root's group.
            file.set_permissions(Permissions::from_mode(mode & !0o2000 | 0o400))
        }
        EntryType::Symlink => root.create_link(&link_target(entry)?, path),
        EntryType::Link => {
            let original = target_path(&link_target(entry)?)
                .ok_or_else(|| io::Error::other("link to a target outside of the tree"))?;
            root.create_hard_link(&original, path)
        }
        other => Err(io::Error::other(format!("unexpected kind of file: {other:?}"))),
    }
}

/// The image is compressed as a whole; compressed modules would only increase boot time.
fn is_compressed_module(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(".ko.xz"))
}

fn link_target(entry: &tar::Entry<'_, impl Read>) -> io::Result<PathBuf> {
    let link = entry.link_name()?.ok_or_else(|| io::Error::other("a link without a target"))?;
    Ok(link.into_owned())
}

#[cfg(test)]
mod tests;
