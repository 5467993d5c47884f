//! Unpacks the layers of an image to a root file system, once for each chain of layers.
//!
//! A tree is built in the store's temporary folder and renamed when all layers have their digests and everything is on
//! disk: a crash leaves no tree that is used.

mod directories;
mod entry;
mod entry_error;
mod layer;
mod options;
mod path;
mod place;
mod removal;
mod whiteout;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use beneath::TreeRoot;
use oci_image::digest::chain_id;
use oci_image::{Digest, Layer};
use serde::{Deserialize, Serialize};

pub use self::entry_error::EntryError;
use self::layer::{Budget, LayerError, LayerWriter};
pub use self::options::{DeviceNodes, Owners, UnpackLimits, UnpackOptions};
use crate::blob::sync_folder;
use crate::confined;
use crate::lock::{self, Lock};
use crate::meter::{Allowance, Meter};
use crate::store::Store;
use crate::store_error::StoreError;
use crate::tree_digest::{self, VerifyError};

/// The root file system in a tree's folder.
const ROOTFS: &str = "rootfs";
/// The list of its files, which a verification compares.
const LIST: &str = "files";
/// Written last: what the tree is.
const DESCRIPTION: &str = "tree.json";
/// Locked shared while the tree is in use.
pub(crate) const IN_USE: &str = "in-use";
const ROOT_MODE: u32 = 0o755;
const DESCRIPTION_MODE: u32 = 0o600;

/// Why an image was not unpacked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum UnpackError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("layer {number} of image {image} cannot be decompressed")]
    Decompress { number: usize, image: Digest, source: io::Error },
    #[error("layer {number} of image {image} is no readable tar archive")]
    Archive { number: usize, image: Digest, source: io::Error },
    #[error("layer {number} of image {image}: {path:?}")]
    Entry { number: usize, image: Digest, path: PathBuf, source: EntryError },
    #[error("layer {number} of image {image} unpacks to {found}, but the configuration has {expected}")]
    DiffId { number: usize, image: Digest, found: Digest, expected: Digest },
    #[error("cannot record the tree's files")]
    List(#[source] VerifyError),
}

/// An unpacked image. While it exists, also in another process, the store keeps it.
#[derive(Debug)]
pub struct Tree {
    folder: PathBuf,
    /// The digest of the list of its files.
    pub digest: Digest,
    _in_use: Lock,
}

#[derive(Debug, Serialize, Deserialize)]
struct Description {
    chain: Digest,
    files: Digest,
}

impl Tree {
    /// The root file system.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.folder.join(ROOTFS)
    }

    /// Compares every file with what was unpacked: type, mode, owner, content, capabilities. Times may differ.
    ///
    /// # Errors
    /// A file differs; the error names the first one. Or the list of files itself was changed.
    pub fn verify(&self) -> Result<(), VerifyError> {
        tree_digest::verify(&self.rootfs(), &self.folder.join(LIST), self.digest)
    }
}

impl Store {
    /// Returns the unpacked image; unpacks it if there is no tree of its layers yet.
    ///
    /// # Errors
    /// The image is missing, damaged, exceeds a limit or has entries that are not permitted.
    pub fn unpack(&self, image: Digest, options: &UnpackOptions) -> Result<Tree, UnpackError> {
        let _store = self.shared_lock()?;
        let record = self.image(image)?;
        record.ok_or_else(|| StoreError::NoImage(image.to_string()))?;
        let (manifest, config) = (self.manifest(image)?, self.config(image)?);
        let chain = chain_id(&config.diff_ids).unwrap_or_else(|| Digest::of(&[]));
        let key = tree_name(chain, options);
        let _tree = self.named_lock(&format!("tree-{key}"))?;
        let folder = self.trees().join(&key);
        if !folder.exists() {
            let layers: Vec<_> = manifest.layers.into_iter().zip(config.diff_ids).collect();
            self.build(image, &layers, chain, options, &folder)?;
        }
        let tree = open(folder, chain)?;
        self.mark_used(image)?;
        Ok(tree)
    }

    fn build(
        &self,
        image: Digest,
        layers: &[(Layer, Digest)],
        chain: Digest,
        options: &UnpackOptions,
        folder: &Path,
    ) -> Result<(), UnpackError> {
        let parent = self.temporary();
        let failed = |source| StoreError::new("write below", &parent, source);
        let temporary = tempfile::Builder::new().prefix("tree-").tempdir_in(&parent).map_err(failed)?;
        let rootfs = temporary.path().join(ROOTFS);
        fs::create_dir(&rootfs).map_err(failed)?;
        fs::set_permissions(&rootfs, Permissions::from_mode(ROOT_MODE)).map_err(failed)?;
        let root = TreeRoot::open_as_root(&rootfs).map_err(failed)?;
        let mut budget = Budget::new(options.limits);
        for (index, (layer, diff_id)) in layers.iter().enumerate() {
            let source = LayerSource { image, number: index + 1, layer: *layer, diff_id: *diff_id };
            self.unpack_layer(&source, &rootfs, &root, options, &mut budget)?;
        }
        let files = tree_digest::record(&rootfs, &temporary.path().join(LIST)).map_err(UnpackError::List)?;
        let description = serde_json::to_vec(&Description { chain, files }).map_err(io::Error::from);
        let written = description.and_then(|text| {
            File::create(temporary.path().join(IN_USE))?;
            service::file::replace(&temporary.path().join(DESCRIPTION), &text, DESCRIPTION_MODE)?;
            // One flush of the file system instead of one for each file.
            nix::unistd::syncfs(File::open(temporary.path())?)?;
            fs::rename(temporary.path(), folder)
        });
        written.map_err(failed)?;
        // It exists under its final name only.
        drop(temporary.keep());
        Ok(sync_folder(&self.trees())?)
    }

    fn unpack_layer(
        &self,
        source: &LayerSource,
        rootfs: &Path,
        root: &TreeRoot,
        options: &UnpackOptions,
        budget: &mut Budget,
    ) -> Result<(), UnpackError> {
        let (image, number) = (source.image, source.number);
        let blob = self.open_blob(source.layer.blob.digest)?;
        let data = self
            .decompression()
            .decoder(source.layer.compression, blob)
            .map_err(|source| UnpackError::Decompress { number, image, source })?;
        // The process that decompresses ends with the thread that started it, which is this one.
        let found = confined::run(rootfs, confined::UNPACKING, || {
            let allowance = Allowance::new(budget.stream_bytes());
            let mut archive = tar::Archive::new(Meter::new(data, &allowance));
            let mut writer = LayerWriter::new(rootfs, root, *options, budget);
            writer.unpack(&mut archive, &allowance)?;
            archive.into_inner().finish().map_err(LayerError::Archive)
        })?;
        let found = found.map_err(|error| match error {
            LayerError::Archive(source) => UnpackError::Archive { number, image, source },
            LayerError::Entry(path, source) => UnpackError::Entry { number, image, path, source },
        })?;
        if found != source.diff_id {
            return Err(UnpackError::DiffId { number, image, found, expected: source.diff_id });
        }
        Ok(())
    }
}

/// A layer of an image, counted from 1.
struct LayerSource {
    image: Digest,
    number: usize,
    layer: Layer,
    diff_id: Digest,
}

/// Other options give another tree.
fn tree_name(chain: Digest, options: &UnpackOptions) -> String {
    let owners = match options.owners {
        Owners::Image => "",
        Owners::Caller => "-caller",
    };
    let devices = match options.devices {
        DeviceNodes::Refuse => "",
        DeviceNodes::Skip => "-no-devices",
        DeviceNodes::Create => "-devices",
    };
    format!("{}{owners}{devices}", chain.hex())
}

fn open(folder: PathBuf, chain: Digest) -> Result<Tree, StoreError> {
    let path = folder.join(IN_USE);
    let in_use = lock::in_use(&path).map_err(|source| StoreError::new("lock", &path, source))?;
    let path = folder.join(DESCRIPTION);
    let text = fs::read(&path).map_err(|source| StoreError::new("read", &path, source))?;
    let description: Description = serde_json::from_slice(&text)
        .map_err(|error| StoreError::Damaged { path: path.clone(), reason: error.to_string() })?;
    if description.chain != chain {
        return Err(StoreError::Damaged { path, reason: "it is of other layers".to_owned() });
    }
    Ok(Tree { folder, digest: description.files, _in_use: in_use })
}
