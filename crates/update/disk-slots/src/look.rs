//! The disk and the boot partition, seen as [`update_core::slots::Machine`].

use std::io;

use release::Digest;
use update_core::entry::Name;
use update_core::slots::{Entry, Machine, Slot, TEMPORARY};

use crate::boot_image::root_hash_of;
use crate::disk::Disk;
use crate::esp::Esp;
use crate::gpt::{self, Partition, Table};

/// The partitions of the slots, as `image/repart.d` labels them.
const LABELS: [(char, &str, &str); 2] = [('a', "USR-A", "USR-A-verity"), ('b', "USR-B", "USR-B-verity")];

#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Table(#[from] gpt::TableError),
    #[error("the disk has no partition {0}")]
    NoPartition(&'static str),
    #[error("the boot partition cannot be read")]
    Esp(#[source] io::Error),
}

/// The two partitions of a slot: its `/usr` and the hash tree.
pub fn partitions(table: &Table, slot: char) -> Result<[&Partition; 2], LookError> {
    let (_, usr, verity) = LABELS.iter().find(|(name, ..)| *name == slot).unwrap_or(&LABELS[0]);
    let find = |label: &'static str| {
        table.partitions().iter().find(|part| part.label == label).ok_or(LookError::NoPartition(label))
    };
    Ok([find(usr)?, find(verity)?])
}

/// Looks at all of it. `id` is the `id` of os-release, `running` what the machine was booted with.
pub fn look(disk: &impl Disk, esp: &impl Esp, id: &str, running: Digest) -> Result<Machine, LookError> {
    let table = gpt::read(disk)?;
    let slot = |name: char| {
        let [usr, verity] = partitions(&table, name)?;
        Ok::<_, LookError>(Slot {
            name,
            root_hash: gpt::root_hash(usr.uuid, verity.uuid),
            capacity: usr.bytes,
            verity_capacity: verity.bytes,
        })
    };
    let slots = [slot('a')?, slot('b')?];
    let mut entries = Vec::new();
    for file in esp.list().map_err(LookError::Esp)? {
        if let Some(name) = Name::parse(id, &file) {
            let image = esp.open(&file).map_err(LookError::Esp)?;
            let bytes = esp.size(&file).map_err(LookError::Esp)?.unwrap_or(0);
            entries.push(Entry { name, root_hash: root_hash_of(image), bytes });
        }
    }
    entries.sort_by_key(|entry| entry.name.to_string());
    let temporary = esp.size(TEMPORARY).map_err(LookError::Esp)?.unwrap_or(0);
    let esp_free = esp.free().map_err(LookError::Esp)? + temporary;
    Ok(Machine { running, slots, entries, esp_free })
}
