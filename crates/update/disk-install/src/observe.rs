//! Observes disks in sysfs and the kernel's tables of mounts and swap spaces.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use disk_slots::find_devices;

use crate::check::{DiskFacts, Kind, SECTOR};
use crate::disk_use::{DiskUse, Holder};

/// sysfs counts in these, whatever the device's sectors are.
const SYSFS_SECTOR: u64 = 512;

/// Devices on devices that are followed: LVM on an encrypted volume on RAID has three.
const MOST_HOLDERS: usize = 8;

/// Why a target is unknown.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ObserveError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} in sysfs has {text:?} instead of a number")]
    Number { path: PathBuf, text: String },
}

/// The machine's tables, read once.
#[derive(Debug)]
pub struct Observer {
    root: PathBuf,
    mounts: String,
    swaps: String,
    /// Kernel's name of the disk with `/usr`.
    running: Option<String>,
}

impl Observer {
    /// Reads `/proc` and `/sys` below `root`.
    ///
    /// # Errors
    /// The table of mounts cannot be read.
    pub fn new(root: &Path) -> Result<Self, ObserveError> {
        let mounts = read(&root.join("proc/self/mountinfo"))?;
        // The file does not exist in a kernel without swap.
        let swaps = fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
        // A machine that was not booted from a slot, such as a live system, has none.
        let disk = find_devices(root).ok().map(|devices| devices.disk);
        let running =
            disk.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        Ok(Self { root: root.to_owned(), mounts, swaps, running })
    }

    /// Facts about the target at `path`, a device or a regular file.
    ///
    /// # Errors
    /// It does not exist, or sysfs has no valid entry for it.
    pub fn target(&self, path: &Path) -> Result<DiskFacts, ObserveError> {
        let unreadable = |source| ObserveError::Read { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.file_type().is_block_device() {
            let (major, minor) =
                (nix::sys::stat::major(metadata.rdev()), nix::sys::stat::minor(metadata.rdev()));
            let mut facts = self.device(major, minor)?;
            facts.path = path.to_owned();
            facts.read_only |= !is_writable(path);
            return Ok(facts);
        }
        let kind = if metadata.is_file() { Kind::File } else { Kind::Other("no block device".to_owned()) };
        let full = fs::canonicalize(path).map_err(unreadable)?;
        Ok(DiskFacts {
            path: path.to_owned(),
            name: path.display().to_string(),
            kind,
            bytes: metadata.len(),
            sector: SECTOR,
            major: 0,
            read_only: !is_writable(path),
            runs_system: false,
            uses: self.loops_of(&full),
        })
    }

    /// Facts about all disks.
    ///
    /// # Errors
    /// sysfs cannot be read.
    pub fn disks(&self) -> Result<Vec<DiskFacts>, ObserveError> {
        let mut disks = Vec::new();
        for name in list(&self.blocks())? {
            disks.push(self.disk(&self.blocks().join(&name), &name)?);
        }
        Ok(disks)
    }

    fn blocks(&self) -> PathBuf {
        self.root.join("sys/block")
    }

    /// Facts about a device by its number.
    fn device(&self, major: u64, minor: u64) -> Result<DiskFacts, ObserveError> {
        let link = self.root.join(format!("sys/dev/block/{major}:{minor}"));
        let folder = fs::canonicalize(&link).map_err(|source| ObserveError::Read { path: link, source })?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.disk(&folder, &name)
    }

    fn disk(&self, folder: &Path, name: &str) -> Result<DiskFacts, ObserveError> {
        let is_partition = folder.join("partition").exists();
        // A partition has no queue of its own.
        let sector =
            if is_partition { u64::from(SECTOR) } else { number(&folder.join("queue/logical_block_size"))? };
        let device = read(&folder.join("dev"))?;
        let major = device.trim().split(':').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        let mut uses = Vec::new();
        for part in self.partitions(folder, name)? {
            self.uses_of(&part, &mut uses, 0)?;
        }
        Ok(DiskFacts {
            path: self.root.join("dev").join(name),
            name: name.to_owned(),
            kind: if is_partition { Kind::Other("partition".to_owned()) } else { kind(folder, name) },
            bytes: number(&folder.join("size"))?.saturating_mul(SYSFS_SECTOR),
            sector: u32::try_from(sector).unwrap_or(u32::MAX),
            major,
            read_only: number(&folder.join("ro"))? != 0,
            runs_system: self.running.as_deref() == Some(name),
            uses,
        })
    }

    /// The device itself and its partitions.
    fn partitions(&self, folder: &Path, name: &str) -> Result<Vec<BlockDevice>, ObserveError> {
        let mut devices = vec![BlockDevice { name: name.to_owned(), folder: folder.to_owned() }];
        for entry in list(folder)? {
            let part = folder.join(&entry);
            if part.join("partition").exists() {
                devices.push(BlockDevice { name: entry, folder: part });
            }
        }
        Ok(devices)
    }

    /// `depth`: the number of devices below this one.
    fn uses_of(
        &self,
        device: &BlockDevice,
        uses: &mut Vec<DiskUse>,
        depth: usize,
    ) -> Result<(), ObserveError> {
        let path = format!("/dev/{}", device.name);
        let number = read(&device.folder.join("dev"))?;
        let at = |line: &str| {
            let fields: Vec<_> = line.split(' ').collect();
            let by_number = fields.get(2) == Some(&number.trim());
            // btrfs has a number of its own for each subvolume.
            let source = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').nth(1));
            let mounted = by_number || source == Some(&*path);
            mounted.then(|| unescape(fields.get(4).unwrap_or(&"")))
        };
        let folders = self.mounts.lines().filter_map(at);
        uses.extend(folders.map(|folder| DiskUse::Mounted { device: path.clone(), folder }));
        if self.swaps.lines().any(|line| line.split_ascii_whitespace().next() == Some(&*path)) {
            uses.push(DiskUse::Swap { device: path.clone() });
        }
        let holders = device.folder.join("holders");
        for name in if holders.exists() { list(&holders)? } else { Vec::new() } {
            let held = DiskUse::Held { device: path.clone(), holder: self.holder(&name) };
            uses.push(held);
            // What uses the holder, after it. A holder may have disappeared meanwhile.
            let folder = self.blocks().join(&name);
            if depth < MOST_HOLDERS && folder.join("dev").exists() {
                for part in self.partitions(&folder, &name)? {
                    self.uses_of(&part, uses, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn holder(&self, name: &str) -> Holder {
        let folder = self.blocks().join(name);
        let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default().trim().to_owned();
        let (mapped, uuid) = (text("dm/name"), text("dm/uuid"));
        match uuid.split('-').next().unwrap_or_default() {
            _ if name.starts_with("md") => Holder::Raid(name.to_owned()),
            _ if mapped.is_empty() => Holder::Other(name.to_owned()),
            "LVM" => Holder::LogicalVolume(mapped),
            "CRYPT" => Holder::Encrypted(mapped),
            "mpath" => Holder::Multipath(mapped),
            _ => Holder::Mapped(mapped),
        }
    }

    /// Loop devices with this backing file.
    fn loops_of(&self, file: &Path) -> Vec<DiskUse> {
        let backed = |name: &String| {
            let backing = fs::read_to_string(self.blocks().join(name).join("loop/backing_file"));
            backing.is_ok_and(|backing| Path::new(backing.trim_end_matches('\n')) == file)
        };
        let names = list(&self.blocks()).unwrap_or_default();
        let held = |name| DiskUse::Held { device: file.display().to_string(), holder: Holder::Loop(name) };
        names.into_iter().filter(backed).map(held).collect()
    }
}

struct BlockDevice {
    name: String,
    folder: PathBuf,
}

/// Whether this process may write to it, by its user and groups.
fn is_writable(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok()
}

fn kind(folder: &Path, name: &str) -> Kind {
    let uuid = fs::read_to_string(folder.join("dm/uuid")).unwrap_or_default();
    let digits = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match () {
        () if uuid.starts_with("LVM-") => Kind::LogicalVolume,
        () if uuid.starts_with("mpath-") => Kind::Multipath,
        () if folder.join("dm").exists() => Kind::Other("a mapped device".to_owned()),
        () if folder.join("md").exists() => Kind::Other("a RAID array".to_owned()),
        () if digits("sr") => Kind::Other("an optical drive".to_owned()),
        () if digits("zram") || digits("ram") => Kind::Other("memory".to_owned()),
        () if digits("loop") => Kind::Loop,
        () => Kind::Disk,
    }
}

fn read(path: &Path) -> Result<String, ObserveError> {
    fs::read_to_string(path).map_err(|source| ObserveError::Read { path: path.to_owned(), source })
}

fn number(path: &Path) -> Result<u64, ObserveError> {
    let text = read(path)?;
    text.trim()
        .parse()
        .map_err(|_| ObserveError::Number { path: path.to_owned(), text: text.trim().to_owned() })
}

/// Sorted names.
fn list(folder: &Path) -> Result<Vec<String>, ObserveError> {
    let names = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>());
    let names = names.map_err(|source| ObserveError::Read { path: folder.to_owned(), source })?;
    let mut names: Vec<_> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// The kernel writes blanks in mount points as octal numbers.
fn unescape(text: &str) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(mounts: &str) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            machine.put("proc/self/mountinfo", mounts);
            machine.put("proc/cmdline", "quiet\n");
            machine
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn disk(&self, name: &str, number: &str, parts: &[(&str, &str)]) {
            let folder = format!("sys/block/{name}");
            self.put(&format!("{folder}/dev"), &format!("{number}\n"));
            self.put(&format!("{folder}/size"), "41943040\n");
            self.put(&format!("{folder}/ro"), "0\n");
            self.put(&format!("{folder}/queue/logical_block_size"), "512\n");
            for (part, number) in parts {
                self.put(&format!("{folder}/{part}/partition"), "1\n");
                self.put(&format!("{folder}/{part}/dev"), &format!("{number}\n"));
            }
        }

        fn disks(&self) -> Vec<DiskFacts> {
            Observer::new(self.0.path()).unwrap().disks().unwrap()
        }
    }

    #[test]
    fn uses_of_a_disk_and_its_partitions_are_found() {
        let mounts = "22 1 8:1 / /mnt/my\\040disk rw - ext4 /dev/sda1 rw\n\
                      23 1 0:44 /sub /data rw - btrfs /dev/sda4 rw\n\
                      24 1 8:17 / /other rw - ext4 /dev/sdb1 rw\n\
                      25 1 8:161 / /not rw - ext4 /dev/sda11 rw\n";
        let machine = Machine::new(mounts);
        let parts = [("sda1", "8:1"), ("sda2", "8:2"), ("sda3", "8:3"), ("sda4", "8:4")];
        machine.disk("sda", "8:0", &parts);
        machine.disk("sdb", "8:16", &[("sdb1", "8:17")]);
        machine.put("proc/swaps", "Filename Type Size\n/dev/sda2 partition 8 0 -2\n/swapfile file 8 0 -3\n");
        machine.put("sys/block/sda/sda3/holders/dm-0/x", "");
        machine.put("sys/block/sda/sda3/holders/md127/x", "");
        machine.disk("dm-0", "253:0", &[]);
        machine.put("sys/block/dm-0/dm/name", "group-root\n");
        machine.put("sys/block/dm-0/dm/uuid", "LVM-abc\n");
        let disks = machine.disks();
        let sda = disks.iter().find(|disk| disk.name == "sda").unwrap();
        let uses: Vec<_> = sda.uses.iter().map(ToString::to_string).collect();
        assert_eq!(
            uses,
            [
                "/dev/sda1 is mounted at /mnt/my disk (to free it: umount '/mnt/my disk')",
                "/dev/sda2 is used as swap space (to free it: swapoff /dev/sda2)",
                "/dev/sda3 is part of the logical volume group-root (to free it: vgchange -an group)",
                "/dev/sda3 is part of the RAID array md127 (to free it: mdadm --stop /dev/md127)",
                "/dev/sda4 is mounted at /data (to free it: umount /data)",
            ]
        );
        assert_eq!((sda.bytes, sda.major, sda.sector), (20 << 30, 8, 512));
        let sdb = disks.iter().find(|disk| disk.name == "sdb").unwrap();
        assert_eq!(sdb.uses.len(), 1);
        // A file system on a volume, and swap space on a partition of an array.
        machine.put("proc/self/mountinfo", "26 1 253:0 / /srv rw - ext4 /dev/mapper/group-root rw\n");
        machine.put("proc/swaps", "Filename Type Size\n/dev/md127p1 partition 8 0 -2\n");
        machine.disk("md127", "9:127", &[("md127p1", "259:0")]);
        let uses: Vec<_> = machine.disks().into_iter().find(|disk| disk.name == "sda").unwrap().uses;
        let uses: Vec<_> = uses.iter().map(ToString::to_string).collect();
        assert_eq!(
            uses,
            [
                "/dev/sda3 is part of the logical volume group-root (to free it: vgchange -an group)",
                "/dev/dm-0 is mounted at /srv (to free it: umount /srv)",
                "/dev/sda3 is part of the RAID array md127 (to free it: mdadm --stop /dev/md127)",
                "/dev/md127p1 is used as swap space (to free it: swapoff /dev/md127p1)",
            ]
        );
    }

    #[test]
    fn kinds_are_recognized() {
        let machine = Machine::new("");
        for (name, number) in
            [("loop0", "7:0"), ("sr0", "11:0"), ("dm-1", "253:1"), ("vda", "252:0"), ("md0", "9:0")]
        {
            machine.disk(name, number, &[]);
        }
        machine.put("sys/block/dm-1/dm/uuid", "CRYPT-x\n");
        machine.put("sys/block/md0/md/level", "raid1\n");
        let kinds: Vec<_> = machine.disks().into_iter().map(|disk| (disk.name, disk.kind)).collect();
        let other = |kind: &str| Kind::Other(kind.to_owned());
        let expected = [
            ("dm-1", other("a mapped device")),
            ("loop0", Kind::Loop),
            ("md0", other("a RAID array")),
            ("sr0", other("an optical drive")),
            ("vda", Kind::Disk),
        ];
        assert_eq!(kinds, expected.map(|(name, kind)| (name.to_owned(), kind)));
    }

    #[test]
    fn the_disk_of_the_running_system_is_known() {
        let machine = Machine::new("");
        machine.put("proc/cmdline", &format!("usrhash={}\n", "ab".repeat(32)));
        machine.disk("vda", "252:0", &[("vda2", "252:2")]);
        machine.disk("vdb", "252:16", &[]);
        machine.disk("dm-0", "253:0", &[]);
        machine.put("sys/block/dm-0/dm/name", "usr\n");
        machine.put("sys/block/dm-0/slaves/vda2/x", "");
        let running: Vec<_> = machine.disks().into_iter().filter(|disk| disk.runs_system).collect();
        assert_eq!(running.len(), 1);
        assert_eq!(running[0].name, "vda");
    }

    #[test]
    fn a_file_is_a_target_unless_a_loop_device_has_it() {
        let machine = Machine::new("");
        machine.disk("loop3", "7:3", &[]);
        let file = fs::canonicalize(machine.0.path()).unwrap().join("disk");
        fs::write(&file, "12345").unwrap();
        let facts = || Observer::new(machine.0.path()).unwrap().target(&file).unwrap();
        assert_eq!((facts().kind, facts().bytes, facts().uses.len()), (Kind::File, 5, 0));
        machine.put("sys/block/loop3/loop/backing_file", &format!("{}\n", file.display()));
        assert!(facts().uses[0].to_string().ends_with("(to free it: losetup -d /dev/loop3)"));
        let folder = Observer::new(machine.0.path()).unwrap().target(machine.0.path()).unwrap();
        assert!(matches!(folder.kind, Kind::Other(_)));
        let missing = Observer::new(machine.0.path()).unwrap().target(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read /nonexistent");
    }
}
