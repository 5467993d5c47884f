//! Applies a payload: writes images segment by segment. Frames are verified before they are unpacked, and segments
//! before they are written.
//!
//! At any time a target contains complete verified segments and its old content, whatever the blob contains and
//! wherever an earlier attempt stopped. Success means that all segments are written and synced. [`read_back`]
//! verifies the disk.
//!
//! [`read_back`]: crate::read_back::read_back

use std::io;
use std::thread;

use crate::index::{Image, Index, OldRange, Segment};
use crate::source::{Fetched, Source, TransferError, fetch};
use crate::target::{ReadAt, Target};
use crate::unpack::{Output, Unpack};
use crate::write_behind::{WriteBehind, WriteFailed, WriteRequest};
use release::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes of the old image that are read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// The target of one image, and its old image.
#[derive(Clone, Copy)]
pub struct ImageTarget<'a> {
    /// The image of the index to write.
    pub role: &'a str,
    /// Where it is written.
    pub target: &'a dyn Target,
    /// For a delta.
    pub old: Option<&'a dyn ReadAt>,
}

/// Arguments of [`apply`].
pub struct Apply<'a> {
    /// The verified index of the payload.
    pub index: &'a Index,
    /// The payload's file.
    pub blob: &'a mut dyn Source,
    /// The full payload of the same images, for segments whose old bytes are damaged.
    pub full: Option<(&'a Index, &'a mut dyn Source)>,
    /// One per image of the index.
    pub parts: &'a [ImageTarget<'a>],
    /// Unpacks the frames. Its output is verified.
    pub unpacker: &'a mut dyn Unpack,
    /// Reads the targets first and fetches missing segments only. For retries, or if a target may contain equal data.
    pub resume: bool,
    /// Called several times per MiB.
    pub progress: &'a mut dyn FnMut(Progress),
    /// Called as often.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// In bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Image bytes on the disk, including reused ones.
    pub done: u64,
    /// Bytes of all images.
    pub total: u64,
    /// Blob bytes.
    pub fetched: u64,
    /// Expected total of `fetched`.
    pub to_fetch: u64,
}

/// Statistics of [`apply`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApplyStats {
    /// Bytes fetched.
    pub fetched: u64,
    /// Segments that were present already.
    pub kept: u32,
    /// Segments written.
    pub written: u32,
    /// Written segments from the full payload, because their old bytes are damaged.
    pub replaced: u32,
}

/// Why the images are not written. Already written segments remain.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ApplyError {
    /// Targets and images do not match: a mistake of the caller.
    #[error("{role}: {what}")]
    InvalidTargets { role: String, what: &'static str },
    #[error("{role} has {needed} bytes and does not fit in {capacity} bytes")]
    TooSmall { role: String, needed: u64, capacity: u64 },
    /// Can be retried.
    #[error("cannot fetch {role} at byte {offset}")]
    Transfer { role: String, offset: u64, source: TransferError },
    /// The fetched data does not match the index. Another mirror may have the right data.
    #[error("the data received for {role} at byte {offset} does not match its signed hash")]
    WrongHash { role: String, offset: u64 },
    /// Only a full payload can help.
    #[error(
        "cannot apply the delta to the installed {role}: it is damaged or another version, near byte {offset}"
    )]
    OldDamaged { role: String, offset: u64 },
    /// Can be retried.
    #[error("cannot unpack {role} at byte {offset}")]
    Unpack { role: String, offset: u64, source: io::Error },
    #[error("cannot write {role} at byte {offset}")]
    Write { role: String, offset: u64, source: io::Error },
    #[error("cancelled")]
    Cancelled,
}

impl From<WriteFailed> for ApplyError {
    fn from(WriteFailed { role, offset, source }: WriteFailed) -> Self {
        Self::Write { role, offset, source }
    }
}

/// Applies a payload. After an error all bytes reported as done are on the disk, and a call with `resume` continues.
pub fn apply(arguments: Apply<'_>) -> Result<ApplyStats, ApplyError> {
    let Apply { index, blob, full, parts, unpacker, resume, progress, cancelled } = arguments;
    check_targets(index, parts, full.is_some())?;
    let blob_bytes = index.images.iter().flat_map(|image| &image.segments);
    let longest = blob_bytes.map(|segment| segment.blob_length).max().unwrap_or(0) as usize;
    let counts = Progress { total: index.output_size(), to_fetch: index.blob_size, ..Progress::default() };
    let mut assembler = Assembler {
        blob,
        full,
        frame: Vec::with_capacity(longest),
        unpacker,
        tracker: Tracker { counts, applied: ApplyStats::default(), progress, cancelled },
    };
    thread::scope(|scope| {
        let mut writer = WriteBehind::start(scope, index.segment_size as usize);
        for image in &index.images {
            // invariant: `check_targets` verified this.
            let Some(part) = parts.iter().find(|part| part.role == image.role) else { continue };
            assembler.unpacker.clear();
            for segment in &image.segments {
                assembler.tracker.check_cancelled()?;
                let mut buffer = writer.buffer(&mut |length| assembler.tracker.record_written(length))?;
                let length = segment.length as usize;
                // invariant: no segment is longer than the index's segment size, the size of the buffers.
                let output = &mut buffer[..length];
                let kept = resume && is_present(part.target, segment, output);
                if kept {
                    assembler.tracker.skipped_segment(segment);
                } else {
                    assembler.produce(image, segment, part.old, output)?;
                    assembler.tracker.applied.written += 1;
                }
                let is_last = segment.offset + u64::from(segment.length) == image.size;
                writer.submit(WriteRequest {
                    target: part.target,
                    role: part.role,
                    offset: segment.offset,
                    buffer,
                    length,
                    finish: is_last.then_some(image.size),
                    write: !kept,
                })?;
            }
        }
        writer.drain(&mut |length| assembler.tracker.record_written(length))?;
        Ok(assembler.tracker.applied)
    })
}

fn check_targets(index: &Index, parts: &[ImageTarget<'_>], has_full: bool) -> Result<(), ApplyError> {
    let mismatch = |role: &str, what| Err(ApplyError::InvalidTargets { role: role.to_owned(), what });
    for part in parts {
        if parts.iter().filter(|other| other.role == part.role).count() != 1 {
            return mismatch(part.role, "two targets for the same image");
        }
        if index.image(part.role).is_none() {
            return mismatch(part.role, "the payload does not contain this image");
        }
    }
    for image in &index.images {
        let Some(part) = parts.iter().find(|part| part.role == image.role) else {
            return mismatch(&image.role, "there is no target for this image");
        };
        if image.old.is_some() && part.old.is_none() && !has_full {
            return mismatch(&image.role, "the old image is missing");
        }
        let capacity = part.target.capacity().map_err(|source| ApplyError::Write {
            role: image.role.clone(),
            offset: 0,
            source,
        })?;
        if image.size > capacity {
            let (role, needed) = (image.role.clone(), image.size);
            return Err(ApplyError::TooSmall { role, needed, capacity });
        }
    }
    Ok(())
}

/// Whether the target contains this segment. Unreadable data counts as missing.
fn is_present(target: &dyn Target, segment: &Segment, buffer: &mut [u8]) -> bool {
    target.read_at(buffer, segment.offset).is_ok() && Digest::of(buffer) == segment.sha256
}

struct Tracker<'a> {
    counts: Progress,
    applied: ApplyStats,
    progress: &'a mut dyn FnMut(Progress),
    cancelled: &'a dyn Fn() -> bool,
}

impl Tracker<'_> {
    fn check_cancelled(&self) -> Result<(), ApplyError> {
        if (self.cancelled)() { Err(ApplyError::Cancelled) } else { Ok(()) }
    }

    fn record_written(&mut self, length: u64) {
        self.counts.done += length;
        (self.progress)(self.counts);
    }

    fn skipped_segment(&mut self, segment: &Segment) {
        self.applied.kept += 1;
        self.counts.to_fetch -= u64::from(segment.blob_length);
    }
}

struct Assembler<'a> {
    blob: &'a mut dyn Source,
    full: Option<(&'a Index, &'a mut dyn Source)>,
    frame: Vec<u8>,
    unpacker: &'a mut dyn Unpack,
    tracker: Tracker<'a>,
}

impl Assembler<'_> {
    /// Fills `output` with the verified segment.
    fn produce(
        &mut self,
        image: &Image,
        segment: &Segment,
        old: Option<&dyn ReadAt>,
        output: &mut [u8],
    ) -> Result<(), ApplyError> {
        let Some(range) = &segment.old else {
            fetch_frame(self.blob, &image.role, segment, &mut self.frame, &mut self.tracker)?;
            return if self.unpack_and_verify(&image.role, false, segment, output)? {
                Ok(())
            } else {
                Err(ApplyError::WrongHash { role: image.role.clone(), offset: segment.offset })
            };
        };
        if self.produce_from_delta(image, segment, range, old, output)? {
            return Ok(());
        }
        self.produce_from_full(image, segment, output)
    }

    /// Returns false if the old bytes are not the ones that the delta is based on.
    fn produce_from_delta(
        &mut self,
        image: &Image,
        segment: &Segment,
        range: &OldRange,
        old: Option<&dyn ReadAt>,
        output: &mut [u8],
    ) -> Result<bool, ApplyError> {
        let Some(old) = old else { return Ok(false) };
        let loaded = self.unpacker.load_old(old, range);
        if !loaded.map_err(|source| unpack_failed(&image.role, segment, source))? {
            return Ok(false);
        }
        fetch_frame(self.blob, &image.role, segment, &mut self.frame, &mut self.tracker)?;
        if self.unpack_and_verify(&image.role, true, segment, output)? {
            return Ok(true);
        }
        // A correct output digest suffices. On a mismatch, find out whether the old bytes or the index are wrong.
        if digest_of_range(old, range).is_ok_and(|digest| digest == range.sha256) {
            return Err(ApplyError::WrongHash { role: image.role.clone(), offset: segment.offset });
        }
        Ok(false)
    }

    fn produce_from_full(
        &mut self,
        image: &Image,
        segment: &Segment,
        output: &mut [u8],
    ) -> Result<(), ApplyError> {
        let (role, offset) = (image.role.clone(), segment.offset);
        let Some((index, blob)) = &mut self.full else { return Err(ApplyError::OldDamaged { role, offset }) };
        let is_same = |other: &&Segment| {
            other.offset == segment.offset && other.length == segment.length && other.sha256 == segment.sha256
        };
        let found = index.image(&role).and_then(|image| image.segments.iter().find(is_same));
        let Some(full_segment) = found.filter(|found| found.old.is_none()) else {
            return Err(ApplyError::OldDamaged { role, offset });
        };
        self.tracker.counts.to_fetch += u64::from(full_segment.blob_length);
        fetch_frame(&mut **blob, &role, full_segment, &mut self.frame, &mut self.tracker)?;
        if self.unpack_and_verify(&role, false, segment, output)? {
            self.tracker.applied.replaced += 1;
            return Ok(());
        }
        Err(ApplyError::WrongHash { role, offset })
    }

    /// Unpacks the frame and verifies the result.
    fn unpack_and_verify(
        &mut self,
        role: &str,
        with_old: bool,
        segment: &Segment,
        output: &mut [u8],
    ) -> Result<bool, ApplyError> {
        let mut output = Output::new(output);
        let unpacked = self.unpacker.unpack(&self.frame, with_old, &mut output);
        unpacked.map_err(|source| unpack_failed(role, segment, source))?;
        Ok(output.digest() == Some(segment.sha256))
    }
}

fn unpack_failed(role: &str, segment: &Segment, source: io::Error) -> ApplyError {
    ApplyError::Unpack { role: role.to_owned(), offset: segment.offset, source }
}

/// Reads the old bytes again, in pieces: a window of them is in the unpacker's memory only.
fn digest_of_range(old: &dyn ReadAt, range: &OldRange) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let end = range.offset + u64::from(range.length);
    for offset in (range.offset..end).step_by(PIECE_BYTES) {
        let length = usize::try_from(end - offset).unwrap_or(usize::MAX).min(PIECE_BYTES);
        old.read_at(&mut piece[..length], offset)?;
        hasher.update(&piece[..length]);
    }
    Ok(Digest::from_hasher(hasher))
}

/// Fetches the frame and verifies it.
fn fetch_frame(
    source: &mut dyn Source,
    role: &str,
    segment: &Segment,
    frame: &mut Vec<u8>,
    tracker: &mut Tracker<'_>,
) -> Result<(), ApplyError> {
    let range = segment.blob_offset..segment.blob_offset + u64::from(segment.blob_length);
    let fetched = fetch(source, range, frame, &mut |length| {
        tracker.counts.fetched += length;
        tracker.applied.fetched += length;
        (tracker.progress)(tracker.counts);
        !(tracker.cancelled)()
    });
    match fetched {
        Ok(Fetched::Complete) if Digest::of(frame) == segment.blob_sha256 => Ok(()),
        Ok(Fetched::Complete) => Err(ApplyError::WrongHash { role: role.to_owned(), offset: segment.offset }),
        Ok(Fetched::Cancelled) => Err(ApplyError::Cancelled),
        Err(source) => Err(ApplyError::Transfer { role: role.to_owned(), offset: segment.offset, source }),
    }
}
