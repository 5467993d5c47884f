//! The slots on a machine's disk: reading their state, and changing it such that the machine boots after a power cut
//! at any moment.
//!
//! Changes are small: the UUIDs of two partitions, in one copy of the partition table after the other, and files in
//! the boot partition, whose first sector is written last. FAT has no journal: an interrupted rename can leave a file
//! under a name without its tries. Disk and boot partition are traits, so that tests can cut the power between any
//! two writes.

#![warn(missing_docs)]

mod boot_image;
mod disk;
mod esp;
pub mod execute;
pub mod gpt;
pub mod inspect;
pub mod secure_boot;
mod system;

pub use boot_image::root_hash_of;
pub use disk::{Disk, DiskFile};
pub use esp::{Esp, EspFolder, ReadSeek, SECTOR};
pub use system::{Devices, SystemError, find_devices};
