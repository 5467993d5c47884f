//! The power goes, or the process is killed, at every operation on the target: what was told as done is on the disk,
//! and another attempt fetches what is missing and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use kit::{Blob, Chance, Disk, Fate, Made, OldImage, SEGMENT, attempt, both};
use payload::{ApplyError, ReadAt};

const FATES: [Fate; 5] = [Fate::Kept, Fate::Lost, Fate::Mixed(3), Fate::Mixed(77), Fate::Mixed(501)];
const SIZE: usize = 5 * SEGMENT as usize + 1234;

/// A slot that held another version, and is larger.
fn slot(chance: &mut Chance) -> Vec<u8> {
    chance.bytes(SIZE + 5000)
}

fn at_every_operation(made: &Made, new: &[u8], old: Option<&OldImage>) {
    let old = old.map(|old| old as &dyn ReadAt);
    let before = slot(&mut Chance(5));
    // Two halves of a write and a sync for each, and one more for the end.
    let segments = made.index.images[0].segments.len();
    for operations in 0..=segments * 3 + 1 {
        let disk = Disk::holding(before.clone());
        disk.power_for(operations);
        let (outcome, told) = attempt(&made.index, &mut Blob::of(made), None, (&disk, old), false);
        if operations == segments * 3 + 1 {
            assert_eq!(outcome.unwrap().written as usize, segments);
        } else {
            assert!(matches!(outcome, Err(ApplyError::Write { .. })), "{operations}: {outcome:?}");
        }
        for fate in FATES {
            let disk = disk.crash(fate);
            let held = disk.seen();
            let done = usize::try_from(told.done).unwrap();
            assert!(held[..done] == new[..done], "{operations} {fate:?}: what was told as done is not there");
            assert!(held[new.len()..] == before[new.len()..], "{operations}: written behind the image");
            resumes(made, new, &disk, old, done);
        }
    }
}

fn resumes(made: &Made, new: &[u8], disk: &Disk, old: Option<&dyn ReadAt>, done: usize) {
    let held = disk.seen();
    let segments = &made.index.images[0].segments;
    let range = |offset: u64, length: u32| offset as usize..offset as usize + length as usize;
    let missing: Vec<_> = segments
        .iter()
        .filter(|segment| {
            let range = range(segment.offset, segment.length);
            held[range.clone()] != new[range]
        })
        .map(|segment| segment.blob_offset..segment.blob_offset + u64::from(segment.blob_length))
        .collect();
    let mut blob = Blob::of(made);
    let (outcome, told) = attempt(&made.index, &mut blob, None, (disk, old), true);
    let applied = outcome.unwrap();
    assert!(disk.crash(Fate::Lost).seen()[..new.len()] == *new, "it says done and is not");
    assert_eq!(blob.asked, missing);
    assert_eq!(
        (applied.written as usize, applied.kept as usize),
        (missing.len(), segments.len() - missing.len())
    );
    assert!(applied.kept as usize >= done / SEGMENT as usize);
    assert_eq!((told.done, told.fetched), (told.total, told.to_fetch));
}

#[test]
fn a_full_payload_goes_on_after_any_cut() {
    let new = Chance(9).image(SIZE);
    let (full, _) = both(None, &new);
    at_every_operation(&full, &new, None);
}

#[test]
fn a_delta_goes_on_after_any_cut() {
    let mut chance = Chance(10);
    let old = chance.image(SIZE - 700);
    let mut new = kit::changed(&mut chance, &old);
    new.resize(SIZE, 1);
    let (_, delta) = both(Some(&old), &new);
    let delta = delta.unwrap();
    assert!(delta.index.images[0].segments.iter().any(|segment| segment.old.is_some()));
    at_every_operation(&delta, &new, Some(&OldImage::of(&old)));
}

#[test]
fn each_segment_is_synced_before_it_counts() {
    let new = Chance(11).image(SIZE);
    let (full, _) = both(None, &new);
    let disk = Disk::holding(vec![0; SIZE]);
    attempt(&full.index, &mut Blob::of(&full), None, (&disk, None), false).0.unwrap();
    assert_eq!(disk.syncs(), full.index.images[0].segments.len() + 1);
}

#[test]
fn the_slot_s_own_damage_is_found_and_mended() {
    let new = Chance(12).image(SIZE);
    let (full, _) = both(None, &new);
    for at in (0..SIZE).step_by(1000) {
        let mut bytes = new.clone();
        bytes[at] ^= 0x10;
        let disk = Disk::holding(bytes);
        let (outcome, _) = attempt(&full.index, &mut Blob::of(&full), None, (&disk, None), true);
        assert_eq!(outcome.unwrap().written, 1, "{at}");
        assert!(disk.seen() == new);
    }
}
