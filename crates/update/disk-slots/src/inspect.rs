//! Reads the state of slots and boot entries: [`update_core::slots::BootState`].

use std::io;

use release::Digest;
use update_core::entry::EntryName;
use update_core::slots::{BootState, Entry, Slot, TEMPORARY};

use crate::boot_image::root_hash_of;
use crate::disk::Disk;
use crate::esp::Esp;
use crate::gpt::{self, Partition, Table};

/// Labels of the slots' partitions, as in `image/repart.d`.
const LABELS: [(char, &str, &str); 2] = [('a', "USR-A", "USR-A-verity"), ('b', "USR-B", "USR-B-verity")];

/// Why the state of the slots is unknown.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum InspectError {
    #[error(transparent)]
    Table(#[from] gpt::TableError),
    #[error("the disk has no partition {0}")]
    NoPartition(&'static str),
    #[error("cannot read the boot partition")]
    Esp(#[source] io::Error),
}

/// The partitions of a slot: `/usr` and its hash tree.
pub fn partitions(table: &Table, slot: char) -> Result<[&Partition; 2], InspectError> {
    let (_, usr, verity) = LABELS.iter().find(|(name, ..)| *name == slot).unwrap_or(&LABELS[0]);
    let find = |label: &'static str| {
        table.partitions().iter().find(|part| part.label == label).ok_or(InspectError::NoPartition(label))
    };
    Ok([find(usr)?, find(verity)?])
}

/// Reads the state. `id` is `ID` of os-release, `running` the root hash of the running version.
pub fn inspect(
    disk: &impl Disk,
    esp: &impl Esp,
    id: &str,
    running: Digest,
) -> Result<BootState, InspectError> {
    let table = gpt::read(disk)?;
    let slot = |name: char| {
        let [usr, verity] = partitions(&table, name)?;
        Ok::<_, InspectError>(Slot {
            name,
            root_hash: gpt::root_hash(usr.uuid, verity.uuid),
            capacity: usr.bytes,
            verity_capacity: verity.bytes,
        })
    };
    let slots = [slot('a')?, slot('b')?];
    let mut entries = Vec::new();
    for file in esp.list().map_err(InspectError::Esp)? {
        if let Some(name) = EntryName::parse(id, &file) {
            let image = esp.open(&file).map_err(InspectError::Esp)?;
            let bytes = esp.size(&file).map_err(InspectError::Esp)?.unwrap_or(0);
            entries.push(Entry { name, root_hash: root_hash_of(image), bytes });
        }
    }
    entries.sort_by_key(|entry| entry.name.to_string());
    let temporary = esp.size(TEMPORARY).map_err(InspectError::Esp)?.unwrap_or(0);
    let esp_free = esp.free().map_err(InspectError::Esp)? + temporary;
    Ok(BootState { running, slots, entries, esp_free })
}
