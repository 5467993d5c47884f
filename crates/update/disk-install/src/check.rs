//! Whether an image may be written to a disk: decided from facts, before the first write.

use std::path::PathBuf;

use disk_slots::gpt::Partition;

use crate::disk_use::DiskUse;

/// The only size of logical sectors that the image's partition table and boot loader are laid out for.
pub const SECTOR: u32 = 512;
/// Smallest ROOT partition, as in `os/rootfs/usr/lib/repart.d/50-root.conf`, and its alignment.
const ROOT: u64 = (512 << 20) + (1 << 20);
const ROOT_LABEL: &str = "ROOT";
/// `-s` ignores disks that are not larger.
const SMALLEST: u64 = 10_000_000_000;

/// What a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A whole disk.
    Disk,
    /// A loop device.
    Loop,
    /// A logical volume, as the disk of a virtual machine.
    LogicalVolume,
    /// A disk with several paths.
    Multipath,
    /// A regular file.
    File,
    /// Anything else, such as a partition.
    Other(String),
}

/// Facts about a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// As the caller names it.
    pub path: PathBuf,
    /// The kernel's name: `vda`; the path for a file.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Size.
    pub bytes: u64,
    /// Bytes of a logical sector.
    pub sector: u32,
    /// The kernel's number of its driver; 0 for a file.
    pub major: u32,
    /// Whether the device, or the file, refuses writes.
    pub read_only: bool,
    /// Whether the running system is on it.
    pub runs_system: bool,
    /// What it, and its partitions, are used for.
    pub uses: Vec<DiskUse>,
}

/// Why a disk is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Refusal {
    #[error("Target block device ({path}) is not a full disk.")]
    NotWhole { path: PathBuf },
    #[error("Target block device ({path}) is not writable (are you root?)")]
    NotWritable { path: PathBuf },
    #[error("Target block device ({path}) is the disk that the running system is on.")]
    RunsSystem { path: PathBuf },
    #[error("Target block device ({path}) is in use: {}.", list(.uses))]
    InUse { path: PathBuf, uses: Vec<DiskUse> },
    #[error(
        "Target block device ({path}) has logical sectors of {sector} bytes: the image's partition table is for \
         {SECTOR}. Format the disk to sectors of {SECTOR} bytes (nvme format, sg_format), or use another one."
    )]
    Sector { path: PathBuf, sector: u32 },
    #[error(
        "Target block device ({path}) is too small: it has {present} bytes, and the system needs {needed}."
    )]
    Small { path: PathBuf, needed: u64, present: u64 },
    #[error(
        "Target block device ({path}) has too little space beside the partitions that are kept: ROOT needs {needed} bytes \
         in one piece, and there are {present}."
    )]
    NoRoot { path: PathBuf, needed: u64, present: u64 },
}

fn list(uses: &[DiskUse]) -> String {
    uses.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Bytes that a target needs for an image whose partitions take `image`. A disk also needs the ROOT partition, which
/// the first boot creates; a file can still grow.
#[must_use]
pub fn needed_bytes(kind: &Kind, image: u64) -> u64 {
    if *kind == Kind::File { image } else { image.saturating_add(ROOT) }
}

/// All reasons against writing to the disk, but its size.
pub fn check(facts: &DiskFacts) -> Vec<Refusal> {
    let path = || facts.path.clone();
    let mut refusals = Vec::new();
    if matches!(facts.kind, Kind::Other(_)) {
        refusals.push(Refusal::NotWhole { path: path() });
    }
    if facts.read_only {
        refusals.push(Refusal::NotWritable { path: path() });
    }
    if facts.runs_system {
        refusals.push(Refusal::RunsSystem { path: path() });
    }
    if !facts.uses.is_empty() {
        refusals.push(Refusal::InUse { path: path(), uses: facts.uses.clone() });
    }
    if facts.sector != SECTOR {
        refusals.push(Refusal::Sector { path: path(), sector: facts.sector });
    }
    refusals
}

/// Fails if an image whose partitions take `image` bytes does not fit.
pub fn check_size(facts: &DiskFacts, image: u64) -> Result<(), Refusal> {
    let needed = needed_bytes(&facts.kind, image);
    if facts.bytes < needed {
        return Err(Refusal::Small { path: facts.path.clone(), needed, present: facts.bytes });
    }
    Ok(())
}

/// Fails if the first boot finds no space for ROOT between the image, whose partitions take `image` bytes, and the partitions
/// that are kept. Of these one may be ROOT itself.
pub fn check_root(facts: &DiskFacts, image: u64, kept: &[Partition]) -> Result<(), Refusal> {
    if kept.is_empty() || kept.iter().any(|part| part.label == ROOT_LABEL) {
        return Ok(());
    }
    let mut kept: Vec<_> =
        kept.iter().map(|part| (part.offset, part.offset.saturating_add(part.bytes))).collect();
    kept.sort_unstable();
    let (mut at, mut present) = (image, 0);
    for (start, after) in kept.into_iter().chain([(facts.bytes, facts.bytes)]) {
        present = present.max(start.saturating_sub(at));
        at = at.max(after);
    }
    if present < ROOT {
        return Err(Refusal::NoRoot { path: facts.path.clone(), needed: ROOT, present });
    }
    Ok(())
}

/// Which disks `-s` may select, by the major numbers of their drivers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Majors {
    /// Only these; all if empty.
    pub include: Vec<u32>,
    /// Not these.
    pub exclude: Vec<u32>,
}

/// The smallest disk that is unused, writable and large enough; of several the first by name.
#[must_use]
pub fn smallest_unused<'a>(disks: &'a [DiskFacts], majors: &Majors) -> Option<&'a DiskFacts> {
    let wanted = |disk: &&DiskFacts| {
        let included = majors.include.is_empty() || majors.include.contains(&disk.major);
        included && !majors.exclude.contains(&disk.major) && disk.bytes > SMALLEST && check(disk).is_empty()
    };
    disks.iter().filter(wanted).min_by(|a, b| (a.bytes, &a.name).cmp(&(b.bytes, &b.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disk(name: &str, bytes: u64, major: u32) -> DiskFacts {
        DiskFacts {
            path: format!("/dev/{name}").into(),
            name: name.to_owned(),
            kind: Kind::Disk,
            bytes,
            sector: 512,
            major,
            read_only: false,
            runs_system: false,
            uses: Vec::new(),
        }
    }

    fn texts(facts: &DiskFacts) -> Vec<String> {
        check(facts).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_reason_is_reported() {
        let good = disk("sda", 20 * GIB, 8);
        assert!(texts(&good).is_empty());
        for kind in [Kind::Loop, Kind::LogicalVolume, Kind::Multipath, Kind::File] {
            assert!(texts(&DiskFacts { kind, ..good.clone() }).is_empty());
        }
        let swap = DiskUse::Swap { device: "/dev/sda2".into() };
        let bad = DiskFacts {
            kind: Kind::Other("partition".into()),
            read_only: true,
            runs_system: true,
            sector: 4096,
            uses: vec![swap.clone(), swap],
            ..good
        };
        let found = texts(&bad);
        assert_eq!(found[0], "Target block device (/dev/sda) is not a full disk.");
        assert_eq!(found[1], "Target block device (/dev/sda) is not writable (are you root?)");
        assert!(found[2].ends_with("is the disk that the running system is on."));
        let use_of_swap = "/dev/sda2 is used as swap space (to free it: swapoff /dev/sda2)";
        assert!(found[3].ends_with(&format!("is in use: {use_of_swap}; {use_of_swap}.")), "{}", found[3]);
        assert!(found[4].contains("sectors of 4096 bytes"), "{}", found[4]);
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn a_disk_needs_space_for_root_and_a_file_does_not() {
        let image = 2 * GIB;
        let needed = image + (513 << 20);
        let small = check_size(&disk("sda", needed - 1, 8), image).unwrap_err().to_string();
        assert!(
            small.contains(&format!("has {} bytes, and the system needs {needed}", needed - 1)),
            "{small}"
        );
        check_size(&disk("sda", needed, 8), image).unwrap();
        check_size(&DiskFacts { kind: Kind::File, ..disk("x", image, 0) }, image).unwrap();
        check_size(&DiskFacts { kind: Kind::File, ..disk("x", image - 1, 0) }, image).unwrap_err();
    }

    #[test]
    fn kept_partitions_leave_space_for_root() {
        let part = |label: &str, offset: u64, bytes: u64| Partition {
            number: 9,
            label: label.to_owned(),
            uuid: [0; 16],
            offset,
            bytes,
        };
        let check = |kept: &[Partition], expected: Option<u64>| {
            let found = check_root(&disk("sda", 10 * GIB, 8), 2 * GIB, kept);
            let present = found.err().map(|refusal| match refusal {
                Refusal::NoRoot { needed, present, .. } => {
                    assert_eq!(needed, ROOT);
                    present
                }
                other => panic!("{other}"),
            });
            assert_eq!(present, expected, "{kept:?}");
        };
        check(&[], None);
        check(&[part("DATA", 4 * GIB, 6 * GIB)], None);
        check(&[part("DATA", 2 * GIB, 7 * GIB)], None);
        check(&[part("DATA", 2 * GIB + 5, 8 * GIB - 6)], Some(5));
        check(&[part("B", 3 * GIB, 7 * GIB), part("A", 2 * GIB + 9, GIB - 9)], Some(9));
        check(&[part("ROOT", 2 * GIB, 8 * GIB)], None);
    }

    #[test]
    fn the_smallest_unused_disk_is_selected() {
        let mounted = DiskUse::Mounted { device: "/dev/sda1".into(), folder: "/".into() };
        let disks = [
            DiskFacts { uses: vec![mounted], ..disk("sda", 12 * GIB, 8) },
            disk("sdc", 20 * GIB, 8),
            disk("sdb", 20 * GIB, 8),
            disk("sdd", 10_000_000_000, 8),
            DiskFacts { kind: Kind::Loop, ..disk("loop0", 11 * GIB, 7) },
            DiskFacts { read_only: true, ..disk("sr0", 11 * GIB, 11) },
            disk("nvme0n1", 30 * GIB, 259),
        ];
        let check = |include: &[u32], exclude: &[u32], expected: Option<&str>| {
            let majors = Majors { include: include.to_vec(), exclude: exclude.to_vec() };
            let found = smallest_unused(&disks, &majors).map(|disk| &*disk.name);
            assert_eq!(found, expected, "{majors:?}");
        };
        check(&[], &[], Some("loop0"));
        check(&[], &[7], Some("sdb"));
        check(&[8, 259], &[8], Some("nvme0n1"));
        check(&[11], &[], None);
        check(&[], &[7, 8, 259], None);
    }
}
