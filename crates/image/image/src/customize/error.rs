//! Why a file cannot be customized or read.

use std::io;
use std::path::{Path, PathBuf};

use crate::iso_partition::PartitionError;
use crate::tree::TreeError;

/// Bytes of an archive that is appended to an initrd.
pub const MAX_ARCHIVE: usize = 64 << 20;
pub const MAX_FILES: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum CustomizeError {
    #[error("cannot read or write the image file")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error("{0} is neither an ISO image nor the initrd of a live system (image build --format iso,pxe)")]
    Kind(PathBuf),
    #[error("{path} is damaged: {problem}")]
    Damaged { path: PathBuf, problem: String },
    #[error("{0} has no room for a customization: it was built by an earlier version")]
    NoArea(PathBuf),
    #[error("the customization has {has} bytes; the maximum is {max}")]
    Large { has: usize, max: usize },
    #[error("the kernel arguments have {has} bytes; the maximum is {max}")]
    LongArguments { has: usize, max: usize },
    #[error(
        "invalid kernel argument `{0}`: expected printable ASCII characters without spaces, quotes and \\"
    )]
    Argument(String),
    #[error("an initrd has no kernel arguments: {0} belongs to the boot loader's configuration")]
    NoArguments(String),
    #[error("invalid device {0}: expected smallest, or a path such as /dev/sda")]
    Device(String),
    #[error("{0} is neither a regular file nor a folder")]
    NotRegular(PathBuf),
    #[error("two files for {0}")]
    Twice(String),
    #[error("more than {MAX_FILES} files")]
    Many,
    #[error("interrupted")]
    Interrupted,
}

pub fn damaged(path: &Path) -> impl Fn(io::Error) -> CustomizeError + '_ {
    |error| CustomizeError::Damaged { path: path.to_path_buf(), problem: error.to_string() }
}
