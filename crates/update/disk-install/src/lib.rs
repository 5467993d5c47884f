//! Writes a disk image to a disk: of a machine that runs this program, or a regular file.
//!
//! All checks come before the first write. The partition table is written last, when everything else is on the disk and
//! was read back: a disk whose installation was interrupted does not boot. Decisions are functions of facts ([`check`]);
//! disks are a trait ([`Target`]), so that tests can cut the power between any two writes.

#![warn(missing_docs)]

mod addon;
mod boot_entry;
mod boot_partition;
mod buffer;
pub mod check;
mod chunk;
mod compare;
mod copy;
mod disk_use;
mod http;
mod image_stream;
mod install;
mod install_error;
mod local;
mod observe;
mod oem;
mod record;
mod release_disk;
mod target;

pub use addon::{ADDON, Architecture, ArgumentError, addon};
pub use boot_entry::{BootEntries, BootEntryError};
pub use boot_partition::{BootPartitionError, write_boot_file};
pub use copy::Phase;
pub use disk_use::{DiskUse, Holder};
pub use http::{FetchError, Fetcher, HttpImage, Retries};
pub use image_stream::{Expected, ImageError, ImageStream, is_raw, verify_file};
pub use install::{Installation, install};
pub use install_error::{FilesError, InstallError};
pub use local::{Key, LocalError, Sidecar, Signature, expected_of, key, signature};
pub use observe::{ObserveError, Observer};
pub use oem::{OEM_FILES, OemError, OemFile, check_files, write_files};
pub use record::{ImageRecord, LiveRecord, RecordError, RecordedDigests};
pub use release_disk::{ReleaseError, Releaser};
pub use target::{DiskTarget, RereadError, Target};
