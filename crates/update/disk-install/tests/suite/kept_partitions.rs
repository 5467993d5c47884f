//! Installs beside partitions that are kept, cuts the power between and within the writes, and finds them again.

use std::convert::Infallible;

use disk_install::{ImageError, InstallError, Installation, install};
use disk_slots::Disk;
use disk_slots::gpt::{KeepError, KeptPartitions, Partition, read};

use crate::recording::{MIB, RecordingDisk, disk, each_cut, range};

const IMAGE: usize = 6 * MIB;
const DISK: usize = 12 * MIB;

fn image() -> Vec<u8> {
    disk(IMAGE, 1, &[("EFI-SYSTEM", MIB), ("OEM", 2 * MIB)])
}

/// `DATA` begins where the image ends; `LOGS` ends in the last MiB of the disk, which is cleared around it.
fn old_disk() -> Vec<u8> {
    let mut bytes =
        disk(DISK, 2, &[("old", 3 * MIB), ("DATA", 3 * MIB), ("gone", 2 * MIB), ("LOGS", 3 * MIB + MIB / 2)]);
    bytes[DISK - MIB..DISK - MIB / 2].fill(0x17);
    bytes
}

fn is_kept(part: &Partition) -> bool {
    ["DATA", "LOGS"].contains(&&*part.label)
}

type Result = std::result::Result<(), InstallError<Infallible>>;

fn run(target: &mut RecordingDisk, image: &[u8], verify: std::result::Result<(), ImageError>) -> Result {
    let (mut stream, length) = (image, target.length().unwrap());
    let kept = KeptPartitions::read(target, is_kept).unwrap().unwrap();
    let mut installation = Installation::begin(&mut stream, |_| length)?;
    installation.keep(length, &kept).unwrap();
    install(&installation, stream, target, |_, _| verify, |_| Ok(()), &mut |_, _, _| ())
}

fn labels(disk: &RecordingDisk) -> Vec<(u32, String)> {
    let table = read(disk).unwrap();
    table.partitions().iter().map(|part| (part.number, part.label.clone())).collect()
}

fn named(parts: &[(u32, &str)]) -> Vec<(u32, String)> {
    parts.iter().map(|(number, label)| (*number, (*label).to_owned())).collect()
}

/// Which table a disk has; panics if a partition of it is incomplete.
fn table_of(content: Vec<u8>, old: &[u8], new: &[u8], about: &str) -> &'static str {
    let disk = RecordingDisk::new(content);
    let table = read(&disk).unwrap_or_else(|error| panic!("{about}: {error}"));
    let kept: Vec<_> = table.partitions().iter().filter(|part| is_kept(part)).collect();
    assert_eq!(kept.len(), 2, "{about}");
    let has = |label: &str| table.partitions().iter().any(|part| part.label == label);
    let name = if has("old") {
        "old"
    } else if has("OEM") {
        "new"
    } else {
        "kept"
    };
    let whole = if name == "new" { new } else { old };
    let content = disk.content();
    for part in table.partitions() {
        let is_whole = content[range(part)] == whole[range(part)];
        assert!(is_whole, "{about}: {name} {} is incomplete", part.label);
    }
    name
}

#[test]
fn kept_partitions_survive_a_power_cut_anywhere() {
    let (image, old) = (image(), old_disk());
    let mut target = RecordingDisk::new(old.clone());
    run(&mut target, &image, Ok(())).unwrap();
    // The image has the numbers 1 and 2.
    assert_eq!(labels(&target), named(&[(1, "EFI-SYSTEM"), (2, "OEM"), (4, "LOGS"), (5, "DATA")]));
    assert!(read(&target).unwrap().is_redundant());
    let mut seen = Vec::new();
    let new = target.content();
    let cuts = each_cut(&old, &target.events(), |content, about| {
        seen.push(table_of(content, &old, &new, about));
    });
    assert!(cuts > 100, "{cuts}");
    assert_eq!((seen.first(), seen.last()), (Some(&"old"), Some(&"new")));
    let count = |name: &str| seen.iter().filter(|seen| **seen == name).count();
    assert!(count("kept") > 50, "{seen:?}");
}

#[test]
fn kept_partitions_survive_a_failure_and_a_damaged_copy() {
    for damaged in [None, Some(512), Some(DISK - 512)] {
        let mut old = old_disk();
        if let Some(at) = damaged {
            old[at + 16] ^= 1;
        }
        let mut target = RecordingDisk::new(old.clone());
        let failed = run(&mut target, &image(), Err(ImageError::Signature("bad".into()))).unwrap_err();
        assert!(matches!(failed, InstallError::Unverified(_)), "{failed:?}");
        assert_eq!(labels(&target), named(&[(2, "DATA"), (4, "LOGS")]));
        each_cut(&old, &target.events(), |content, about| {
            assert_ne!(table_of(content, &old, &[], about), "new");
        });
        // Again, from what the failure left.
        run(&mut target, &image(), Ok(())).unwrap();
        assert_eq!(table_of(target.content(), &old, &target.content(), "again"), "new");
        let part =
            read(&target).unwrap().partitions().iter().find(|part| part.label == "LOGS").cloned().unwrap();
        assert!(target.content()[range(&part)] == old[range(&part)]);
    }
}

#[test]
fn what_cannot_be_kept_is_refused_with_numbers() {
    let check = |old: &[u8], image: &[u8], expected: &str| {
        let target = RecordingDisk::new(old.to_vec());
        let kept = KeptPartitions::read(&target, |part| part.label != "other").and_then(|kept| {
            let mut stream = image;
            let installation = Installation::begin::<Infallible>(&mut stream, |_| DISK as u64);
            installation.unwrap().keep(DISK as u64, &kept.unwrap())
        });
        let error = kept.unwrap_err();
        assert!(service::error::chain(&error).contains(expected), "{error}");
        assert!(target.events().is_empty());
    };
    let image = image();
    let old = |label| disk(DISK, 2, &[("other", 5 * MIB), (label, MIB)]);
    let begins = |at: usize| format!("it begins at byte {at}, and the image needs all up to 3163136");
    check(
        &disk(DISK, 2, &[("DATA", MIB)]),
        &image,
        &format!("partition 1 (DATA) cannot be kept: {}", begins(17408)),
    );
    check(&old("OEM"), &image, "partition 2 (OEM) cannot be kept: the image has one with its label or UUID");
    let mut mbr = vec![0; DISK];
    (mbr[450], mbr[510], mbr[511]) = (0x83, 0x55, 0xaa);
    check(&mbr, &image, "that is no valid GPT");
    let none = KeptPartitions::read(&RecordingDisk::new(vec![0; DISK]), |_| true).unwrap();
    assert!(none.is_none());
    let kept = KeptPartitions::read(&RecordingDisk::new(old("DATA")), |part| part.label == "x").unwrap();
    assert!(kept.is_none());
    let all = disk(DISK, 2, &[("other", 5 * MIB), ("DATA", MIB)]);
    let kept = KeptPartitions::read(&RecordingDisk::new(all), is_kept).unwrap().unwrap();
    let mut stream = &*image;
    let mut installation = Installation::begin::<Infallible>(&mut stream, |_| DISK as u64).unwrap();
    // A smaller disk than the one that has them.
    let outside = installation.keep(6 * MIB as u64, &kept).unwrap_err();
    assert!(matches!(outside, KeepError::Outside { number: 2, .. }), "{outside:?}");
}
