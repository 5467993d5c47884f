//! Finds the disk with `/usr` and its partitions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use disk_slots::{Disk, DiskFile, gpt};
use release::Digest;

/// The label of the root partition, from `os/rootfs/usr/lib/repart.d`.
const ROOT_LABEL: &str = "ROOT";
/// systemd-repart leaves less than this after the last partition: it aligns to 4 KiB, and the backup GPT is
/// there.
const MIN_FREE_BYTES: u64 = 4 << 20;

/// The block devices of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices {
    pub usr: PathBuf,
    /// The hash tree of `usr`.
    pub verity: PathBuf,
    /// `None` before the first boot.
    pub root: Option<PathBuf>,
    /// Whether there is free space after the last partition: the disk is larger than the image, or has grown.
    pub has_free_space: bool,
}

/// Searches the disks of `/sys` below `system` for the partitions that `root_hash` identifies. Removable disks come
/// last: the medium from which this version was installed may still be attached.
pub fn find(system: &Path, root_hash: Digest) -> Option<Devices> {
    let folder = system.join("sys/block");
    let is_removable = |disk: &str| {
        fs::read_to_string(folder.join(disk).join("removable")).is_ok_and(|value| value.trim() == "1")
    };
    let mut disks = names(&folder);
    disks.sort_by_cached_key(|disk| (is_removable(disk), disk.clone()));
    disks.iter().find_map(|disk| devices_of(system, disk, root_hash))
}

/// The partitions that `root_hash` identifies on `disk`, the name of a block device.
pub fn devices_of(system: &Path, disk: &str, root_hash: Digest) -> Option<Devices> {
    let device = |name: &str| system.join("dev").join(name);
    // An optical drive without a disc cannot be opened; a disk without a GPT is not ours.
    let file = DiskFile::read_only(&device(disk)).ok()?;
    let table = gpt::read(&file).ok()?;
    let partitions = table.partitions();
    let device_of = |number: u32| {
        let folder = system.join("sys/block").join(disk);
        let is_partition = |name: &String| {
            let text = fs::read_to_string(folder.join(name).join("partition")).unwrap_or_default();
            text.trim().parse() == Ok(number)
        };
        names(&folder).into_iter().find(is_partition).map(|name| device(&name))
    };
    let by_uuid = |uuid: gpt::Uuid| {
        let found = partitions.iter().find(|partition| partition.uuid == uuid)?;
        device_of(found.number)
    };
    let [usr, verity] = gpt::uuids(root_hash).map(by_uuid);
    let root = partitions.iter().find(|partition| partition.label == ROOT_LABEL);
    let end = partitions.iter().map(|partition| partition.offset + partition.bytes).max()?;
    Some(Devices {
        usr: usr?,
        verity: verity?,
        root: root.and_then(|partition| device_of(partition.number)),
        has_free_space: file.length().ok()? > end + MIN_FREE_BYTES,
    })
}

/// Whether an ext4 file system ends before its partition does: it was not grown yet.
pub fn is_smaller_than_partition(partition: &Path) -> io::Result<bool> {
    let file = DiskFile::read_only(partition)?;
    let mut superblock = [0; 1024];
    file.read_at(&mut superblock, 1024)?;
    let field = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| superblock[at + byte]));
    // s_blocks_count_lo, s_blocks_count_hi, s_log_block_size (Documentation/filesystems/ext4/super.rst).
    let blocks = u64::from(field(0x4)) | u64::from(field(0x150)) << 32;
    let block_bytes = 1024_u64.checked_shl(field(0x18)).ok_or(io::ErrorKind::InvalidData)?;
    Ok(file.length()? >= blocks.saturating_add(1).saturating_mul(block_bytes))
}

/// Nothing where there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use tempfile::TempDir;

    use super::*;

    const MIB: u64 = 1 << 20;
    const HASH: Digest = Digest(*b"the first half..the second half.");
    const OTHER: Digest = Digest([8; 32]);

    /// `/dev` and `/sys` of a machine.
    struct Machine(TempDir);

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("dev")).unwrap();
            Self(folder)
        }

        /// A disk whose slot holds `root_hash`; `labels` are further partitions of 1 MiB.
        fn disk(self, name: &str, root_hash: Digest, labels: &[&str], mib: u64) -> Self {
            let device = self.0.path().join("dev").join(name);
            let file = File::options().read(true).write(true).create_new(true).open(&device).unwrap();
            file.set_len(mib * MIB).unwrap();
            let mut table = ::gpt::GptConfig::new().writable(true).create_from_device(file, None).unwrap();
            for label in ["USR-A", "USR-A-verity"].iter().chain(labels) {
                table.add_partition(label, MIB, ::gpt::partition_types::BASIC, 0, None).unwrap();
            }
            table.write().unwrap();
            let mut disk = DiskFile::open(&device).unwrap();
            let [usr, verity] = gpt::uuids(root_hash);
            let table = gpt::read(&disk).unwrap();
            gpt::set_uuids(&mut disk, &table, &[(1, usr), (2, verity)]).unwrap();
            for number in 1..=2 + labels.len() {
                let folder = self.0.path().join(format!("sys/block/{name}/{name}{number}"));
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("partition"), format!("{number}\n")).unwrap();
            }
            self
        }

        /// The names of `usr`, `verity` and `root`, and whether there is room.
        fn check(&self, expected: Option<(&str, &str, Option<&str>, bool)>) {
            let device = |name: &str| self.0.path().join("dev").join(name);
            let expected = expected.map(|(usr, verity, root, has_free_space)| Devices {
                usr: device(usr),
                verity: device(verity),
                root: root.map(device),
                has_free_space,
            });
            assert_eq!(find(self.0.path(), HASH), expected);
        }
    }

    #[test]
    fn slot_is_found_by_its_root_hash() {
        let two = Machine::new().disk("vda", OTHER, &["ROOT"], 5).disk("vdb", HASH, &["OEM", "ROOT"], 6);
        two.check(Some(("vdb1", "vdb2", Some("vdb4"), false)));
        Machine::new().check(None);
        Machine::new().disk("vda", OTHER, &["ROOT"], 5).check(None);
    }

    #[test]
    fn root_file_system_is_on_the_same_disk() {
        let two = Machine::new().disk("vda", OTHER, &["ROOT"], 5).disk("vdb", HASH, &["OEM"], 5);
        two.check(Some(("vdb1", "vdb2", None, false)));
    }

    #[test]
    fn removable_disk_of_the_same_version_is_the_last_choice() {
        let two = Machine::new().disk("sda", HASH, &["ROOT"], 5).disk("vda", HASH, &["ROOT"], 5);
        two.check(Some(("sda1", "sda2", Some("sda3"), false)));
        fs::write(two.0.path().join("sys/block/sda/removable"), "1\n").unwrap();
        two.check(Some(("vda1", "vda2", Some("vda3"), false)));
    }

    #[test]
    fn grown_disk_has_free_space() {
        Machine::new().disk("vda", HASH, &["ROOT"], 60).check(Some(("vda1", "vda2", Some("vda3"), true)));
    }

    #[test]
    fn disk_without_a_table_is_skipped() {
        let machine = Machine::new().disk("vdb", HASH, &["ROOT"], 5);
        fs::write(machine.0.path().join("dev/vda"), [0; 4096]).unwrap();
        fs::create_dir_all(machine.0.path().join("sys/block/vda")).unwrap();
        fs::create_dir_all(machine.0.path().join("sys/block/sr0")).unwrap();
        machine.check(Some(("vdb1", "vdb2", Some("vdb3"), false)));
    }

    #[test]
    fn ungrown_file_system_is_detected() {
        let check = |blocks: u64, log_block_bytes: u32, partition: u64, expected: bool| {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(partition).unwrap();
            let write = |at: u64, value: u32| {
                file.as_file().write_all_at(&value.to_le_bytes(), 1024 + at).unwrap();
            };
            write(0x18, log_block_bytes);
            write(0x4, u32::try_from(blocks & 0xffff_ffff).unwrap());
            write(0x150, u32::try_from(blocks >> 32).unwrap());
            assert_eq!(is_smaller_than_partition(file.path()).unwrap(), expected, "{blocks} {partition}");
        };
        check(256, 2, 256 * 4096, false);
        check(256, 2, 256 * 4096 + 4095, false);
        check(256, 2, 257 * 4096, true);
        check(1 << 32, 0, (1 << 42) + 1023, false);
        check(1 << 32, 0, (1 << 42) + 1024, true);
    }
}
