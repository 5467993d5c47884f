//! Power cuts and kills at every operation on the target: what was reported as done is on the disk, and the next
//! attempt fetches only what is missing.

use payload::{ApplyError, ReadAt};

use crate::kit::{Blob, Disk, Fate, MemoryPayload, OldImage, Random, SEGMENT, attempt, both};

const FATES: [Fate; 5] = [Fate::Kept, Fate::Lost, Fate::Mixed(3), Fate::Mixed(77), Fate::Mixed(501)];
const SIZE: usize = 5 * SEGMENT as usize + 1234;

/// A larger slot with another version.
fn slot(random: &mut Random) -> Vec<u8> {
    random.bytes(SIZE + 5000)
}

fn cut_at_every_operation(made: &MemoryPayload, new: &[u8], old: Option<&OldImage>) {
    let old = old.map(|old| old as &dyn ReadAt);
    let before = slot(&mut Random(5));
    // Two halves of a write and a sync per segment, and one operation at the end.
    let segments = made.index.images[0].segments.len();
    for operations in 0..=segments * 3 + 1 {
        let disk = Disk::with_content(before.clone());
        disk.cut_power_after(operations);
        let (outcome, told) = attempt(&made.index, &mut Blob::of(made), None, (&disk, old), false);
        if operations == segments * 3 + 1 {
            assert_eq!(outcome.unwrap().written as usize, segments);
        } else {
            assert!(matches!(outcome, Err(ApplyError::Write { .. })), "{operations}: {outcome:?}");
        }
        for fate in FATES {
            let disk = disk.crash(fate);
            let held = disk.content();
            let done = usize::try_from(told.done).unwrap();
            assert!(held[..done] == new[..done], "{operations} {fate:?}: what was told as done is not there");
            assert!(held[new.len()..] == before[new.len()..], "{operations}: written behind the image");
            assert_resumes(made, new, &disk, old, done);
        }
    }
}

fn assert_resumes(made: &MemoryPayload, new: &[u8], disk: &Disk, old: Option<&dyn ReadAt>, done: usize) {
    let held = disk.content();
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
    assert!(disk.crash(Fate::Lost).content()[..new.len()] == *new, "it says done and is not");
    assert_eq!(blob.requested, missing);
    assert_eq!(
        (applied.written as usize, applied.kept as usize),
        (missing.len(), segments.len() - missing.len())
    );
    assert!(applied.kept as usize >= done / SEGMENT as usize);
    assert_eq!((told.done, told.fetched), (told.total, told.to_fetch));
}

#[test]
fn a_full_payload_resumes_after_any_power_cut() {
    let new = Random(9).image(SIZE);
    let (full, _) = both(None, &new);
    cut_at_every_operation(&full, &new, None);
}

#[test]
fn a_delta_resumes_after_any_power_cut() {
    let mut random = Random(10);
    let old = random.image(SIZE - 700);
    let mut new = crate::kit::modified(&mut random, &old);
    new.resize(SIZE, 1);
    let (_, delta) = both(Some(&old), &new);
    let delta = delta.unwrap();
    assert!(delta.index.images[0].segments.iter().any(|segment| segment.old.is_some()));
    cut_at_every_operation(&delta, &new, Some(&OldImage::of(&old)));
}

#[test]
fn each_segment_is_synced_before_it_counts() {
    let new = Random(11).image(SIZE);
    let (full, _) = both(None, &new);
    let disk = Disk::with_content(vec![0; SIZE]);
    attempt(&full.index, &mut Blob::of(&full), None, (&disk, None), false).0.unwrap();
    assert_eq!(disk.syncs(), full.index.images[0].segments.len() + 1);
}

#[test]
fn damage_in_the_target_is_found_and_repaired() {
    let new = Random(12).image(SIZE);
    let (full, _) = both(None, &new);
    for at in (0..SIZE).step_by(1000) {
        let mut bytes = new.clone();
        bytes[at] ^= 0x10;
        let disk = Disk::with_content(bytes);
        let (outcome, _) = attempt(&full.index, &mut Blob::of(&full), None, (&disk, None), true);
        assert_eq!(outcome.unwrap().written, 1, "{at}");
        assert!(disk.content() == new);
    }
}
