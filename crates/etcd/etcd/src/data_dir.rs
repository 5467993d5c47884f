//! What is where in the data directory: `member/` of a member, `proxy/` of a proxy, never both.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Nobody else may read what a cluster keeps.
const MODE: u32 = 0o700;

pub fn member(data_dir: &Path) -> PathBuf {
    data_dir.join("member")
}

/// The members that a proxy last knew.
pub fn proxy_file(data_dir: &Path) -> PathBuf {
    data_dir.join("proxy").join("cluster")
}

/// Whether a member lives here: one that has an identity. A start that was cut off before that left nothing.
pub fn has_member(data_dir: &Path) -> bool {
    // An identity that cannot be read is somebody's all the same: the start says what is wrong with it.
    !matches!(etcd_raft::read_identity(&member(data_dir)), Ok(None))
}

/// Makes the directory and those above it.
pub fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(MODE).create(path)
}
