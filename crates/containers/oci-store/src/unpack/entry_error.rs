//! Why an entry was refused.

use std::io;
use std::path::PathBuf;

/// Why an entry was refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum EntryError {
    #[error("the path contains `..`")]
    Parent,
    #[error("the path leads out of the tree")]
    Outside,
    #[error("the path has more than 4096 bytes")]
    LongPath,
    #[error("a name in the path has more than 255 bytes")]
    LongName,
    #[error("a name in the path contains a NUL byte")]
    Nul,
    #[error("the path has more than 128 folders")]
    Depth,
    #[error("only a folder can be the root")]
    Root,
    #[error("a link without a target, or with one of more than 4095 bytes")]
    Target,
    #[error("the target of the hard link, {0:?}, is not in the image")]
    HardLink(PathBuf),
    #[error("a device node; images with devices are refused")]
    Device,
    #[error("an entry of type {0:?}; expected a file, folder, link, FIFO or device")]
    Kind(char),
    #[error("a file with holes in the PAX format of GNU tar, which is not supported")]
    Sparse,
    #[error("the content ends after {found} of {expected} bytes")]
    Truncated { found: u64, expected: u64 },
    #[error("the files of the image exceed the limit of bytes")]
    Bytes,
    #[error("the image exceeds the limit of entries")]
    Entries,
    #[error("the names in the image exceed their limit")]
    Names,
    #[error("{0} in its header is no valid number")]
    Number(&'static str),
    #[error("cannot {what} it")]
    System { what: &'static str, source: io::Error },
}

impl EntryError {
    pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
