//! Layout of the data directory: `member/` or `proxy/`, never both.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Only the owner may read the data.
const MODE: u32 = 0o700;

pub fn member(data_dir: &Path) -> PathBuf {
    data_dir.join("member")
}

/// The proxy's saved member list.
pub fn proxy_file(data_dir: &Path) -> PathBuf {
    data_dir.join("proxy").join("cluster")
}

/// Whether there is a member, which is one with an identity. An interrupted first start leaves none.
pub fn has_member(data_dir: &Path) -> bool {
    // An unreadable identity counts: starting reports the error.
    !matches!(etcd_raft::read_identity(&member(data_dir)), Ok(None))
}

/// Creates the directory and its parents.
pub fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(MODE).create(path)
}
