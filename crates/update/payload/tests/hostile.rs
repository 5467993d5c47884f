//! Blobs, transfers and old images as nobody should give them: each is a named error or mended, and no byte that was
//! not signed comes to the target.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::cell::Cell;
use std::io::{self, Read};
use std::ops::Range;

use kit::{Blob, Chance, Disk, Made, OldImage, SEGMENT, attempt, both, full};
use payload::{Apply, ApplyError, Digest, Index, Part, Source, Target, TransferError};

const SIZE: usize = 4 * SEGMENT as usize + 777;
const EMPTY: u8 = 0xee;

/// The target holds the image up to `whole`, and what it held before from there on.
fn untouched(disk: &Disk, new: &[u8], whole: u64) {
    let (seen, whole) = (disk.seen(), whole as usize);
    assert!(seen[..whole] == new[..whole] && seen[whole..].iter().all(|byte| *byte == EMPTY), "{whole}");
}

fn empty() -> Disk {
    Disk::holding(vec![EMPTY; SIZE + 100])
}

fn once(index: &Index, source: &mut dyn Source, disk: &Disk) -> Result<(), ApplyError> {
    attempt(index, source, None, (disk, None), false).0.map(drop)
}

#[test]
fn a_changed_bit_of_a_blob_never_comes_to_the_target() {
    let new = Chance(1).image(SIZE);
    let made = full(&new);
    let segments = &made.index.images[0].segments;
    for at in (0..made.blob.len()).step_by(97) {
        let mut blob = made.blob.clone();
        blob[at] ^= 4;
        let (disk, damaged) = (empty(), Made { index: made.index.clone(), blob });
        let outcome = once(&made.index, &mut Blob::of(&damaged), &disk);
        let hit = segments.iter().find(|segment| {
            (segment.blob_offset..segment.blob_offset + u64::from(segment.blob_length)).contains(&(at as u64))
        });
        match outcome {
            // A bit that means nothing.
            Ok(()) => assert!(disk.seen()[..SIZE] == new),
            Err(ApplyError::WrongHash { role, offset }) => {
                assert_eq!((&*role, offset), ("usr", hit.unwrap().offset));
                untouched(&disk, &new, offset);
            }
            Err(other) => panic!("{at}: {other}"),
        }
    }
}

/// An index of one segment of `length` bytes with this digest, over this frame.
fn forged(frame: &[u8], length: usize, sha256: Digest) -> Option<Made> {
    let text = format!(
        r#"{{"schema":1,"kind":"full","segment_size":{SEGMENT},"blob_size":{blob},"images":[{{"role":"usr","size":{length},"sha256":"{sha256}","segments":[{{"offset":0,"length":{length},"sha256":"{sha256}","blob_offset":0,"blob_length":{blob}}}]}}]}}"#,
        blob = frame.len()
    );
    Some(Made { index: Index::parse(text.as_bytes()).ok()?, blob: frame.to_vec() })
}

fn refused(frame: &[u8], length: usize, sha256: Digest, what: &str) {
    let (disk, made) = (empty(), forged(frame, length, sha256).unwrap());
    let outcome = once(&made.index, &mut Blob::of(&made), &disk);
    assert!(matches!(outcome, Err(ApplyError::WrongHash { .. })), "{what}: {outcome:?}");
    untouched(&disk, &[], 0);
}

#[test]
fn frames_that_give_something_else_are_refused() {
    let content = vec![7; 5000];
    let frame = zstd::bulk::compress(&content, 3).unwrap();
    let long = zstd::bulk::compress(&vec![7; 1 << 26], 3).unwrap();
    // The same digest: of what would come if only the begin were looked at.
    refused(&long, 5000, Digest::of(&content), "more than promised");
    refused(&frame, 4999, Digest::of(&content[..4999]), "a byte more");
    refused(&frame, 5001, Digest::of(&content), "a byte less");
    refused(&frame[..frame.len() - 1], 5000, Digest::of(&content), "cut");
    refused(&[&frame[..], b"x"].concat(), 5000, Digest::of(&content), "something behind it");
    refused(&Chance(3).bytes(3000), 5000, Digest::of(&content), "nonsense");
    refused(b"<html>Sign in</html>", 5000, Digest::of(&content), "a page");
    let made = forged(&frame, 5000, Digest::of(&content)).unwrap();
    let disk = empty();
    once(&made.index, &mut Blob::of(&made), &disk).unwrap();
    assert!(disk.seen()[..5000] == content);
    // Frames without end cannot be said at all.
    assert!(forged(&vec![0; 20_000], 5000, Digest::of(&content)).is_none());
    assert!(forged(b"", 5000, Digest::of(&content)).is_none());
}

/// KiB of address space that this process had at most.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A frame that says it looks back 2 GiB is unpacked without room for a window.
#[test]
fn a_window_bomb_takes_no_memory() {
    let content = [9; 100];
    let (descriptor, last_raw_block) = (21 << 3, (100 << 3) | 1_u32);
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, descriptor];
    frame.extend_from_slice(&last_raw_block.to_le_bytes()[..3]);
    frame.extend_from_slice(&content);
    let made = forged(&frame, 100, Digest::of(&content)).unwrap();
    let (disk, before) = (empty(), peak());
    once(&made.index, &mut Blob::of(&made), &disk).unwrap();
    assert!(disk.seen()[..100] == content);
    assert!(peak() - before < 1 << 20, "{} KiB", peak() - before);
}

/// How a transfer goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Refused,
    Short(usize),
    Broken(usize),
    /// The right bytes, and more without end.
    Endless,
    /// Other bytes, without end.
    EndlessNonsense,
}

struct Faulty<'a> {
    blob: Blob<'a>,
    /// From this request on.
    at: usize,
    fault: Fault,
    /// Bytes that were taken of bodies.
    taken: Cell<u64>,
}

struct Counted<'a, R>(R, &'a Cell<u64>);

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.set(self.1.get() + count as u64);
        Ok(count)
    }
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl Source for Faulty<'_> {
    fn fetch(&mut self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        let is_good = self.blob.asked.len() < self.at;
        let body = self.blob.fetch(range)?;
        let body: Box<dyn Read + '_> = match self.fault {
            _ if is_good => body,
            Fault::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
            Fault::Short(length) => Box::new(body.take(length as u64)),
            Fault::Broken(length) => Box::new(body.take(length as u64).chain(Failing)),
            Fault::Endless => Box::new(body.chain(io::repeat(0x55))),
            Fault::EndlessNonsense => Box::new(io::repeat(0x55)),
        };
        Ok(Box::new(Counted(body, &self.taken)))
    }
}

#[test]
fn transfers_that_fail_are_told_as_that() {
    let new = Chance(2).image(SIZE);
    let made = full(&new);
    let faults = [
        Fault::Refused,
        Fault::Short(0),
        Fault::Short(50),
        Fault::Broken(0),
        Fault::Broken(60),
        Fault::EndlessNonsense,
    ];
    for at in 0..made.index.images[0].segments.len() {
        for fault in faults {
            let (disk, taken) = (empty(), Cell::new(0));
            let mut source = Faulty { blob: Blob::of(&made), at, fault, taken };
            let error = once(&made.index, &mut source, &disk).unwrap_err();
            let place = made.index.images[0].segments[at].offset;
            untouched(&disk, &new, place);
            let (offset, is_right) = match (fault, &error) {
                (Fault::Short(got), ApplyError::Transfer { offset, source, .. }) => {
                    (*offset, matches!(source, TransferError::Short { got: n, .. } if *n == got as u64))
                }
                (Fault::Broken(got), ApplyError::Transfer { offset, source, .. }) => {
                    (*offset, matches!(source, TransferError::Failed { got: n, .. } if *n == got as u64))
                }
                (Fault::Refused, ApplyError::Transfer { offset, source, .. }) => {
                    (*offset, matches!(source, TransferError::Failed { got: 0, .. }))
                }
                (Fault::EndlessNonsense, ApplyError::WrongHash { offset, .. }) => (*offset, true),
                _ => (u64::MAX, false),
            };
            assert!(is_right && offset == place, "{at} {fault:?}: {error}");
        }
    }
}

#[test]
fn of_an_endless_body_no_more_is_read_than_was_asked_for() {
    let new = Chance(3).image(SIZE);
    let made = full(&new);
    let disk = empty();
    let mut source = Faulty { blob: Blob::of(&made), at: 0, fault: Fault::Endless, taken: Cell::new(0) };
    once(&made.index, &mut source, &disk).unwrap();
    assert!(disk.seen()[..SIZE] == new);
    assert_eq!(source.taken.get(), made.index.blob_size);
}

#[test]
fn work_is_cancelled_wherever_it_is_asked() {
    let new = Chance(4).image(SIZE);
    let made = full(&new);
    let mut ended = false;
    for after in 0..1000 {
        let (disk, asked) = (empty(), Cell::new(0));
        let outcome = payload::apply(Apply {
            index: &made.index,
            blob: &mut Blob::of(&made),
            full: None,
            parts: &[Part { role: "usr", target: &disk, old: None }],
            look: false,
            progress: &mut |_| {},
            cancelled: &|| {
                asked.set(asked.get() + 1);
                asked.get() > after
            },
        });
        if outcome.is_ok() {
            assert!(after >= made.index.images[0].segments.len(), "it was asked at each segment");
            ended = true;
            break;
        }
        assert!(matches!(outcome, Err(ApplyError::Cancelled)), "{outcome:?}");
        assert_eq!(asked.get(), after + 1, "it went on after it was told to end");
        let whole = disk.seen().iter().take_while(|byte| **byte != EMPTY).count();
        assert!(disk.seen()[..whole] == new[..whole]);
    }
    assert!(ended);
}

/// Gives a byte at a time.
struct Slow<R>(R);

impl<R: Read> Read for Slow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn a_slow_body_is_cancelled_in_its_middle() {
    let new = Chance(9).image(SIZE);
    let made = full(&new);
    let (disk, taken) = (empty(), Cell::new(0));
    let mut blob = Blob::of(&made);
    struct SlowSource<'a>(&'a mut Blob<'a>, &'a Cell<u64>);
    impl Source for SlowSource<'_> {
        fn fetch(&mut self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
            Ok(Box::new(Counted(Slow(self.0.fetch(range)?), self.1)))
        }
    }
    let outcome = payload::apply(Apply {
        index: &made.index,
        blob: &mut SlowSource(&mut blob, &taken),
        full: None,
        parts: &[Part { role: "usr", target: &disk, old: None }],
        look: false,
        progress: &mut |_| {},
        cancelled: &|| taken.get() >= 50,
    });
    assert!(matches!(outcome, Err(ApplyError::Cancelled)), "{outcome:?}");
    assert_eq!(taken.get(), 50);
    untouched(&disk, &[], 0);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let new = Chance(5).image(SIZE);
    let made = full(&new);
    let disk = Disk::holding(vec![EMPTY; SIZE - 1]);
    let mut blob = Blob::of(&made);
    let outcome = once(&made.index, &mut blob, &disk);
    assert!(
        matches!(outcome, Err(ApplyError::TooSmall { needed, capacity, .. })
            if (needed, capacity) == (SIZE as u64, SIZE as u64 - 1)),
        "{outcome:?}"
    );
    untouched(&disk, &[], 0);
    assert_eq!(blob.asked, []);
}

#[test]
fn places_and_images_belong_together() {
    let new = Chance(6).image(SIZE);
    let (made, delta) = both(Some(&new), &new);
    let disk = empty();
    let place = |role| Part { role, target: &disk as &dyn Target, old: None };
    for (index, parts) in [
        (&made.index, vec![]),
        (&made.index, vec![place("uki")]),
        (&made.index, vec![place("usr"), place("uki")]),
        (&made.index, vec![place("usr"), place("usr")]),
        (&delta.unwrap().index, vec![place("usr")]),
    ] {
        let outcome = payload::apply(Apply {
            index,
            blob: &mut Blob::of(&made),
            full: None,
            parts: &parts,
            look: false,
            progress: &mut |_| {},
            cancelled: &|| false,
        });
        assert!(matches!(outcome, Err(ApplyError::Parts { .. })), "{outcome:?}");
    }
    untouched(&disk, &[], 0);
}

#[test]
fn an_old_image_that_is_damaged_is_replaced_segment_by_segment() {
    let mut chance = Chance(7);
    let old = chance.image(SIZE);
    let new = kit::changed(&mut chance, &old);
    let (made, delta) = both(Some(&old), &new);
    let delta = delta.unwrap();
    let over = delta.index.images[0].segments.iter().filter(|segment| segment.old.is_some()).count();
    assert!(over > 3);
    let other = full(&chance.image(new.len()));
    let mut spoiled = OldImage::of(&old);
    spoiled.bytes.iter_mut().for_each(|byte| *byte ^= 0x33);
    let unreadable = OldImage { bytes: old.clone(), unreadable: 9000..9001 };
    let short = OldImage::of(&old[..100]);
    for damaged in [spoiled, unreadable, short] {
        let disk = Disk::holding(vec![EMPTY; SIZE * 2]);
        let (mut blob, mut whole) = (Blob::of(&delta), Blob::of(&made));
        let place = (&disk as &dyn Target, Some(&damaged as _));
        let (outcome, _) = attempt(&delta.index, &mut blob, Some((&made.index, &mut whole)), place, false);
        assert_eq!(outcome.unwrap().replaced as usize, over);
        assert_eq!(whole.asked.len(), over);
        assert!(disk.seen()[..new.len()] == new);

        let disk = Disk::holding(vec![EMPTY; SIZE * 2]);
        let place = (&disk as &dyn Target, Some(&damaged as _));
        let (outcome, _) = attempt(&delta.index, &mut Blob::of(&delta), None, place, false);
        assert!(matches!(outcome, Err(ApplyError::OldDamaged { .. })), "{outcome:?}");
        // Another version's payload is no help.
        let whole: (&Index, &mut dyn Source) = (&other.index, &mut Blob::of(&other));
        let (outcome, _) = attempt(&delta.index, &mut Blob::of(&delta), Some(whole), place, false);
        assert!(matches!(outcome, Err(ApplyError::OldDamaged { .. })), "{outcome:?}");
    }
}

/// Then it is the blob that is wrong, and no full payload is fetched for it.
#[test]
fn a_damaged_delta_over_a_good_old_image_is_a_wrong_hash() {
    let mut chance = Chance(8);
    let old = chance.image(SIZE);
    let new = kit::changed(&mut chance, &old);
    let (made, delta) = both(Some(&old), &new);
    let mut delta = delta.unwrap();
    let first = delta.index.images[0].segments.iter().find(|segment| segment.old.is_some()).unwrap().clone();
    delta.blob[first.blob_offset as usize + 2] ^= 1;
    let disk = Disk::holding(vec![EMPTY; SIZE * 2]);
    let (old, mut whole) = (OldImage::of(&old), Blob::of(&made));
    let full: (&Index, &mut dyn Source) = (&made.index, &mut whole);
    let (outcome, _) = attempt(&delta.index, &mut Blob::of(&delta), Some(full), (&disk, Some(&old)), false);
    assert!(
        matches!(outcome, Err(ApplyError::WrongHash { offset, .. }) if offset == first.offset),
        "{outcome:?}"
    );
    assert_eq!(whole.asked, []);
    untouched(&disk, &new, first.offset);
}
