//! A disk that loses unsynced data, blobs that record requests, and payloads of small images.

use std::fs;
use std::io::{self, Cursor, ErrorKind, Read};
use std::num::NonZero;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use payload::{
    Apply, ApplyError, ApplyStats, DeltaBase, ImageTarget, Index, Input, Options, Packed, Progress, ReadAt,
    Source, Target, pack, pack_delta,
};

pub const SEGMENT: u32 = 8192;
pub const OPTIONS: Options =
    Options { segment_size: SEGMENT, threads: NonZero::new(2), level: payload::DEFAULT_LEVEL };
const SECTOR: usize = 512;

/// Pseudo-random numbers (xorshift).
pub struct Random(pub u64);

impl Random {
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

    /// Half of it is compressible.
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

/// An image, modified.
pub fn modified(random: &mut Random, old: &[u8]) -> Vec<u8> {
    let mut new = old.to_vec();
    for _ in 0..3 {
        let at = random.below(new.len());
        let end = (at + random.below(700)).min(new.len());
        let length = random.below(900);
        let bytes = random.bytes(length);
        new.splice(at..end, bytes);
    }
    new
}

/// A payload of `usr` in memory.
pub struct MemoryPayload {
    pub index: Index,
    pub blob: Vec<u8>,
}

impl MemoryPayload {
    fn read(packed: &Packed) -> Self {
        Self { index: packed.index.clone(), blob: fs::read(&packed.blob_path).unwrap() }
    }
}

pub fn full(new: &[u8]) -> MemoryPayload {
    both(None, new).0
}

/// The full payload and the delta.
pub fn both(old: Option<&[u8]>, new: &[u8]) -> (MemoryPayload, Option<MemoryPayload>) {
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
        let old = DeltaBase { images: &[Input { role: "usr", path: &path }], full: Some(&full) };
        MemoryPayload::read(&pack_delta(old, &images, OPTIONS, folder.path(), &mut |_| {}).unwrap())
    });
    (MemoryPayload::read(&full), delta)
}

/// Contains a blob's bytes and records requests.
pub struct Blob<'a> {
    pub bytes: &'a [u8],
    pub requested: Vec<Range<u64>>,
}

impl<'a> Blob<'a> {
    pub fn of(made: &'a MemoryPayload) -> Self {
        Self { bytes: &made.blob, requested: Vec::new() }
    }
}

impl Source for Blob<'_> {
    fn fetch(&mut self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        self.requested.push(range.clone());
        Ok(Box::new(Cursor::new(&self.bytes[range.start as usize..range.end as usize])))
    }
}

/// An old image. Reading fails within the range.
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

/// What a power cut does to unsynced sectors.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// All are written, as after `kill -9`.
    Kept,
    Lost,
    /// Each one is written, lost or torn.
    Mixed(u64),
}

struct State {
    durable: Vec<u8>,
    content: Vec<u8>,
    /// Operations until the power cut.
    left: usize,
    /// Ends of syncs, and the content at that time.
    syncs: usize,
}

/// A partition of fixed size.
pub struct Disk(Mutex<State>);

impl Disk {
    pub fn with_content(bytes: Vec<u8>) -> Self {
        Self(Mutex::new(State { durable: bytes.clone(), content: bytes, left: usize::MAX, syncs: 0 }))
    }

    pub fn cut_power_after(&self, operations: usize) {
        self.0.lock().unwrap().left = operations;
    }

    pub fn content(&self) -> Vec<u8> {
        self.0.lock().unwrap().content.clone()
    }

    pub fn syncs(&self) -> usize {
        self.0.lock().unwrap().syncs
    }

    /// The disk after the power cut.
    pub fn crash(&self, fate: Fate) -> Self {
        let state = self.0.lock().unwrap();
        let mut bytes = state.durable.clone();
        let mut random = Random(match fate {
            Fate::Mixed(seed) => seed | 1,
            _ => 1,
        });
        for at in (0..bytes.len()).step_by(SECTOR) {
            let end = (at + SECTOR).min(bytes.len());
            if bytes[at..end] == state.content[at..end] {
                continue;
            }
            let written = match fate {
                Fate::Kept => end,
                Fate::Lost => at,
                Fate::Mixed(_) => [at, end, at + random.below(end - at)][random.below(3)],
            };
            bytes[at..written].copy_from_slice(&state.content[at..written]);
        }
        Self::with_content(bytes)
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
        let part = state.content.get(offset..offset + buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().content.len() as u64)
    }
}

impl Target for Disk {
    fn capacity(&self) -> io::Result<u64> {
        self.size()
    }

    /// The power may fail in the middle.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let offset = offset as usize;
        let half = bytes.len() / 2;
        for range in [0..half, half..bytes.len()] {
            state.operation()?;
            state.content[offset + range.start..offset + range.end].copy_from_slice(&bytes[range]);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.operation()?;
        state.durable = state.content.clone();
        state.syncs += 1;
        Ok(())
    }

    fn finish(&self, _size: u64) -> io::Result<()> {
        self.sync()
    }
}

/// Applies one image. Returns the last reported progress.
pub fn attempt(
    index: &Index,
    blob: &mut dyn Source,
    full: Option<(&Index, &mut dyn Source)>,
    (target, old): (&dyn Target, Option<&dyn ReadAt>),
    resume: bool,
) -> (Result<ApplyStats, ApplyError>, Progress) {
    let mut last = Progress::default();
    let outcome = payload::apply(Apply {
        index,
        blob,
        full: full.map(|(index, blob)| (index, &mut *blob as &mut dyn Source)),
        parts: &[ImageTarget { role: "usr", target, old }],
        unpacker: &mut payload::LocalUnpacker::default(),
        resume,
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

/// Writes a temporary file.
pub fn file(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    fs::write(folder.join(name), bytes).unwrap();
    folder.join(name)
}
