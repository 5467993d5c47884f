//! A disk that loses what was not synced, blobs that can be asked what they gave, and payloads of little images.

#![allow(dead_code, clippy::unwrap_used, reason = "each test takes what it needs, and fails by panicking")]

use std::fs;
use std::io::{self, Cursor, ErrorKind, Read};
use std::num::NonZero;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use payload::{
    Applied, Apply, ApplyError, Index, Input, Old, Options, Packed, Part, Progress, ReadAt, Source, Target,
    pack, pack_delta,
};

pub const SEGMENT: u32 = 8192;
pub const OPTIONS: Options =
    Options { segment_size: SEGMENT, threads: NonZero::new(2), level: payload::THOROUGH };
const SECTOR: usize = 512;

/// Numbers that follow from a seed (xorshift).
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Half of it can be packed.
    pub fn image(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size);
        while bytes.len() < size {
            let (count, text) = (self.below(3000) + 1, self.below(2) == 0);
            let byte = self.next() as u8;
            bytes.extend((0..count).map(|_| if text { byte } else { self.next() as u8 }));
        }
        bytes.truncate(size);
        bytes
    }
}

/// An image, and what it became.
pub fn changed(chance: &mut Chance, old: &[u8]) -> Vec<u8> {
    let mut new = old.to_vec();
    for _ in 0..3 {
        let at = chance.below(new.len());
        let end = (at + chance.below(700)).min(new.len());
        let length = chance.below(900);
        let bytes = chance.bytes(length);
        new.splice(at..end, bytes);
    }
    new
}

/// A payload of `usr` in memory.
pub struct Made {
    pub index: Index,
    pub blob: Vec<u8>,
}

impl Made {
    fn read(packed: &Packed) -> Self {
        Self { index: packed.index.clone(), blob: fs::read(&packed.blob_path).unwrap() }
    }
}

pub fn full(new: &[u8]) -> Made {
    both(None, new).0
}

/// The full payload and the delta.
pub fn both(old: Option<&[u8]>, new: &[u8]) -> (Made, Option<Made>) {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).unwrap();
        folder.path().join(name)
    };
    let path = put("new", new);
    let images = [Input { role: "usr", path: &path }];
    let full = pack(&images, OPTIONS, folder.path(), &mut |_| {}).unwrap();
    let delta = old.map(|old| {
        let path = put("old", old);
        let old = Old { images: &[Input { role: "usr", path: &path }], full: Some(&full) };
        Made::read(&pack_delta(old, &images, OPTIONS, folder.path(), &mut |_| {}).unwrap())
    });
    (Made::read(&full), delta)
}

/// What has a blob's bytes, and notes what was asked for.
pub struct Blob<'a> {
    pub bytes: &'a [u8],
    pub asked: Vec<Range<u64>>,
}

impl<'a> Blob<'a> {
    pub fn of(made: &'a Made) -> Self {
        Self { bytes: &made.blob, asked: Vec::new() }
    }
}

impl Source for Blob<'_> {
    fn fetch(&mut self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        self.asked.push(range.clone());
        Ok(Box::new(Cursor::new(&self.bytes[range.start as usize..range.end as usize])))
    }
}

/// An old image; reading fails within the range.
pub struct OldImage {
    pub bytes: Vec<u8>,
    pub unreadable: Range<u64>,
}

impl OldImage {
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), unreadable: 0..0 }
    }
}

impl ReadAt for OldImage {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if offset < self.unreadable.end && self.unreadable.start < end {
            return Err(io::Error::other("unreadable sector"));
        }
        let part = self.bytes.get(offset as usize..end as usize).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }
}

/// What becomes of sectors that were written and not synced.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// As after `kill -9`: the kernel writes them.
    Kept,
    Lost,
    /// Each is kept, lost, or in pieces.
    Mixed(u64),
}

struct State {
    durable: Vec<u8>,
    seen: Vec<u8>,
    /// Operations that are left before the power goes.
    left: usize,
    /// Ends of syncs, and what was seen by then.
    syncs: usize,
}

/// A partition of a fixed size.
pub struct Disk(Mutex<State>);

impl Disk {
    pub fn holding(bytes: Vec<u8>) -> Self {
        Self(Mutex::new(State { durable: bytes.clone(), seen: bytes, left: usize::MAX, syncs: 0 }))
    }

    pub fn power_for(&self, operations: usize) {
        self.0.lock().unwrap().left = operations;
    }

    pub fn seen(&self) -> Vec<u8> {
        self.0.lock().unwrap().seen.clone()
    }

    pub fn syncs(&self) -> usize {
        self.0.lock().unwrap().syncs
    }

    /// The disk after the power came back.
    pub fn crash(&self, fate: Fate) -> Self {
        let state = self.0.lock().unwrap();
        let mut bytes = state.durable.clone();
        let mut chance = Chance(match fate {
            Fate::Mixed(seed) => seed | 1,
            _ => 1,
        });
        for at in (0..bytes.len()).step_by(SECTOR) {
            let end = (at + SECTOR).min(bytes.len());
            if bytes[at..end] == state.seen[at..end] {
                continue;
            }
            let written = match fate {
                Fate::Kept => end,
                Fate::Lost => at,
                Fate::Mixed(_) => [at, end, at + chance.below(end - at)][chance.below(3)],
            };
            bytes[at..written].copy_from_slice(&state.seen[at..written]);
        }
        Self::holding(bytes)
    }
}

impl State {
    fn operation(&mut self) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("no power"))?;
        Ok(())
    }
}

impl ReadAt for Disk {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let offset = offset as usize;
        let part = state.seen.get(offset..offset + buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }
}

impl Target for Disk {
    fn capacity(&self) -> io::Result<u64> {
        self.size()
    }

    /// The power may go in the middle of it.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let offset = offset as usize;
        let half = bytes.len() / 2;
        for range in [0..half, half..bytes.len()] {
            state.operation()?;
            state.seen[offset + range.start..offset + range.end].copy_from_slice(&bytes[range]);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.operation()?;
        state.durable = state.seen.clone();
        state.syncs += 1;
        Ok(())
    }

    fn finish(&self, _size: u64) -> io::Result<()> {
        self.sync()
    }
}

/// One attempt with one image, and the last progress that was told.
pub fn attempt(
    index: &Index,
    blob: &mut dyn Source,
    full: Option<(&Index, &mut dyn Source)>,
    (target, old): (&dyn Target, Option<&dyn ReadAt>),
    look: bool,
) -> (Result<Applied, ApplyError>, Progress) {
    let mut last = Progress::default();
    let outcome = payload::apply(Apply {
        index,
        blob,
        full: full.map(|(index, blob)| (index, &mut *blob as &mut dyn Source)),
        parts: &[Part { role: "usr", target, old }],
        look,
        progress: &mut |progress: Progress| {
            assert!(
                progress.done >= last.done && progress.fetched >= last.fetched,
                "{progress:?} after {last:?}"
            );
            assert!(progress.done <= progress.total && progress.fetched <= progress.to_fetch, "{progress:?}");
            last = progress;
        },
        cancelled: &|| false,
    });
    (outcome, last)
}

/// In a file of its own, for what must be in one.
pub fn file(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    fs::write(folder.join(name), bytes).unwrap();
    folder.join(name)
}
