//! The OCI image layout: `oci-layout`, `index.json` and `blobs/`, as a directory or in an archive.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use oci_image::limits::MAX_DOCUMENT;
use oci_image::manifest::{self, IndexEntry};
use oci_image::{Blob, Document, Platform, Reference, selection};
use serde::Deserialize;

use super::{Candidate, ImportError, ImportOptions, Imported};
use crate::store::Store;
use crate::store_error::StoreError;

pub const INDEX: &str = "index.json";
pub const VERSION_FILE: &str = "oci-layout";
const VERSION: &str = "1.0.0";
/// Indexes within indexes.
const MAX_DEPTH: u32 = 3;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

/// Where the content of an index comes from.
pub trait Blobs {
    /// Adds content to the store, unless it is there.
    fn provide(&self, store: &Store, blob: &Blob) -> Result<(), ImportError>;
}

/// Content that is in the store already.
pub struct Present;

impl Blobs for Present {
    fn provide(&self, store: &Store, blob: &Blob) -> Result<(), ImportError> {
        store.expect_blob(blob)
    }
}

struct Directory<'a> {
    path: &'a Path,
    limit: u64,
    /// Bytes that were copied.
    used: std::cell::Cell<u64>,
}

impl Store {
    /// Imports the images of an OCI layout in a directory.
    ///
    /// # Errors
    /// The layout is incomplete, invalid, not trusted or not for this machine.
    pub fn import_layout(
        &self,
        directory: &Path,
        options: &ImportOptions<'_>,
    ) -> Result<Vec<Imported>, ImportError> {
        let _lock = self.shared_lock()?;
        let source = Directory { path: directory, limit: options.bytes, used: Default::default() };
        let version = source.read(VERSION_FILE, MAX_DOCUMENT)?;
        let index = source.read(INDEX, MAX_DOCUMENT)?;
        let candidates = self.layout_candidates(&version, &index, &source, &options.platform)?;
        self.add_candidates(candidates, options)
    }

    /// The images of a layout, with their content in the store.
    pub(super) fn layout_candidates(
        &self,
        version: &[u8],
        index: &[u8],
        source: &dyn Blobs,
        platform: &Platform,
    ) -> Result<Vec<Candidate>, ImportError> {
        let invalid = |source| ImportError::Json { path: VERSION_FILE.into(), source };
        let version: Version = serde_json::from_slice(version).map_err(invalid)?;
        if version.image_layout_version != VERSION {
            return Err(ImportError::LayoutVersion(version.image_layout_version));
        }
        let failed = |source| ImportError::Document { path: INDEX.into(), source };
        let Document::Index(index) = manifest::parse(index, None).map_err(failed)? else {
            return Err(ImportError::Format(INDEX.to_owned()));
        };
        let is_named = index.manifests.iter().any(|entry| entry.name.is_some());
        // Without names, an index of manifests is one image for several platforms.
        let entries = if is_named {
            index.manifests.iter().collect()
        } else {
            vec![selection::choose(&index, platform).map_err(ImportError::Platform)?]
        };
        let mut candidates: Vec<Candidate> = Vec::new();
        for entry in entries {
            // docker save lists a manifest for each platform under one name.
            if is_named && entry.platform.as_ref().is_some_and(|found| !platform.runs(found)) {
                continue;
            }
            let name = entry.name.as_deref().filter(|name| !is_tag(name));
            let names: Vec<String> = name.map(full_name).transpose()?.into_iter().collect();
            let (manifest, top) = self.resolve(entry, source, platform, MAX_DEPTH)?;
            match candidates.iter_mut().find(|candidate| candidate.manifest == manifest) {
                Some(candidate) => candidate.names.extend(names),
                None => candidates.push(Candidate { manifest, index: top, names }),
            }
        }
        Ok(candidates)
    }

    /// The manifest that an entry leads to, with its content in the store, and the entry's index.
    fn resolve(
        &self,
        entry: &IndexEntry,
        source: &dyn Blobs,
        platform: &Platform,
        depth: u32,
    ) -> Result<(oci_image::Digest, Option<oci_image::Digest>), ImportError> {
        source.provide(self, &entry.blob)?;
        match self.document(&entry.blob)? {
            Document::Manifest(manifest) => {
                source.provide(self, &manifest.config)?;
                manifest.layers.iter().try_for_each(|layer| source.provide(self, &layer.blob))?;
                Ok((entry.blob.digest, None))
            }
            Document::Index(_) if depth == 0 => {
                Err(ImportError::Format("an index within indexes".to_owned()))
            }
            Document::Index(index) => {
                let chosen = selection::choose(&index, platform).map_err(ImportError::Platform)?;
                let (manifest, _) = self.resolve(chosen, source, platform, depth - 1)?;
                Ok((manifest, Some(entry.blob.digest)))
            }
        }
    }

    fn document(&self, blob: &Blob) -> Result<Document, ImportError> {
        let path = self.blob_path(blob.digest);
        let mut bytes = Vec::new();
        let read = self.open_blob(blob.digest)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes);
        read.map_err(|source| StoreError::new("read", &path, source))?;
        manifest::parse(&bytes, None)
            .map_err(|source| ImportError::Document { path: PathBuf::from(blob.digest.to_string()), source })
    }
}

/// A layout has a tag (`latest`), a short name (`a:1`) or the full name of an image. A tag alone names none.
fn is_tag(name: &str) -> bool {
    !name.contains(['/', ':'])
}

fn full_name(name: &str) -> Result<String, ImportError> {
    let parsed: Reference = super::parse_name(name)?;
    Ok(parsed.to_string())
}

impl Directory<'_> {
    /// Opens a regular file; no link leads to another one, and a FIFO does not block.
    fn open(&self, name: &str) -> Result<(File, u64, PathBuf), ImportError> {
        let path = self.path.join(name);
        let failed = |source| ImportError::Read { path: path.clone(), source };
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let opened = open(&path, flags, Mode::empty()).map(File::from);
        let file = opened.map_err(|error| failed(error.into()))?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(ImportError::NoFile(path));
        }
        Ok((file, metadata.len(), path))
    }

    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, ImportError> {
        let (file, size, path) = self.open(name)?;
        if size > limit {
            return Err(ImportError::Large { path, size, limit });
        }
        let mut bytes = Vec::new();
        let read = file.take(limit).read_to_end(&mut bytes);
        read.map_err(|source| ImportError::Read { path, source })?;
        Ok(bytes)
    }
}

impl Blobs for Directory<'_> {
    fn provide(&self, store: &Store, blob: &Blob) -> Result<(), ImportError> {
        if store.has_blob(blob) {
            return Ok(());
        }
        let (file, size, path) = self.open(&format!("blobs/sha256/{}", blob.digest.hex()))?;
        if size != blob.size {
            return Err(ImportError::Large { path, size, limit: blob.size });
        }
        self.used.set(self.used.get().saturating_add(size));
        if self.used.get() > self.limit {
            return Err(ImportError::Bytes(self.limit));
        }
        let mut writer = store.blob_writer()?;
        let copied = io::copy(&mut file.take(size), &mut writer);
        copied.map_err(|source| ImportError::Read { path: path.clone(), source })?;
        let found = writer.content();
        if found != *blob {
            return Err(ImportError::Digest { path, found: found.digest });
        }
        store.commit(writer)?;
        Ok(())
    }
}
