//! Disk and boot partition contents that an update reads: partition tables, boot images, and their names.

use std::io::{self, Cursor};

use disk_slots::{Disk, gpt, root_hash_of};
use update_core::entry::EntryName;

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "slots",
    about: "a disk gives partitions inside of it or an error; what is changed in its table is read again",
    run,
    seeds,
};

/// A disk in memory.
struct Memory(Vec<u8>);

impl Disk for Memory {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = self.0.get(from..from + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let place = self.0.get_mut(from..from + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

fn run(bytes: &[u8]) {
    // A corrupt image may lack a root hash.
    let _ = root_hash_of(Cursor::new(bytes));
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(name) = EntryName::parse("keelson", text)
    {
        assert_eq!(EntryName::parse("keelson", &name.to_string()), Some(name));
    }
    let mut disk = Memory(repaired(bytes));
    let Ok(table) = gpt::read(&disk) else { return };
    let Some(part) = table.partitions().first().cloned() else { return };
    let uuid = [0x5a; 16];
    if gpt::set_uuids(&mut disk, &table, &[(part.number, uuid)]).is_ok() {
        let again = gpt::read(&disk).map(|table| table.partitions().first().map(|part| part.uuid));
        assert!(matches!(again, Ok(Some(found)) if found == uuid), "{again:?}");
    }
}

/// Recomputes checksums, to reach the code after their check.
fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut disk = bytes.to_vec();
    let place = |disk: &[u8], at: usize| {
        let field = disk.get(at..at + 4).and_then(|field| field.try_into().ok());
        field.map(u32::from_le_bytes).and_then(|number| usize::try_from(number).ok())
    };
    for header in [512_usize, disk.len().saturating_sub(512)] {
        let (Some(at), Some(count), Some(size)) =
            (place(&disk, header + 72), place(&disk, header + 80), place(&disk, header + 84))
        else {
            continue;
        };
        let (begin, length) = (at.saturating_mul(512), count.saturating_mul(size));
        let Some(entries) = disk.get(begin..begin.saturating_add(length)) else { continue };
        let sum = crc32fast::hash(entries).to_le_bytes();
        let Some(fields) = disk.get_mut(header..header + 92) else { continue };
        fields[88..].copy_from_slice(&sum);
        fields[16..20].fill(0);
        let sum = crc32fast::hash(fields).to_le_bytes();
        fields[16..20].copy_from_slice(&sum);
    }
    disk
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![b"keelson_9999.1.0+relocked+2-1.efi".to_vec()];
    let config = ::gpt::GptConfig::new().writable(true);
    let config = config.logical_block_size(::gpt::disk::LogicalBlockSize::Lb512);
    let disk = config.create_from_device(Cursor::new(vec![0; 40 * 1024]), None);
    if let Ok(mut disk) = disk {
        // A failure yields no seed.
        drop(disk.add_partition("USR-B", 1024, ::gpt::partition_types::BASIC, 0, None));
        seeds.extend(disk.write().ok().map(Cursor::into_inner));
    }
    seeds
}
