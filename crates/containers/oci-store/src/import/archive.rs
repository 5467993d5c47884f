//! Archives with images. They are read once, in any order: content goes to the store, and small files, which list what
//! belongs together, are kept in memory.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use oci_image::limits::MAX_CONFIG;
use oci_image::{Blob, Digest};
use tar::EntryType;

use super::layout::{INDEX, Present, VERSION_FILE};
use super::{ImportError, ImportOptions, Imported};
use crate::meter::{Allowance, Meter};
use crate::store::Store;
use crate::store_error::StoreError;

/// `docker save`'s list of images.
pub const MANIFEST: &str = "manifest.json";
const BLOBS: &str = "blobs/sha256/";
const MAX_FILES: usize = 10_000;
/// Bytes of all files that are kept in memory.
const MAX_MEMORY: u64 = 64 << 20;
/// Bytes of the headers of one file.
const MAX_HEADERS: u64 = 1 << 20;
const MAX_LINKS: usize = 8;
/// Headers and padding, for the limit of the whole archive.
const MARGIN: u64 = 64 << 20;

/// What an archive has.
#[derive(Default)]
pub struct Contents {
    small: BTreeMap<PathBuf, Vec<u8>>,
    blobs: BTreeMap<PathBuf, Blob>,
    links: BTreeMap<PathBuf, PathBuf>,
}

impl Store {
    /// Imports an OCI layout or an archive of `docker save`, plain or compressed by gzip or zstd.
    ///
    /// # Errors
    /// The archive is incomplete, invalid, not trusted or not for this machine.
    pub fn import_archive(
        &self,
        archive: impl Read + Send,
        options: &ImportOptions<'_>,
    ) -> Result<Vec<Imported>, ImportError> {
        let _lock = self.shared_lock()?;
        let data = self.decompression().detect(archive).map_err(ImportError::Archive)?;
        let contents = self.spool(data, options.bytes)?;
        let candidates = match (contents.text(INDEX), contents.text(VERSION_FILE), contents.text(MANIFEST)) {
            // Newer versions of Docker write both; the index has the digests of the registry.
            (Some(index), Some(version), _) => {
                self.layout_candidates(version, index, &Present, &options.platform)?
            }
            (_, _, Some(manifest)) => self.docker_candidates(manifest, &contents)?,
            _ => return Err(ImportError::Format("the archive".to_owned())),
        };
        self.add_candidates(candidates, options)
    }

    fn spool(&self, data: impl Read, limit: u64) -> Result<Contents, ImportError> {
        let allowance = Allowance::new(limit.saturating_add(MARGIN));
        let mut archive = tar::Archive::new(Meter::new(data, &allowance));
        let mut contents = Contents::default();
        let (mut count, mut bytes, mut memory) = (0, 0u64, 0u64);
        let mut entries = archive.entries().map_err(ImportError::Archive)?;
        loop {
            allowance.limit_headers(MAX_HEADERS);
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.map_err(ImportError::Archive)?;
            allowance.lift();
            count += 1;
            if count > MAX_FILES {
                return Err(ImportError::Files(MAX_FILES));
            }
            let path = normalize(&entry.path().map_err(ImportError::Archive)?)?;
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    bytes = bytes.saturating_add(entry.size());
                    if bytes > limit {
                        return Err(ImportError::Bytes(limit));
                    }
                    let is_small = is_description(&path) && entry.size() <= MAX_CONFIG;
                    if is_small && memory + entry.size() <= MAX_MEMORY {
                        memory += entry.size();
                        let mut text = Vec::new();
                        entry.read_to_end(&mut text).map_err(ImportError::Archive)?;
                        contents.small.insert(path, text);
                    } else {
                        let blob = self.spool_blob(&mut entry, &path)?;
                        contents.blobs.insert(path, blob);
                    }
                }
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name().map_err(ImportError::Archive)?.unwrap_or_default();
                    let is_hard = entry.header().entry_type() == EntryType::Link;
                    let from = if is_hard { Path::new("") } else { path.parent().unwrap_or(Path::new("")) };
                    let target = normalize(&from.join(target))?;
                    contents.links.insert(path, target);
                }
                _ => {}
            }
            io::copy(&mut entry, &mut io::sink()).map_err(ImportError::Archive)?;
        }
        archive.into_inner().finish().map_err(ImportError::Archive)?;
        Ok(contents)
    }

    fn spool_blob(&self, content: &mut impl Read, path: &Path) -> Result<Blob, ImportError> {
        let mut writer = self.blob_writer()?;
        let failed = |source| StoreError::new("write to", &self.temporary(), source);
        io::copy(content, &mut writer).map_err(failed)?;
        let found = writer.content();
        let name = path.to_str().and_then(|path| path.strip_prefix(BLOBS));
        if let Some(expected) = name.and_then(|name| Digest::from_hex(name).ok())
            && found.digest != expected
        {
            return Err(ImportError::Digest { path: path.to_owned(), found: found.digest });
        }
        Ok(self.commit(writer)?)
    }
}

impl Contents {
    pub fn text(&self, path: &str) -> Option<&[u8]> {
        self.small.get(Path::new(path)).map(Vec::as_slice)
    }

    /// A file's content, also through links within the archive.
    pub fn blob(&self, path: &str) -> Result<Blob, ImportError> {
        let missing = || ImportError::Missing(path.to_owned());
        let mut at = normalize(Path::new(path))?;
        for _ in 0..MAX_LINKS {
            if let Some(blob) = self.blobs.get(&at) {
                return Ok(*blob);
            }
            at = self.links.get(&at).ok_or_else(missing)?.clone();
        }
        Err(missing())
    }

    /// A small file, which a digest may name instead of `.json`.
    pub fn small(&self, path: &str) -> Result<Option<&[u8]>, ImportError> {
        Ok(self.small.get(&normalize(Path::new(path))?).map(Vec::as_slice))
    }
}

fn is_description(path: &Path) -> bool {
    path == Path::new(VERSION_FILE) || path.extension().is_some_and(|extension| extension == "json")
}

/// Resolves `.` and `..` by the path alone; one that leads out of the archive is refused.
fn normalize(path: &Path) -> Result<PathBuf, ImportError> {
    let refused = || ImportError::Path(path.display().to_string());
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => normal.push(part),
            Component::CurDir => {}
            Component::ParentDir if normal.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(refused()),
        }
    }
    Ok(normal)
}
