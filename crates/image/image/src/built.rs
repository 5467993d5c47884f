//! What comes out of a build.

use std::path::PathBuf;

use crate::release::Release;
use crate::tree::TreeError;
use crate::work::{InUse, Work};

/// What a build left behind; all paths are in the work folder, which is locked for as long as this lives: the next
/// build may clear them.
#[derive(Debug)]
pub struct Built {
    pub version: String,
    pub channel: String,
    pub usr_root_hash: String,
    /// The disk, sparse.
    pub raw: PathBuf,
    pub usr_erofs: PathBuf,
    /// The boot image.
    pub uki: PathBuf,
    /// What the build is called and made for.
    pub release: Release,
    /// The node's tree, with `usr`.
    pub usr_tree: PathBuf,
    /// The tools tree.
    pub tools: PathBuf,
    /// Seconds a step, in order.
    pub seconds: Vec<(String, f64)>,
    pub(crate) _work: Work,
}

impl Built {
    /// Other builds, which go on when this is dropped, clear nothing that it names for as long as what is returned
    /// lives.
    pub fn in_use(&self) -> Result<Vec<InUse>, TreeError> {
        let files = [&self.raw, &self.usr_erofs].into_iter().filter_map(|file| file.parent());
        let folders = [&self.usr_tree, &self.tools].map(PathBuf::as_path);
        files.chain(folders).map(InUse::new).collect()
    }
}

#[cfg(test)]
impl Built {
    /// A build that has made nothing but this disk.
    pub(crate) fn of_disk(work: &std::path::Path, raw: &std::path::Path) -> Self {
        let never = std::sync::atomic::AtomicBool::new(false);
        Self {
            version: "1.0.0".to_owned(),
            channel: "alpha".to_owned(),
            usr_root_hash: String::new(),
            raw: raw.to_path_buf(),
            usr_erofs: PathBuf::new(),
            uki: PathBuf::new(),
            // invariant: the checkout's own.
            release: Release::read(
                &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../os/release.toml"),
            )
            .unwrap(),
            usr_tree: PathBuf::new(),
            tools: PathBuf::new(),
            seconds: Vec::new(),
            // invariant: the folder is the test's own.
            _work: Work::open(work, &never, |_| ()).unwrap(),
        }
    }
}
