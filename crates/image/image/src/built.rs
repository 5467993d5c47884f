//! The result of a build.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::enrolment::SigningKey;
use crate::release::Release;
use crate::tree::TreeError;
use crate::work::{InUse, Work};

/// Files of a build. All paths are in the work folder, which stays locked while this exists, since the next build may
/// remove them.
#[derive(Debug)]
pub struct Built {
    /// The checkout, for `image/`.
    pub checkout: PathBuf,
    /// With its mark.
    pub version: String,
    pub channel: String,
    pub usr_root_hash: String,
    /// The disk image, sparse.
    pub raw: PathBuf,
    pub usr_erofs: PathBuf,
    /// The unified kernel image.
    pub uki: PathBuf,
    /// The kernel, in the folder of its modules.
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    /// What the boot image is signed with.
    pub sign: Option<SigningKey>,
    /// Name and settings of the release.
    pub release: Release,
    /// The node's tree, which contains `usr`.
    pub usr_tree: PathBuf,
    pub tools: PathBuf,
    /// Duration of each step in seconds, in order.
    pub seconds: Vec<(String, f64)>,
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) work: Work,
}

impl Built {
    /// Protects the files from removal by other builds, which may start when this is dropped, while the returned
    /// values exist.
    pub fn in_use(&self) -> Result<Vec<InUse>, TreeError> {
        let files = [&self.raw, &self.usr_erofs].into_iter().filter_map(|file| file.parent());
        let folders = [&self.usr_tree, &self.tools].map(PathBuf::as_path);
        files.chain(folders).map(InUse::new).collect()
    }
}

#[cfg(test)]
impl Built {
    /// A build that contains only a disk.
    pub(crate) fn of_disk(work: &std::path::Path, raw: &std::path::Path) -> Self {
        Self {
            checkout: PathBuf::new(),
            version: "1.0.0".to_owned(),
            channel: "alpha".to_owned(),
            usr_root_hash: String::new(),
            raw: raw.to_path_buf(),
            usr_erofs: PathBuf::new(),
            uki: PathBuf::new(),
            kernel: PathBuf::new(),
            initrd: PathBuf::new(),
            sign: None,
            // invariant: the file is part of the checkout.
            release: Release::read(
                &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../os/release.toml"),
            )
            .unwrap(),
            usr_tree: PathBuf::new(),
            tools: PathBuf::new(),
            seconds: Vec::new(),
            cancel: Arc::default(),
            // invariant: no other process uses the test's folder.
            work: Work::open(work, &AtomicBool::new(false), |_| ()).unwrap(),
        }
    }
}
