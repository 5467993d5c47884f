//! Partitions of an image that an installation changes.

use disk_slots::gpt::{ImageTable, Partition};

/// Label of the partition for configuration.
pub const OEM: &str = "OEM";
/// Label of the partition with the boot images.
pub const ESP: &str = "EFI-SYSTEM";

/// The partition with this label.
pub fn part<'a>(table: &'a ImageTable, label: &str) -> Option<&'a Partition> {
    table.partitions().iter().find(|part| part.label == label)
}
