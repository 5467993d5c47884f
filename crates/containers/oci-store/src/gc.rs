//! Removal of images, and of content that no image has.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_image::Digest;
use oci_image::digest::chain_id;

use crate::blob::PARTIAL;
use crate::lock;
use crate::store::{Store, now};
use crate::store_error::StoreError;
use crate::unpack::IN_USE;

/// A transfer that was interrupted longer ago is not resumed.
const PARTIAL_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Hexadecimal digits at the beginning of a tree's name: its chain of layers.
const CHAIN_DIGITS: usize = 64;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Images that were not used for the given time.
    pub images: Vec<Digest>,
    /// The number of blobs.
    pub blobs: usize,
    /// The number of unpacked trees.
    pub trees: usize,
}

/// Why nothing, or not everything, was removed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum GcError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("another operation uses the store; nothing was removed")]
    Busy,
}

impl Store {
    /// Removes an image. Its content is removed by the next [`Self::gc`], and now if no other operation runs.
    ///
    /// # Errors
    /// There is no such image, or it cannot be removed.
    pub fn remove(&self, image: Digest) -> Result<(), StoreError> {
        let lock = self.shared_lock()?;
        if !self.remove_record(image)? {
            return Err(StoreError::NoImage(image.to_string()));
        }
        drop(lock);
        match self.gc(None, &|_| false) {
            Ok(_) | Err(GcError::Busy) => Ok(()),
            Err(GcError::Store(error)) => Err(error),
        }
    }

    /// Removes images that were not used for `unused` and that `is_referenced` does not keep, and all content that no image
    /// has. Trees in use remain. `is_referenced` is called for an image after its tree was found unused: what refers to the
    /// image before it releases the tree is therefore seen.
    ///
    /// # Errors
    /// Another operation uses the store, or an image is damaged: then its content is unknown, and no content is removed.
    pub fn gc(
        &self,
        unused: Option<Duration>,
        is_referenced: &dyn Fn(Digest) -> bool,
    ) -> Result<Collected, GcError> {
        let _lock = self.exclusive_lock()?.ok_or(GcError::Busy)?;
        let mut collected = Collected::default();
        let mut trees = self.list(&self.trees())?;
        let (mut chains, mut blobs) = (BTreeSet::new(), BTreeSet::new());
        for record in self.images()? {
            let is_old =
                unused.is_some_and(|unused| now().saturating_sub(record.last_used) >= unused.as_secs());
            let (manifest, config) = (self.manifest(record.manifest)?, self.config(record.manifest)?);
            let chain = chain_id(&config.diff_ids).unwrap_or_else(|| Digest::of(&[])).hex();
            if is_old && !self.is_in_use(&trees, &chain)? && !is_referenced(record.manifest) {
                self.remove_record(record.manifest)?;
                collected.images.push(record.manifest);
                continue;
            }
            chains.insert(chain);
            blobs.extend([record.manifest.hex(), manifest.config.digest.hex()]);
            blobs.extend(manifest.layers.iter().map(|layer| layer.blob.digest.hex()));
        }
        trees.retain(|tree| !chains.contains(chain_of(tree)));
        for tree in trees {
            collected.trees += usize::from(self.remove_tree(&tree)?);
        }
        for blob in self.list(&self.blobs())? {
            if blob.to_str().is_none_or(|name| !blobs.contains(name)) {
                remove(&self.blobs().join(blob))?;
                collected.blobs += 1;
            }
        }
        self.clean()?;
        Ok(collected)
    }

    fn is_in_use(&self, trees: &[OsString], chain: &str) -> Result<bool, StoreError> {
        for tree in trees.iter().filter(|tree| chain_of(tree) == chain) {
            if self.lock_tree(tree)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn lock_tree(&self, tree: &OsString) -> Result<Option<lock::Lock>, StoreError> {
        let path = self.trees().join(tree).join(IN_USE);
        lock::try_lock(&path).map_err(|source| StoreError::new("lock", &path, source))
    }

    /// Renamed first: what has a tree's name is complete. False if the tree is in use.
    fn remove_tree(&self, tree: &OsString) -> Result<bool, StoreError> {
        let Some(_lock) = self.lock_tree(tree)? else { return Ok(false) };
        let (from, to) = (self.trees().join(tree), self.temporary().join(tree));
        fs::rename(&from, &to).map_err(|source| StoreError::new("remove", &from, source))?;
        remove(&to)?;
        Ok(true)
    }

    /// Removes what interrupted operations left. No other operation runs.
    fn clean(&self) -> Result<(), StoreError> {
        for name in self.list(&self.temporary())? {
            let path = self.temporary().join(&name);
            let is_partial = name.to_str().is_some_and(|name| name.starts_with(PARTIAL));
            let age = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
            let is_recent = age.is_ok_and(|age| age.elapsed().is_ok_and(|age| age < PARTIAL_AGE));
            if !(is_partial && is_recent) {
                remove(&path)?;
            }
        }
        for name in self.list(&self.named_locks())? {
            remove(&self.named_locks().join(name))?;
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> Result<Vec<OsString>, StoreError> {
        let failed = |source| StoreError::new("read", folder, source);
        let entries = fs::read_dir(folder).map_err(failed)?;
        entries.map(|entry| Ok(entry.map_err(failed)?.file_name())).collect()
    }
}

fn chain_of(tree: &OsString) -> &str {
    tree.to_str().and_then(|name| name.get(..CHAIN_DIGITS)).unwrap_or_default()
}

fn remove(path: &PathBuf) -> Result<(), StoreError> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::new("remove", path, error)),
        _ => Ok(()),
    }
}
