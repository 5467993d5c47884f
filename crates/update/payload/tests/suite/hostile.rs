//! Hostile blobs, transfers and old images: each one causes an error or is repaired, and no unverified byte reaches
//! the target. Long because each kind of hostile input has its own test.

use std::cell::Cell;
use std::io::{self, Read};
use std::ops::Range;

use payload::{Apply, ApplyError, Digest, ImageTarget, Index, Source, Target, TransferError};

use crate::kit::{Blob, Disk, MemoryPayload, OldImage, Random, SEGMENT, attempt, both, full};

const SIZE: usize = 4 * SEGMENT as usize + 777;
const EMPTY: u8 = 0xee;

/// Asserts that the target contains the image up to `whole`, and its old content from there.
fn assert_unchanged_from(disk: &Disk, new: &[u8], whole: u64) {
    let (content, whole) = (disk.content(), whole as usize);
    assert!(
        content[..whole] == new[..whole] && content[whole..].iter().all(|byte| *byte == EMPTY),
        "{whole}"
    );
}

fn empty() -> Disk {
    Disk::with_content(vec![EMPTY; SIZE + 100])
}

fn apply_once(index: &Index, source: &mut dyn Source, disk: &Disk) -> Result<(), ApplyError> {
    attempt(index, source, None, (disk, None), false).0.map(drop)
}

#[test]
fn a_changed_bit_of_a_blob_never_reaches_the_target() {
    let new = Random(1).image(SIZE);
    let made = full(&new);
    let segments = &made.index.images[0].segments;
    for at in (0..made.blob.len()).step_by(97) {
        let mut blob = made.blob.clone();
        blob[at] ^= 4;
        let (disk, damaged) = (empty(), MemoryPayload { index: made.index.clone(), blob });
        let outcome = apply_once(&made.index, &mut Blob::of(&damaged), &disk);
        let hit = segments.iter().find(|segment| {
            (segment.blob_offset..segment.blob_offset + u64::from(segment.blob_length)).contains(&(at as u64))
        });
        match outcome {
            Err(ApplyError::WrongHash { role, offset }) => {
                assert_eq!((&*role, offset), ("usr", hit.unwrap().offset));
                assert_unchanged_from(&disk, &new, offset);
            }
            other => panic!("{at}: {other:?}"),
        }
    }
}

/// A vulnerability of the decompressor is out of reach of whoever cannot sign.
#[test]
fn a_frame_that_is_not_the_signed_one_is_not_unpacked() {
    let new = Random(10).image(SIZE);
    let mut made = full(&new);
    let segment = &made.index.images[0].segments[0];
    // The format ignores this bit of the frame's header.
    made.blob[4] ^= 1 << 4;
    let frame = &made.blob[..segment.blob_length as usize];
    let content = zstd::bulk::decompress(frame, segment.length as usize).unwrap();
    assert!(content == new[..segment.length as usize]);
    let disk = empty();
    let outcome = apply_once(&made.index, &mut Blob::of(&made), &disk);
    assert!(matches!(outcome, Err(ApplyError::WrongHash { offset: 0, .. })), "unpacked: {outcome:?}");
    assert_unchanged_from(&disk, &new, 0);
}

/// An index of one segment of `length` bytes with this digest, for this frame.
fn forged(frame: &[u8], length: usize, sha256: Digest) -> Option<MemoryPayload> {
    let text = format!(
        r#"{{"schema":2,"kind":"full","segment_size":{SEGMENT},"blob_size":{blob},"images":[{{"role":"usr","size":{length},"sha256":"{sha256}","segments":[{{"offset":0,"length":{length},"sha256":"{sha256}","blob_offset":0,"blob_length":{blob},"blob_sha256":"{of_frame}"}}]}}]}}"#,
        blob = frame.len(),
        of_frame = Digest::of(frame),
    );
    Some(MemoryPayload { index: Index::parse(text.as_bytes()).ok()?, blob: frame.to_vec() })
}

fn assert_rejected(frame: &[u8], length: usize, sha256: Digest, what: &str) {
    let (disk, made) = (empty(), forged(frame, length, sha256).unwrap());
    let outcome = apply_once(&made.index, &mut Blob::of(&made), &disk);
    assert!(matches!(outcome, Err(ApplyError::WrongHash { .. })), "{what}: {outcome:?}");
    assert_unchanged_from(&disk, &[], 0);
}

#[test]
fn frames_with_other_content_are_rejected() {
    let content = vec![7; 5000];
    let frame = zstd::bulk::compress(&content, 3).unwrap();
    let long = zstd::bulk::compress(&vec![7; 1 << 26], 3).unwrap();
    // The digest of the beginning only.
    assert_rejected(&long, 5000, Digest::of(&content), "more than promised");
    assert_rejected(&frame, 4999, Digest::of(&content[..4999]), "a byte more");
    assert_rejected(&frame, 5001, Digest::of(&content), "a byte less");
    assert_rejected(&frame[..frame.len() - 1], 5000, Digest::of(&content), "cut");
    assert_rejected(&[&frame[..], b"x"].concat(), 5000, Digest::of(&content), "something behind it");
    assert_rejected(&Random(3).bytes(3000), 5000, Digest::of(&content), "nonsense");
    assert_rejected(b"<html>Sign in</html>", 5000, Digest::of(&content), "a page");
    let made = forged(&frame, 5000, Digest::of(&content)).unwrap();
    let disk = empty();
    apply_once(&made.index, &mut Blob::of(&made), &disk).unwrap();
    assert!(disk.content()[..5000] == content);
    // The format has no endless frames.
    assert!(forged(&vec![0; 20_000], 5000, Digest::of(&content)).is_none());
    assert!(forged(b"", 5000, Digest::of(&content)).is_none());
}

/// Peak address space of this process in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A frame that requests a 2 GiB window is unpacked without allocating it.
#[test]
fn a_window_bomb_allocates_no_memory() {
    let content = [9; 100];
    let (descriptor, last_raw_block) = (21 << 3, (100 << 3) | 1_u32);
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, descriptor];
    frame.extend_from_slice(&last_raw_block.to_le_bytes()[..3]);
    frame.extend_from_slice(&content);
    let made = forged(&frame, 100, Digest::of(&content)).unwrap();
    let (disk, before) = (empty(), peak_memory());
    apply_once(&made.index, &mut Blob::of(&made), &disk).unwrap();
    assert!(disk.content()[..100] == content);
    assert!(peak_memory() - before < 1 << 20, "{} KiB", peak_memory() - before);
}

/// The fault to inject.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Refused,
    Short(usize),
    Broken(usize),
    /// The right bytes, followed by endless others.
    Endless,
    /// Endless wrong bytes.
    EndlessNonsense,
}

struct FaultySource<'a> {
    blob: Blob<'a>,
    /// Affects requests from this one on.
    at: usize,
    fault: Fault,
    /// Bytes read from bodies.
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

impl Source for FaultySource<'_> {
    fn fetch(&mut self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        let is_good = self.blob.requested.len() < self.at;
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
fn failed_transfers_are_reported_as_such() {
    let new = Random(2).image(SIZE);
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
            let mut source = FaultySource { blob: Blob::of(&made), at, fault, taken };
            let error = apply_once(&made.index, &mut source, &disk).unwrap_err();
            let expected_offset = made.index.images[0].segments[at].offset;
            assert_unchanged_from(&disk, &new, expected_offset);
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
            assert!(is_right && offset == expected_offset, "{at} {fault:?}: {error}");
        }
    }
}

#[test]
fn endless_bodies_are_read_up_to_the_range() {
    let new = Random(3).image(SIZE);
    let made = full(&new);
    let disk = empty();
    let mut source =
        FaultySource { blob: Blob::of(&made), at: 0, fault: Fault::Endless, taken: Cell::new(0) };
    apply_once(&made.index, &mut source, &disk).unwrap();
    assert!(disk.content()[..SIZE] == new);
    assert_eq!(source.taken.get(), made.index.blob_size);
}

#[test]
fn apply_can_be_cancelled_at_any_check() {
    let new = Random(4).image(SIZE);
    let made = full(&new);
    let mut ended = false;
    for after in 0..1000 {
        let (disk, asked) = (empty(), Cell::new(0));
        let outcome = payload::apply(Apply {
            index: &made.index,
            blob: &mut Blob::of(&made),
            full: None,
            parts: &[ImageTarget { role: "usr", target: &disk, old: None }],
            unpacker: &mut payload::LocalUnpacker::default(),
            resume: false,
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
        let whole = disk.content().iter().take_while(|byte| **byte != EMPTY).count();
        assert!(disk.content()[..whole] == new[..whole]);
    }
    assert!(ended);
}

/// Returns a byte per read.
struct Slow<R>(R);

impl<R: Read> Read for Slow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn a_slow_transfer_can_be_cancelled() {
    let new = Random(9).image(SIZE);
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
        parts: &[ImageTarget { role: "usr", target: &disk, old: None }],
        unpacker: &mut payload::LocalUnpacker::default(),
        resume: false,
        progress: &mut |_| {},
        cancelled: &|| taken.get() >= 50,
    });
    assert!(matches!(outcome, Err(ApplyError::Cancelled)), "{outcome:?}");
    assert_eq!(taken.get(), 50);
    assert_unchanged_from(&disk, &[], 0);
}

#[test]
fn an_image_that_does_not_fit_is_rejected_before_any_write() {
    let new = Random(5).image(SIZE);
    let made = full(&new);
    let disk = Disk::with_content(vec![EMPTY; SIZE - 1]);
    let mut blob = Blob::of(&made);
    let outcome = apply_once(&made.index, &mut blob, &disk);
    assert!(
        matches!(outcome, Err(ApplyError::TooSmall { needed, capacity, .. })
            if (needed, capacity) == (SIZE as u64, SIZE as u64 - 1)),
        "{outcome:?}"
    );
    assert_unchanged_from(&disk, &[], 0);
    assert_eq!(blob.requested, []);
}

#[test]
fn targets_and_images_must_match() {
    let new = Random(6).image(SIZE);
    let (made, delta) = both(Some(&new), &new);
    let disk = empty();
    let place = |role| ImageTarget { role, target: &disk as &dyn Target, old: None };
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
            unpacker: &mut payload::LocalUnpacker::default(),
            resume: false,
            progress: &mut |_| {},
            cancelled: &|| false,
        });
        assert!(matches!(outcome, Err(ApplyError::InvalidTargets { .. })), "{outcome:?}");
    }
    assert_unchanged_from(&disk, &[], 0);
}

#[test]
fn damaged_old_segments_are_replaced_from_the_full_payload() {
    let mut random = Random(7);
    let old = random.image(SIZE);
    let new = crate::kit::modified(&mut random, &old);
    let (made, delta) = both(Some(&old), &new);
    let delta = delta.unwrap();
    let over = delta.index.images[0].segments.iter().filter(|segment| segment.old.is_some()).count();
    assert!(over > 3);
    let other = full(&random.image(new.len()));
    let mut spoiled = OldImage::of(&old);
    spoiled.bytes.iter_mut().for_each(|byte| *byte ^= 0x33);
    let unreadable = OldImage { bytes: old.clone(), unreadable: 9000..9001 };
    let short = OldImage::of(&old[..100]);
    for damaged in [spoiled, unreadable, short] {
        let disk = Disk::with_content(vec![EMPTY; SIZE * 2]);
        let (mut blob, mut whole) = (Blob::of(&delta), Blob::of(&made));
        let place = (&disk as &dyn Target, Some(&damaged as _));
        let (outcome, _) = attempt(&delta.index, &mut blob, Some((&made.index, &mut whole)), place, false);
        assert_eq!(outcome.unwrap().replaced as usize, over);
        assert_eq!(whole.requested.len(), over);
        assert!(disk.content()[..new.len()] == new);

        let disk = Disk::with_content(vec![EMPTY; SIZE * 2]);
        let place = (&disk as &dyn Target, Some(&damaged as _));
        let (outcome, _) = attempt(&delta.index, &mut Blob::of(&delta), None, place, false);
        assert!(matches!(outcome, Err(ApplyError::OldDamaged { .. })), "{outcome:?}");
        // Another version's payload does not help.
        let whole: (&Index, &mut dyn Source) = (&other.index, &mut Blob::of(&other));
        let (outcome, _) = attempt(&delta.index, &mut Blob::of(&delta), Some(whole), place, false);
        assert!(matches!(outcome, Err(ApplyError::OldDamaged { .. })), "{outcome:?}");
    }
}

/// The blob is wrong then, so the full payload is not fetched.
#[test]
fn a_damaged_delta_of_an_intact_old_image_is_a_wrong_hash() {
    let mut random = Random(8);
    let old = random.image(SIZE);
    let new = crate::kit::modified(&mut random, &old);
    let (made, delta) = both(Some(&old), &new);
    let mut delta = delta.unwrap();
    let first = delta.index.images[0].segments.iter().find(|segment| segment.old.is_some()).unwrap().clone();
    delta.blob[first.blob_offset as usize + 2] ^= 1;
    let disk = Disk::with_content(vec![EMPTY; SIZE * 2]);
    let (old, mut whole) = (OldImage::of(&old), Blob::of(&made));
    let full: (&Index, &mut dyn Source) = (&made.index, &mut whole);
    let (outcome, _) = attempt(&delta.index, &mut Blob::of(&delta), Some(full), (&disk, Some(&old)), false);
    assert!(
        matches!(outcome, Err(ApplyError::WrongHash { offset, .. }) if offset == first.offset),
        "{outcome:?}"
    );
    assert_eq!(whole.requested, []);
    assert_unchanged_from(&disk, &new, first.offset);
}
