//! The machine's slots as they stand on its disk: looked at, and changed so that a cut at any moment leaves a machine
//! that boots.
//!
//! What is changed is little: the UUIDs of two partitions, in both copies of the partition table, one copy after the
//! other; and files of the boot partition, of which the first sector is written last: the FAT file system has no
//! journal, and half a rename can show a file under a name without its count of tries. Disk and boot partition are
//! arguments, so that the tests can cut them off between any two writes.

mod boot_image;
pub mod carry_out;
mod disk;
mod esp;
pub mod gpt;
pub mod look;
pub mod signed;
mod system;

pub use boot_image::root_hash_of;
pub use disk::{Disk, DiskFile};
pub use esp::{Esp, EspFolder, ReadSeek, SECTOR};
pub use system::{Devices, SystemError, find_devices};
