//! Cuts the power between and within the writes of an installation, and looks for a partition table on the result.

// clippy recognizes unit tests only.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::io::{self, Cursor};

use disk_install::{ImageError, InstallError, Installation, Phase, Target, install};
use disk_slots::Disk;
use disk_slots::gpt::{Partition, read};

const MIB: usize = 1 << 20;
const IMAGE: usize = 8 * MIB;
const DISK: usize = 11 * MIB + 512;
const CONFIG: &[u8] = b"#cloud-config\n";

#[derive(Debug, Clone)]
enum Event {
    Write(usize, Vec<u8>),
    Sync,
}

/// Records what happens to it. A `defect` changes the byte there whenever it is written.
#[derive(Debug, Clone)]
struct RecordingDisk {
    content: Vec<u8>,
    events: Vec<Event>,
    defect: Option<usize>,
}

impl RecordingDisk {
    fn new(content: Vec<u8>) -> Self {
        Self { content, events: Vec::new(), defect: None }
    }

    fn apply(&mut self, offset: usize, bytes: &[u8]) {
        self.content[offset..offset + bytes.len()].copy_from_slice(bytes);
        if let Some(at) = self.defect.filter(|at| (offset..offset + bytes.len()).contains(at)) {
            self.content[at] ^= 1;
        }
    }
}

impl Disk for RecordingDisk {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        into.copy_from_slice(&self.content[offset..offset + into.len()]);
        Ok(())
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.apply(offset, bytes);
        self.events.push(Event::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.events.push(Event::Sync);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.content.len() as u64)
    }
}

impl Target for RecordingDisk {
    fn zero_at(&mut self, offset: u64, bytes: u64) -> io::Result<()> {
        self.write_at(&vec![0; usize::try_from(bytes).unwrap()], offset)
    }

    fn forget_cache(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk with a table and content that depends on `seed`; a third of it is zeros.
fn disk(length: usize, seed: u8, parts: &[(&str, usize)]) -> Vec<u8> {
    let device = Cursor::new(vec![0; length]);
    let config = gpt::GptConfig::new().writable(true).logical_block_size(gpt::disk::LogicalBlockSize::Lb512);
    let mut table = config.create_from_device(device, None).unwrap();
    for (label, bytes) in parts {
        table.add_partition(label, *bytes as u64, gpt::partition_types::BASIC, 0, None).unwrap();
    }
    let mut bytes = table.write().unwrap().into_inner();
    let content = bytes.iter_mut().enumerate().take(length - MIB).skip(MIB);
    for (at, byte) in content.filter(|(at, _)| at / MIB % 3 != 2) {
        *byte = (at.wrapping_mul(31) >> 3) as u8 ^ seed;
    }
    bytes
}

fn image() -> Vec<u8> {
    disk(IMAGE, 1, &[("EFI-SYSTEM", 2 * MIB), ("USR-A", 2 * MIB), ("OEM", MIB)])
}

/// What was on the disk before: larger partitions, up to its end.
fn old_disk() -> Vec<u8> {
    disk(DISK, 2, &[("old", 3 * MIB), ("data", 6 * MIB)])
}

fn range(part: &Partition) -> std::ops::Range<usize> {
    let start = usize::try_from(part.offset).unwrap();
    start..start + usize::try_from(part.bytes).unwrap()
}

type Result = std::result::Result<(), InstallError<Infallible>>;

fn run(
    image: &[u8],
    target: &mut RecordingDisk,
    verify: impl FnOnce() -> std::result::Result<(), ImageError>,
) -> Result {
    let mut stream = image;
    let length = target.length().unwrap();
    let installation = Installation::begin(&mut stream, |_| length)?;
    let oem = installation.table.partitions().iter().find(|part| part.label == "OEM").unwrap().offset;
    let mut phases = Vec::new();
    let result = install(
        &installation,
        stream,
        target,
        |_| verify(),
        |target| {
            target.write_at(CONFIG, oem).unwrap();
            Ok(())
        },
        &mut |phase, done, total| {
            assert!(done <= total);
            phases.push(phase);
        },
    );
    if result.is_ok() {
        assert!(phases.contains(&Phase::Writing) && phases.last() == Some(&Phase::Verifying));
    }
    result
}

/// The disk as it must be when it is complete.
fn complete() -> Vec<u8> {
    let image = image();
    let mut target = RecordingDisk::new(old_disk());
    run(&image, &mut target, || Ok(())).unwrap();
    let table = read(&target).unwrap();
    assert!(table.is_redundant());
    let labels: Vec<_> = table.partitions().iter().map(|part| &*part.label).collect();
    assert_eq!(labels, ["EFI-SYSTEM", "USR-A", "OEM"]);
    for part in table.partitions() {
        let mut expected = image[range(part)].to_vec();
        if part.label == "OEM" {
            expected[..CONFIG.len()].copy_from_slice(CONFIG);
        }
        assert!(target.content[range(part)] == expected, "{}", part.label);
    }
    target.content
}

/// Panics if the disk has a table, of which a partition is incomplete.
fn boots_whole_or_not(content: Vec<u8>, old: &[u8], new: &[u8], about: &str) -> Option<&'static str> {
    let disk = RecordingDisk::new(content);
    // One valid copy suffices for firmware and kernel.
    let table = read(&disk).ok()?;
    let (name, whole) = if table.partitions()[0].label == "old" { ("old", old) } else { ("new", new) };
    for part in table.partitions() {
        assert!(
            disk.content[range(part)] == whole[range(part)],
            "{about}: {name} {} is incomplete",
            part.label
        );
    }
    Some(name)
}

#[test]
fn an_installation_cut_anywhere_boots_whole_or_not_at_all() {
    let (image, old, new) = (image(), old_disk(), complete());
    let mut target = RecordingDisk::new(old.clone());
    run(&image, &mut target, || Ok(())).unwrap();
    let mut durable = RecordingDisk::new(old.clone());
    let mut unsynced: Vec<(usize, Vec<u8>)> = Vec::new();
    let (mut seen, mut cuts) = (Vec::new(), 0);
    for (number, event) in target.events.iter().enumerate() {
        let about = format!("event {number}");
        match event {
            Event::Sync => unsynced.drain(..).for_each(|(offset, bytes)| durable.apply(offset, &bytes)),
            Event::Write(offset, bytes) => {
                // A torn write, alone and after the others: a disk reorders what was not flushed.
                for length in [1, 512, bytes.len() / 2, bytes.len()] {
                    let torn = &bytes[..length.min(bytes.len())];
                    let mut alone = durable.clone();
                    alone.apply(*offset, torn);
                    let mut ordered = durable.clone();
                    unsynced.iter().for_each(|(offset, bytes)| ordered.apply(*offset, bytes));
                    ordered.apply(*offset, torn);
                    for cut in [alone, ordered] {
                        seen.push(boots_whole_or_not(cut.content, &old, &new, &about));
                        cuts += 1;
                    }
                }
                unsynced.push((*offset, bytes.clone()));
            }
        }
        let mut all = durable.clone();
        unsynced.iter().for_each(|(offset, bytes)| all.apply(*offset, bytes));
        seen.push(boots_whole_or_not(all.content, &old, &new, &about));
    }
    assert!(unsynced.is_empty(), "the last write is durable");
    assert_eq!(seen.last(), Some(&Some("new")));
    assert!(cuts > 100, "{cuts}");
    // The old system, then none, then the new one.
    let last_old = seen.iter().rposition(|found| *found == Some("old")).unwrap();
    let first_new = seen.iter().position(|found| *found == Some("new")).unwrap();
    assert!(last_old < first_new);
    assert!(seen[last_old + 1..first_new].iter().all(Option::is_none) && first_new - last_old > 10);
}

#[test]
fn an_image_that_is_not_the_expected_one_leaves_no_table() {
    let mut target = RecordingDisk::new(old_disk());
    let refused = run(&image(), &mut target, || Err(ImageError::Signature("bad".into()))).unwrap_err();
    assert!(matches!(refused, InstallError::Unverified(_)), "{refused:?}");
    read(&target).unwrap_err();
}

#[test]
fn an_image_of_another_length_leaves_no_table() {
    let image = image();
    let mut target = RecordingDisk::new(old_disk());
    let refused = run(&image[..IMAGE - 1], &mut target, || Ok(())).unwrap_err().to_string();
    assert_eq!(
        refused,
        format!("the image ends after {} bytes, and its partition table is for {IMAGE}", IMAGE - 1)
    );
    read(&target).unwrap_err();
    let longer = [&*image, b"x"].concat();
    let mut target = RecordingDisk::new(old_disk());
    let refused = run(&longer, &mut target, || Ok(())).unwrap_err().to_string();
    assert_eq!(
        refused,
        format!("the image is longer than the {IMAGE} bytes that its partition table is for")
    );
    read(&target).unwrap_err();
}

#[test]
fn a_defective_disk_is_found_and_gets_no_table() {
    // In data, in zeros, and in the last chunk.
    for defect in [MIB + 7, 2 * MIB + 9, 5 * MIB - 3] {
        let mut target = RecordingDisk { defect: Some(defect), ..RecordingDisk::new(old_disk()) };
        let refused = run(&image(), &mut target, || Ok(())).unwrap_err();
        let InstallError::Defective(at) = refused else { panic!("{refused:?}") };
        assert_eq!(usize::try_from(at).unwrap() / MIB, defect / MIB);
        read(&target).unwrap_err();
    }
}

#[test]
fn a_disk_may_end_before_the_image_if_the_partitions_fit() {
    let mut target = RecordingDisk::new(old_disk()[..IMAGE - MIB].to_vec());
    run(&image(), &mut target, || Ok(())).unwrap();
    assert!(read(&target).unwrap().is_redundant());
}

#[test]
fn nothing_is_written_for_an_image_that_does_not_fit() {
    let old = old_disk();
    let mut target = RecordingDisk::new(old[..5 * MIB].to_vec());
    let refused = run(&image(), &mut target, || Ok(())).unwrap_err();
    assert!(service::error::chain(&refused).contains("and the disk has 5242880"), "{refused:?}");
    let refused = run(&[0; 100], &mut target, || Ok(())).unwrap_err();
    assert!(matches!(refused, InstallError::ImageTable(_)), "{refused:?}");
    assert!(target.events.is_empty());
}
