//! Cuts the power between and within the writes of an installation, and looks for a partition table on the result.

use std::convert::Infallible;

use disk_install::{ImageError, InstallError, Installation, Phase, install};
use disk_slots::Disk;
use disk_slots::gpt::read;

use crate::recording::{Fault, MIB, RecordingDisk, disk, each_cut, range};

const IMAGE: usize = 8 * MIB;
const DISK: usize = 11 * MIB + 512;
const CONFIG: &[u8] = b"#cloud-config\n";

fn image() -> Vec<u8> {
    disk(IMAGE, 1, &[("EFI-SYSTEM", 2 * MIB), ("USR-A", 2 * MIB), ("OEM", MIB)])
}

/// What was on the disk before: larger partitions, up to its end.
fn old_disk() -> Vec<u8> {
    disk(DISK, 2, &[("old", 3 * MIB), ("data", 6 * MIB)])
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
        |_, _| verify(),
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
        assert!(target.content()[range(part)] == expected, "{}", part.label);
    }
    target.content()
}

/// Panics if the disk has a table, of which a partition is incomplete.
fn boots_whole_or_not(content: Vec<u8>, old: &[u8], new: &[u8], about: &str) -> Option<&'static str> {
    let disk = RecordingDisk::new(content);
    // One valid copy suffices for firmware and kernel.
    let table = read(&disk).ok()?;
    let (name, whole) = if table.partitions()[0].label == "old" { ("old", old) } else { ("new", new) };
    let content = disk.content();
    for part in table.partitions() {
        assert!(content[range(part)] == whole[range(part)], "{about}: {name} {} is incomplete", part.label);
    }
    Some(name)
}

#[test]
fn an_installation_cut_anywhere_boots_whole_or_not_at_all() {
    let (image, old, new) = (image(), old_disk(), complete());
    let mut target = RecordingDisk::new(old.clone());
    run(&image, &mut target, || Ok(())).unwrap();
    let mut seen = Vec::new();
    let cuts = each_cut(&old, &target.events(), |content, about| {
        seen.push(boots_whole_or_not(content, &old, &new, about));
    });
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
        let mut target = RecordingDisk::with(Fault::Changes(defect), old_disk());
        let refused = run(&image(), &mut target, || Ok(())).unwrap_err();
        let InstallError::Defective(at) = refused else { panic!("{refused:?}") };
        assert_eq!(usize::try_from(at).unwrap() / MIB, defect / MIB);
        read(&target).unwrap_err();
    }
}

#[test]
fn a_disk_that_fails_ends_the_installation_and_gets_no_table() {
    for bad in [MIB + 7, 2 * MIB + 9, 5 * MIB - 3] {
        let mut target = RecordingDisk::with(Fault::Fails(bad), old_disk());
        let refused = run(&image(), &mut target, || Ok(())).unwrap_err();
        assert_eq!(service::error::chain(&refused), "cannot write to the disk: a bad sector");
        read(&target).unwrap_err();
    }
}

#[test]
fn the_digest_of_the_image_is_that_of_its_file() {
    // The backup table after the content is a part of it, and so is an unfinished chunk at the end.
    for length in [IMAGE, IMAGE - 512] {
        let image = disk(length, 1, &[("USR-A", 2 * MIB), ("OEM", MIB + 512)]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &image).unwrap();
        let expected = disk_formats::chunks::digest(file.as_file()).unwrap();
        let mut stream = &*image;
        let mut target = RecordingDisk::new(old_disk());
        let installation = Installation::begin::<Infallible>(&mut stream, |_| DISK as u64).unwrap();
        let mut found = None;
        let verify = |_: &[u8], digest: &release::Digest| {
            found = Some(*digest);
            Ok(())
        };
        let add_files = |_: &mut RecordingDisk| Ok::<_, Infallible>(());
        install(&installation, stream, &mut target, verify, add_files, &mut |_, _, _| ()).unwrap();
        assert_eq!(found, Some(expected), "{length}");
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
    assert!(target.events().is_empty());
}
