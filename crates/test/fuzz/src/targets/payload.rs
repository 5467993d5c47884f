//! The frames of an update payload, applied to a slot.

use std::io::{self, Cursor, ErrorKind, Read};
use std::ops::Range;
use std::sync::{Mutex, OnceLock};

use payload::{
    Apply, ApplyError, DeltaBase, Digest, ImageTarget, Index, Input as Image, Options, ReadAt,
    Target as Place,
};

use crate::input::Input;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "payload",
    about: "a slot gets the image that was signed, or a named error and no byte that was not signed",
    run,
    seeds,
};

const SEGMENT: usize = 4096;
const SIZE: usize = SEGMENT * 3 + 500;
const BEFORE: u8 = 0xa5;
const DAMAGED: u8 = 0;

/// Byte 0: corruption of a real payload's blob and old image, or an arbitrary frame.
fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if input.byte() % 2 == DAMAGED { damaged(input) } else { arbitrary(input) }
}

struct Base {
    index: Index,
    blob: Vec<u8>,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// A delta with segments that refer to the old image, and others.
fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let noise = |n: u32| n.wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes();
        let old: Vec<u8> = (0..SIZE as u32 / 8).flat_map(noise).collect();
        let mut new: Vec<u8> = old.iter().copied().chain((9000..).flat_map(noise)).take(SIZE).collect();
        new[5000..5100].fill(7);
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).expect("a file");
            folder.path().join(name)
        };
        let (before, after) = (put("old", &old), put("new", &new));
        let before = DeltaBase { images: &[Image { role: "usr", path: &before }], full: None };
        let options = Options { segment_size: SEGMENT as u32, threads: None, ..Options::default() };
        let images = [Image { role: "usr", path: &after }];
        let delta =
            payload::pack_delta(before, &images, options, folder.path(), &mut |_| {}).expect("a delta");
        let blob = std::fs::read(delta.blob_path).expect("its blob");
        Base { index: delta.index, blob, old, new }
    })
}

/// Repeated: blob or old image, offset, length, bytes.
fn damaged(mut input: Input<'_>) {
    let base = base();
    let (mut blob, mut old) = (base.blob.clone(), base.old.clone());
    while !input.is_empty() {
        let (place, length) = (usize::from(input.short()), usize::from(input.byte()));
        let content = if place % 2 == 0 { &mut blob } else { &mut old };
        let at = place / 2 % content.len();
        let patch = input.bytes(length.min(content.len() - at));
        content[at..at + patch.len()].copy_from_slice(patch);
    }
    let slot = Slot::new();
    let outcome = apply(&base.index, &blob, &slot, Some(&Bytes(old)));
    let held = slot.held();
    match outcome {
        Ok(()) => assert!(held == base.new, "it says done and is not"),
        Err(error) => {
            assert!(
                matches!(error, ApplyError::WrongHash { .. } | ApplyError::OldDamaged { .. }),
                "{error:?}"
            );
            for (number, piece) in held.chunks(SEGMENT).enumerate() {
                let signed = base.new.chunks(SEGMENT).nth(number);
                assert!(signed == Some(piece) || piece.iter().all(|byte| *byte == BEFORE), "not signed");
            }
        }
    }
}

/// A length, and a frame that must decode to this number of bytes.
fn arbitrary(mut input: Input<'_>) {
    let length = usize::from(input.short()) % SEGMENT + 1;
    let frame = input.rest();
    let signed = Digest::of(&vec![9; length]);
    let text = format!(
        r#"{{"schema":2,"kind":"full","segment_size":{SEGMENT},"blob_size":{size},"images":[{{"role":"usr","size":{length},"sha256":"{signed}","segments":[{{"offset":0,"length":{length},"sha256":"{signed}","blob_offset":0,"blob_length":{size},"blob_sha256":"{of_frame}"}}]}}]}}"#,
        size = frame.len(),
        of_frame = Digest::of(frame),
    );
    // Longer than any frame, or empty.
    let Ok(index) = Index::parse(text.as_bytes()) else { return };
    let slot = Slot::new();
    let outcome = apply(&index, frame, &slot, None);
    let (held, rest) = (slot.held()[..length].to_vec(), slot.held()[length..].to_vec());
    assert!(rest.iter().all(|byte| *byte == BEFORE), "written behind the image");
    match outcome {
        Ok(()) => assert!(held.iter().all(|byte| *byte == 9)),
        Err(error) => {
            assert!(matches!(error, ApplyError::WrongHash { .. }), "{error:?}");
            assert!(held.iter().all(|byte| *byte == BEFORE), "not signed");
        }
    }
}

fn apply(index: &Index, blob: &[u8], slot: &Slot, old: Option<&Bytes>) -> Result<(), ApplyError> {
    let applied = payload::apply(Apply {
        index,
        blob: &mut |range: Range<u64>| -> io::Result<Box<dyn Read>> {
            Ok(Box::new(Cursor::new(blob[range.start as usize..range.end as usize].to_vec())))
        },
        full: None,
        parts: &[ImageTarget { role: "usr", target: slot, old: old.map(|old| old as &dyn ReadAt) }],
        unpacker: &mut payload::LocalUnpacker::default(),
        resume: false,
        progress: &mut |_| {},
        cancelled: &|| false,
    });
    applied.map(drop)
}

struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset as usize + buffer.len();
        buffer.copy_from_slice(self.0.get(offset as usize..end).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

struct Slot(Mutex<Bytes>);

impl Slot {
    fn new() -> Self {
        Self(Mutex::new(Bytes(vec![BEFORE; SIZE])))
    }

    fn held(&self) -> Vec<u8> {
        self.0.lock().expect("nobody panicked").0.clone()
    }
}

impl ReadAt for Slot {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.lock().expect("nobody panicked").read_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(SIZE as u64)
    }
}

impl Place for Slot {
    fn capacity(&self) -> io::Result<u64> {
        self.size()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut held = self.0.lock().expect("nobody panicked");
        held.0[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&self, _size: u64) -> io::Result<()> {
        Ok(())
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let base = base();
    let mut seeds = vec![vec![DAMAGED], vec![DAMAGED, 20, 0, 1, 0xff], vec![DAMAGED, 21, 4, 2, 0xff, 0xff]];
    for segment in &base.index.images[0].segments {
        let from = segment.blob_offset as usize;
        let frame = &base.blob[from..from + segment.blob_length as usize];
        seeds.push([&[1, 0xff, 0x0f], frame].concat());
    }
    // 100 bytes that are what was signed: one raw block.
    let header = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 100, 0x21, 3, 0];
    seeds.push([&[1, 99, 0], &header[..], &[9; 100]].concat());
    seeds
}
