//! Why an installation failed.

use std::io;

use disk_slots::gpt::{ImageTableError, TableError};

use crate::boot_partition::BootPartitionError;
use crate::image_stream::ImageError;
use crate::oem::OemError;

/// Why files cannot be added to an image's partitions.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum FilesError {
    #[error(transparent)]
    Oem(#[from] OemError),
    #[error(transparent)]
    BootPartition(#[from] BootPartitionError),
}

/// Why an installation failed. The disk does not boot, unless the error is [`InstallError::Table`] or
/// [`InstallError::OldTable`].
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum InstallError<F: std::error::Error + 'static> {
    #[error("cannot use the image")]
    ImageTable(#[from] ImageTableError),
    #[error("cannot read the image")]
    Read(#[source] io::Error),
    #[error("the image ends after {0} bytes, and its partition table is for {1}")]
    Short(u64, u64),
    #[error("the image is longer than the {0} bytes that its partition table is for")]
    Long(u64),
    #[error("the image is not the expected one")]
    Unverified(#[source] ImageError),
    #[error("cannot write to the disk")]
    Write(#[source] io::Error),
    #[error("the disk returns other bytes than were written, at byte {0}: it is defective")]
    Defective(u64),
    #[error("cannot add files to the image's partitions")]
    Files(#[source] F),
    #[error("cannot replace the old partition table")]
    OldTable(#[source] TableError),
    #[error("cannot write the partition table")]
    Table(#[from] TableError),
}
