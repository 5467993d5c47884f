//! Installs to a disk whose partitions are kept.

use std::fs;
use std::io::Cursor;

use disk_slots::DiskFile;
use disk_slots::gpt::{Partition, read};

use crate::bench::{Bench, MIB};

/// A machine with an image, and a disk of 40 MiB with the partitions 1 (`old`), 2 (`DATA`) and 3 (`LOGS`).
fn bench() -> Bench {
    let bench = Bench::new();
    bench.put("system.raw", &bench.image);
    let config = gpt::GptConfig::new().writable(true).logical_block_size(gpt::disk::LogicalBlockSize::Lb512);
    let mut table = config.create_from_device(Cursor::new(vec![0; 40 * MIB]), None).unwrap();
    for (label, mib) in [("old", 16), ("DATA", 10), ("LOGS", 12)] {
        let bytes = (mib * MIB) as u64;
        table.add_partition(label, bytes, gpt::partition_types::BASIC, 0, Some((MIB / 512) as u64)).unwrap();
    }
    let mut disk = table.write().unwrap().into_inner();
    for (at, byte) in disk.iter_mut().enumerate().take(39 * MIB).skip(MIB) {
        *byte = (at * 11 % 251) as u8;
    }
    bench.put("disk", disk);
    bench
}

fn partitions(bench: &Bench) -> Vec<Partition> {
    read(&DiskFile::read_only(&bench.path("disk")).unwrap()).unwrap().partitions().to_vec()
}

fn labels(bench: &Bench) -> Vec<(u32, String)> {
    partitions(bench).into_iter().map(|part| (part.number, part.label)).collect()
}

fn named(parts: &[(u32, &str)]) -> Vec<(u32, String)> {
    parts.iter().map(|(number, label)| (*number, (*label).to_owned())).collect()
}

/// The content of a partition.
fn content(bench: &Bench, label: &str) -> Vec<u8> {
    let part = partitions(bench).into_iter().find(|part| part.label == label).unwrap();
    let start = usize::try_from(part.offset).unwrap();
    fs::read(bench.path("disk")).unwrap()[start..start + usize::try_from(part.bytes).unwrap()].to_vec()
}

const INSTALL: [&str; 5] = ["-d", "disk", "-f", "system.raw", "--insecure"];

#[test]
fn partitions_are_kept_beside_the_system() {
    let bench = bench();
    let (data, logs) = (content(&bench, "DATA"), content(&bench, "LOGS"));
    let printed =
        bench.succeeds(&[&INSTALL[..], &["--save-partlabel", "DA*", "--save-partindex", "3-"]].concat());
    assert!(printed.contains("Keeping partition 2 (DATA)\nKeeping partition 3 (LOGS)\n"), "{printed}");
    let expected = [(1, "USR-A"), (2, "OEM"), (3, "USR-A-verity"), (4, "DATA"), (5, "LOGS")];
    assert_eq!(labels(&bench), named(&expected));
    assert!(content(&bench, "DATA") == data && content(&bench, "LOGS") == logs);
    assert!(content(&bench, "USR-A") == bench.image[MIB..3 * MIB]);
    // Without the flags nothing is kept; what is not there is reported.
    let printed = bench.succeeds(&[&INSTALL[..], &["--save-partlabel", "none"]].concat());
    assert!(printed.contains("The disk has no partition that is to be kept.\n"), "{printed}");
    assert_eq!(labels(&bench).len(), 3);
}

#[test]
fn a_failed_installation_keeps_them_too() {
    let bench = bench();
    let data = content(&bench, "DATA");
    bench.put("system.raw", &bench.image[..8 * MIB]);
    let error = bench.fails(&[&INSTALL[..], &["--save-partindex", "2"]].concat());
    assert!(error.contains("disk has only the kept partitions now, and does not boot: "), "{error}");
    assert_eq!(labels(&bench), named(&[(2, "DATA")]));
    assert!(content(&bench, "DATA") == data);
}

#[test]
fn what_cannot_be_kept_is_refused_before_the_first_write() {
    let bench = bench();
    let refused = |flags: &[&str]| bench.is_refused(&[&INSTALL[..], flags].concat());
    let overlap = refused(&["--save-partlabel", "old"]);
    assert!(
        overlap.contains(
            "partition 1 (old) cannot be kept: it begins at byte 1048576, and the image needs all up to 16252928"
        ),
        "{overlap}"
    );
    assert!(
        overlap.contains("Nothing was written. Change --save-partlabel or --save-partindex"),
        "{overlap}"
    );
    assert!(refused(&["--save-partlabel", "[a"]).contains("--save-partlabel [a: invalid pattern"));
    assert!(refused(&["--save-partindex", "0"]).contains("is no range of partition numbers"));
}
