//! The store's directory.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use oci_image::config::ImageConfig;
use oci_image::limits::MAX_CONFIG;
use oci_image::manifest::{self, DocumentError};
use oci_image::{Blob, Digest, Document, Manifest, Reference};

use crate::blob::BlobWriter;
use crate::decompress::Decompression;
use crate::lock::{self, Lock};
use crate::record::ImageRecord;
use crate::store_error::StoreError;

/// Trees have programs with set-user-id: no user of the host may reach them.
const FOLDER_MODE: u32 = 0o700;
const RECORD_MODE: u32 = 0o600;
const MAX_RECORD: u64 = 1 << 20;
/// Seconds between two records of an image's use; images are collected when they are unused for hours.
const USE_RESOLUTION: u64 = 60;
const RECORDS_LOCK: &str = "records";

/// Images below one directory, which on a node is `/var/lib/rkt`.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    decompression: Decompression,
}

impl Store {
    /// Opens a store, and creates what is missing of it. It decompresses in this process.
    ///
    /// # Errors
    /// A directory cannot be created.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let created = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(root);
        // Unpacking compares it with paths that the kernel resolved.
        let resolved = created.and_then(|()| root.canonicalize());
        let resolved = resolved.map_err(|source| StoreError::new("create", root, source))?;
        let store = Self { root: resolved, decompression: Decompression::InProcess };
        let root = &store.root;
        let folders = [store.blobs(), store.records(), store.trees(), store.temporary()];
        for folder in folders.into_iter().chain([root.join(lock::NAMED)]) {
            let created = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder);
            created.map_err(|source| StoreError::new("create", &folder, source))?;
        }
        let closed = fs::set_permissions(root, Permissions::from_mode(FOLDER_MODE));
        closed.map_err(|source| StoreError::new("change the mode of", root, source))?;
        Ok(store)
    }

    /// The same store, which decompresses elsewhere.
    #[must_use]
    pub fn with_decompression(self, decompression: Decompression) -> Self {
        Self { decompression, ..self }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.root
    }

    pub(crate) fn decompression(&self) -> &Decompression {
        &self.decompression
    }

    /// All images, those used last first.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn images(&self) -> Result<Vec<ImageRecord>, StoreError> {
        let folder = self.records();
        let failed = |source| StoreError::new("read", &folder, source);
        let mut images = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let digest = name.to_str().and_then(|name| Digest::from_hex(name.strip_suffix(".json")?).ok());
            // Others are files that are being replaced.
            if let Some(digest) = digest
                && let Some(record) = self.image(digest)?
            {
                images.push(record);
            }
        }
        images.sort_by_key(|image| (std::cmp::Reverse(image.last_used), image.manifest));
        Ok(images)
    }

    /// One image.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn image(&self, manifest: Digest) -> Result<Option<ImageRecord>, StoreError> {
        let path = self.record_path(manifest);
        let mut text = Vec::new();
        match File::open(&path).and_then(|file| file.take(MAX_RECORD).read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::new("read", &path, source)),
        }
        let parsed = serde_json::from_slice(&text);
        parsed.map(Some).map_err(|error| StoreError::Damaged { path, reason: error.to_string() })
    }

    /// The image with a name; with a digest in the name, it must be that one too.
    ///
    /// # Errors
    /// A record cannot be read.
    pub fn find(&self, name: &Reference) -> Result<Option<ImageRecord>, StoreError> {
        let (full, images) = (name.to_string(), self.images()?);
        let named = images.iter().filter(|image| image.names.contains_key(&full));
        // A crash between two records may leave the name with both.
        let found = named.max_by_key(|image| image.imported);
        let by_digest = || images.iter().find(|image| Some(image.manifest) == name.digest());
        Ok(found.or_else(by_digest).cloned())
    }

    /// The manifest of an image.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn manifest(&self, digest: Digest) -> Result<Manifest, StoreError> {
        let bytes = self.read_blob(digest, oci_image::limits::MAX_DOCUMENT)?;
        match manifest::parse(&bytes, None).map_err(|source| StoreError::Manifest { digest, source })? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => {
                Err(StoreError::Manifest { digest, source: DocumentError::MediaType("an index".to_owned()) })
            }
        }
    }

    /// The configuration of an image.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn config(&self, digest: Digest) -> Result<ImageConfig, StoreError> {
        let manifest = self.manifest(digest)?;
        let bytes = self.read_blob(manifest.config.digest, MAX_CONFIG)?;
        ImageConfig::parse(&bytes, manifest.layers.len())
            .map_err(|source| StoreError::Config { digest, source })
    }

    /// Opens content for reading. Its digest was verified when it was added.
    ///
    /// # Errors
    /// It is missing.
    pub fn open_blob(&self, digest: Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|source| StoreError::new("open", &path, source))
    }

    /// Reads small content and verifies it again.
    fn read_blob(&self, digest: Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(digest);
        let mut bytes = Vec::new();
        let read = self.open_blob(digest)?.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|source| StoreError::new("read", &path, source))?;
        if bytes.len() as u64 > limit || Digest::of(&bytes) != digest {
            return Err(StoreError::Damaged { path, reason: "its content has another digest".to_owned() });
        }
        Ok(bytes)
    }

    /// Whether content is present with this length.
    pub(crate) fn has_blob(&self, blob: &Blob) -> bool {
        let metadata = fs::metadata(self.blob_path(blob.digest));
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() == blob.size)
    }

    pub(crate) fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        BlobWriter::new(&self.temporary())
    }

    /// Continues an interrupted transfer, or begins it. The caller holds the blob's lock.
    pub(crate) fn resume_blob(&self, digest: Digest) -> Result<BlobWriter, StoreError> {
        BlobWriter::resume(&self.temporary(), digest)
    }

    /// Adds content under its digest.
    pub(crate) fn commit(&self, writer: BlobWriter) -> Result<Blob, StoreError> {
        writer.commit(&self.blobs())
    }

    pub(crate) fn add_bytes(&self, bytes: &[u8]) -> Result<Blob, StoreError> {
        let mut writer = self.blob_writer()?;
        let written = io::Write::write_all(&mut writer, bytes);
        written.map_err(|source| StoreError::new("write to", &self.temporary(), source))?;
        self.commit(writer)
    }

    /// Adds an image whose content is complete, and takes the name from any other image.
    pub(crate) fn record(
        &self,
        manifest: Digest,
        names: BTreeMap<String, Option<String>>,
    ) -> Result<ImageRecord, StoreError> {
        let _lock = self.named_lock(RECORDS_LOCK)?;
        let now = now();
        let earlier = self.image(manifest)?;
        let mut record = earlier.unwrap_or_else(|| ImageRecord {
            manifest,
            names: BTreeMap::new(),
            imported: now,
            last_used: now,
        });
        record.imported = now;
        record.last_used = now;
        for (name, key) in &names {
            let earlier = record.names.remove(name).flatten();
            record.names.insert(name.clone(), key.clone().or(earlier));
        }
        self.write_record(&record)?;
        for mut other in self.images()?.into_iter().filter(|other| other.manifest != manifest) {
            let count = other.names.len();
            other.names.retain(|name, _| !names.contains_key(name));
            if other.names.len() != count {
                self.write_record(&other)?;
            }
        }
        Ok(record)
    }

    /// A recent use is not recorded again: starts of pods would wait for the disk.
    pub(crate) fn mark_used(&self, manifest: Digest) -> Result<(), StoreError> {
        let _lock = self.named_lock(RECORDS_LOCK)?;
        let Some(mut record) = self.image(manifest)? else { return Ok(()) };
        let now = now();
        // A clock that was set back makes it older, too.
        if now.abs_diff(record.last_used) < USE_RESOLUTION {
            return Ok(());
        }
        record.last_used = now;
        self.write_record(&record)
    }

    /// Whether there was such an image.
    pub(crate) fn remove_record(&self, manifest: Digest) -> Result<bool, StoreError> {
        let _lock = self.named_lock(RECORDS_LOCK)?;
        let path = self.record_path(manifest);
        match fs::remove_file(&path) {
            Ok(()) => crate::blob::sync_folder(&self.records()).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(StoreError::new("remove", &path, source)),
        }
    }

    fn write_record(&self, record: &ImageRecord) -> Result<(), StoreError> {
        let path = self.record_path(record.manifest);
        let text = serde_json::to_vec(record).map_err(io::Error::from);
        let written = text.and_then(|text| service::file::replace(&path, &text, RECORD_MODE));
        written.map_err(|source| StoreError::new("write", &path, source))
    }

    pub(crate) fn shared_lock(&self) -> Result<Lock, StoreError> {
        lock::shared(&self.root).map_err(|source| StoreError::new("lock", &self.root, source))
    }

    pub(crate) fn exclusive_lock(&self) -> Result<Option<Lock>, StoreError> {
        lock::try_exclusive(&self.root).map_err(|source| StoreError::new("lock", &self.root, source))
    }

    pub(crate) fn named_lock(&self, name: &str) -> Result<Lock, StoreError> {
        lock::named(&self.root, name).map_err(|source| StoreError::new("lock", &self.root.join(name), source))
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn blob_path(&self, digest: Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.root.join("images")
    }

    fn record_path(&self, manifest: Digest) -> PathBuf {
        self.records().join(format!("{}.json", manifest.hex()))
    }

    pub(crate) fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }

    pub(crate) fn named_locks(&self) -> PathBuf {
        self.root.join(lock::NAMED)
    }

    /// On the same file system as everything else, so that files can be renamed.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
