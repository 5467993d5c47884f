//! .deb files become a file tree; no maintainer script runs.
//!
//! A package's files are facts, its scripts are not: they differ by machine and time, want root and a running
//! system. What they would have made is declared in `os/` instead (users by sysusers, links and files in
//! `os/rootfs`), where it can be read. Owners are not kept: the tree becomes an image in which root owns all.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Cursor, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use globset::{Glob, GlobSet, GlobSetBuilder};
use sha2::{Digest, Sha256};
use tar::EntryType;

use crate::fetch::{DebCache, hex};
use crate::lock::Package;

/// Where packages still ship below the links of a merged /usr.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
/// The only top folders of a tree: all else is made on the machine.
const KEPT: [&str; 2] = ["usr", "etc"];

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{package} in the cache does not match its SHA-256 in os/packages.lock: {path}")]
    Damaged { package: String, path: PathBuf },
    #[error("{package} is no readable .deb")]
    Format { package: String, source: io::Error },
    #[error("{package} has no data archive that is known here (xz, zstd or plain)")]
    NoData { package: String },
    #[error("{package}: cannot unpack {path}")]
    Write { package: String, path: PathBuf, source: io::Error },
    #[error("{path}:{line}: {problem}")]
    Rule { path: PathBuf, line: usize, problem: String },
    #[error("stopped between two packages")]
    Stopped,
}

/// Which paths of the packages are left out: `os/cut`.
#[derive(Debug, Clone)]
pub struct Cut {
    dropped: GlobSet,
    kept: GlobSet,
}

impl Cut {
    pub fn read(path: &Path) -> Result<Self, UnpackError> {
        let text =
            fs::read_to_string(path).map_err(|source| UnpackError::Read { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// A line is a glob of paths without the leading `/` (`**` crosses folders), `!` before it keeps what
    /// another line would drop. `path` is only for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, UnpackError> {
        let (mut dropped, mut kept) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        let bad = |line: usize, error: globset::Error| UnpackError::Rule {
            path: path.into(),
            line,
            problem: error.to_string(),
        };
        for (index, line) in text.lines().enumerate() {
            let rule = line.split('#').next().unwrap_or_default().trim();
            let (set, pattern) = match rule.strip_prefix('!') {
                Some(pattern) => (&mut kept, pattern),
                None => (&mut dropped, rule),
            };
            if !pattern.is_empty() {
                set.add(Glob::new(pattern).map_err(|error| bad(index + 1, error))?);
            }
        }
        let build = |set: GlobSetBuilder| set.build().map_err(|error| bad(0, error));
        Ok(Self { dropped: build(dropped)?, kept: build(kept)? })
    }

    #[must_use]
    pub fn drops(&self, path: &Path) -> bool {
        self.dropped.is_match(path) && !self.kept.is_match(path)
    }
}

/// Unpacks `packages` into the empty folder `tree`, on all cores, until `stop` is set. `told` gets the
/// number done.
pub fn unpack(
    packages: &[&Package],
    cache: &DebCache,
    cut: &Cut,
    tree: &Path,
    stop: &AtomicBool,
    told: &(dyn Fn(usize) + Sync),
) -> Result<(), UnpackError> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = Mutex::new(None);
    let mut by_size: Vec<&Package> = packages.to_vec();
    // The kernel first: a long one that starts last would leave the other cores idle.
    by_size.sort_by_key(|package| std::cmp::Reverse(package.size));
    let worker = || {
        while let Some(package) = by_size.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = if stop.load(Ordering::Relaxed) {
                Err(UnpackError::Stopped)
            } else {
                unpack_one(package, &cache.path(package), cut, tree)
            };
            if let Err(error) = outcome {
                next.store(by_size.len(), Ordering::Relaxed);
                // invariant: no thread panics while it holds this lock.
                *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
            }
            told(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

fn unpack_one(package: &Package, deb: &Path, cut: &Cut, tree: &Path) -> Result<(), UnpackError> {
    let name = format!("{} {}", package.name, package.version);
    let bytes = fs::read(deb).map_err(|source| UnpackError::Read { path: deb.into(), source })?;
    if hex(&Sha256::digest(&bytes)) != package.sha256 {
        return Err(UnpackError::Damaged { package: name, path: deb.into() });
    }
    let format = |source| UnpackError::Format { package: name.clone(), source };
    let mut members = ar::Archive::new(Cursor::new(bytes));
    while let Some(member) = members.next_entry() {
        let member = member.map_err(format)?;
        let data: Box<dyn Read> = match member.header().identifier() {
            b"data.tar.xz" => Box::new(liblzma::read::XzDecoder::new(member)),
            b"data.tar.zst" => Box::new(zstd::Decoder::new(member).map_err(format)?),
            b"data.tar" => Box::new(member),
            _ => continue,
        };
        let mut files = tar::Archive::new(io::BufReader::with_capacity(1 << 18, data));
        for entry in files.entries().map_err(format)? {
            let mut entry = entry.map_err(format)?;
            let shipped = entry.path().map_err(format)?.into_owned();
            let Some(path) = place(&shipped).filter(|path| !cut.drops(path)) else { continue };
            unpack_entry(&mut entry, tree, &path).map_err(|source| UnpackError::Write {
                package: name.clone(),
                path,
                source,
            })?;
        }
        return Ok(());
    }
    Err(UnpackError::NoData { package: name })
}

/// Where a shipped path stands in the tree; none for what a tree does not hold. A kernel stands beside its
/// modules, as `kernel-install` would find it.
fn place(shipped: &Path) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for component in shipped.components() {
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
    if MERGED.contains(&first) {
        if parts.len() == 1 {
            return None;
        }
        parts.insert(0, OsStr::new("usr"));
    } else if !KEPT.contains(&first) {
        return None;
    }
    Some(parts.iter().collect())
}

fn unpack_entry(entry: &mut tar::Entry<'_, impl Read>, tree: &Path, path: &Path) -> io::Result<()> {
    let target = tree.join(path);
    let mode = entry.header().mode()? & 0o7777;
    if entry.header().entry_type() == EntryType::Directory {
        return match fs::create_dir_all(&target) {
            // The builder must be able to fill it and to remove it again.
            Ok(()) => fs::set_permissions(&target, Permissions::from_mode(mode | 0o700)),
            Err(error) => Err(error),
        };
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {
            let compressed_module = is_compressed_module(path);
            let target = if compressed_module { target.with_extension("") } else { target };
            let mut file = File::create_new(&target)?;
            if compressed_module {
                io::copy(&mut liblzma::read::XzDecoder::new(entry), &mut file)?;
            } else {
                io::copy(entry, &mut file)?;
            }
            // Only after the content: a write clears set-user-id. Groups are root's here, so set-group-id
            // would give away root's group.
            file.set_permissions(Permissions::from_mode(mode & !0o2000 | 0o400))
        }
        EntryType::Symlink => symlink(link_of(entry)?, &target),
        EntryType::Link => {
            let original = place(&link_of(entry)?).ok_or_else(|| io::Error::other("link out of the tree"))?;
            fs::hard_link(tree.join(original), &target)
        }
        other => Err(io::Error::other(format!("unexpected kind of file: {other:?}"))),
    }
}

/// The image is compressed as a whole where it travels; a compressed module would only cost boot time.
fn is_compressed_module(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(".ko.xz"))
}

fn link_of(entry: &tar::Entry<'_, impl Read>) -> io::Result<PathBuf> {
    let link = entry.link_name()?.ok_or_else(|| io::Error::other("a link without a target"))?;
    Ok(link.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_move_below_usr_and_cannot_leave_the_tree() {
        let check = |from: &str, to: Option<&str>| {
            assert_eq!(place(Path::new(from)).as_deref(), to.map(Path::new), "{from}");
        };
        check("./usr/bin/a", Some("usr/bin/a"));
        check("./lib/systemd/x", Some("usr/lib/systemd/x"));
        check("./boot/vmlinuz-6.12", Some("usr/lib/modules/6.12/vmlinuz"));
        check("./boot/System.map-6.12", None);
        check("./bin", None);
        check("./var/lib/x", None);
        check("./etc/../../x", None);
        check("./", None);
    }

    /// The copyright files of most packages refer to them.
    #[test]
    fn the_texts_of_licences_are_not_cut() {
        let cut = Cut::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../os/cut")).unwrap();
        assert!(!cut.drops(Path::new("usr/share/common-licenses/GPL-3")));
        assert!(cut.drops(Path::new("usr/share/man/man1/ls.1.gz")));
    }

    #[test]
    fn a_kept_path_wins_over_a_dropped_one() {
        let cut =
            Cut::parse("usr/share/doc/**\n!usr/share/doc/*/copyright # wanted\n", Path::new("c")).unwrap();
        assert!(cut.drops(Path::new("usr/share/doc/a/README")));
        assert!(!cut.drops(Path::new("usr/share/doc/a/copyright")));
        let error = Cut::parse("ok\n[x\n", Path::new("c")).unwrap_err();
        assert!(error.to_string().starts_with("c:2: "), "{error}");
    }
}
