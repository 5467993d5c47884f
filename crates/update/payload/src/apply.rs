//! From a blob to images: segment by segment, each verified before it is written.
//!
//! Whatever the blob holds and wherever an attempt ended before, a target holds after each step whole verified
//! segments and what it held before. It says done only when all segments are written and synced; that the disk gives
//! them back is for [`read_back`] to say.
//!
//! [`read_back`]: crate::read_back::read_back

use std::io;
use std::thread;

use crate::frame::unpack;
use crate::index::{Image, Index, OldRange, Segment};
use crate::old::OldWindow;
use crate::place::{ReadAt, Target};
use crate::source::{Fetched, Source, TransferError, fetch};
use crate::write_behind::{Order, WriteBehind, WriteFailed};
use release::Digest;

/// Where one image goes, and where its old one is.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    pub role: &'a str,
    pub target: &'a dyn Target,
    /// For a delta.
    pub old: Option<&'a dyn ReadAt>,
}

/// What is to be done.
pub struct Apply<'a> {
    pub index: &'a Index,
    pub blob: &'a mut dyn Source,
    /// The same images without old ones: for segments whose old bytes are not what they should be.
    pub full: Option<(&'a Index, &'a mut dyn Source)>,
    /// One for each image of the index.
    pub parts: &'a [Part<'a>],
    /// Looks first at what the targets hold, and fetches only what is missing: one read of them all. For a second
    /// attempt, or where a target may hold something alike.
    pub look: bool,
    /// Called often: some times for each mebibyte.
    pub progress: &'a mut dyn FnMut(Progress),
    /// Asked as often.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// In bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Of images, on the disk, with what was there before.
    pub done: u64,
    pub total: u64,
    /// Of blobs.
    pub fetched: u64,
    /// All that will be fetched, as far as is known by now.
    pub to_fetch: u64,
}

/// How it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Bytes that came over.
    pub fetched: u64,
    /// Segments that were there already.
    pub kept: u32,
    /// Segments that were written.
    pub written: u32,
    /// Of those: taken from the full payload because their old bytes are damaged.
    pub replaced: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The caller's mistake: targets and images do not belong together.
    #[error("{role}: {what}")]
    Parts { role: String, what: &'static str },
    #[error("{role} has {needed} bytes and does not fit its place of {capacity}")]
    TooSmall { role: String, needed: u64, capacity: u64 },
    /// Worth another try.
    #[error("cannot fetch {role} at byte {offset}")]
    Transfer { role: String, offset: u64, source: TransferError },
    /// What came is not what was signed. Another try may come by another way.
    #[error("what came for {role} at byte {offset} is not what was signed")]
    WrongHash { role: String, offset: u64 },
    /// Only a full payload helps.
    #[error(
        "{role} cannot be made of what is installed: that is damaged, or another version, near byte {offset}"
    )]
    OldDamaged { role: String, offset: u64 },
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

/// Does it. After an error all that counts as done in the progress is on the disk, and another call with `look` goes
/// on from there.
pub fn apply(work: Apply<'_>) -> Result<Applied, ApplyError> {
    let Apply { index, blob, full, parts, look, progress, cancelled } = work;
    check(index, parts, full.is_some())?;
    let blob_bytes = index.images.iter().flat_map(|image| &image.segments);
    let longest = blob_bytes.map(|segment| segment.blob_length).max().unwrap_or(0) as usize;
    let counted = Progress { total: index.output_size(), to_fetch: index.blob_size, ..Progress::default() };
    let mut hands = Hands {
        blob,
        full,
        frame: Vec::with_capacity(longest),
        window: OldWindow::default(),
        watch: Watch { counted, applied: Applied::default(), progress, cancelled },
    };
    thread::scope(|scope| {
        let mut writer = WriteBehind::start(scope, index.segment_size as usize);
        for image in &index.images {
            // invariant: `check` found it.
            let Some(part) = parts.iter().find(|part| part.role == image.role) else { continue };
            hands.window.forget();
            for segment in &image.segments {
                hands.watch.go_on()?;
                let mut buffer = writer.buffer(&mut |length| hands.watch.wrote(length))?;
                let length = segment.length as usize;
                // invariant: no segment is longer than the index's segments, which the buffers were made for.
                let output = &mut buffer[..length];
                let kept = look && holds(part.target, segment, output);
                if kept {
                    hands.watch.kept(segment);
                } else {
                    hands.make(image, segment, part.old, output)?;
                    hands.watch.applied.written += 1;
                }
                let is_last = segment.offset + u64::from(segment.length) == image.size;
                writer.give(Order {
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
        writer.drain(&mut |length| hands.watch.wrote(length))?;
        Ok(hands.watch.applied)
    })
}

fn check(index: &Index, parts: &[Part<'_>], has_full: bool) -> Result<(), ApplyError> {
    let wrong = |role: &str, what| Err(ApplyError::Parts { role: role.to_owned(), what });
    for part in parts {
        if parts.iter().filter(|other| other.role == part.role).count() != 1 {
            return wrong(part.role, "two places for one image");
        }
        if index.image(part.role).is_none() {
            return wrong(part.role, "no such image is in the payload");
        }
    }
    for image in &index.images {
        let Some(part) = parts.iter().find(|part| part.role == image.role) else {
            return wrong(&image.role, "there is no place for this image");
        };
        if image.old.is_some() && part.old.is_none() && !has_full {
            return wrong(&image.role, "the old image is missing");
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

/// Whether the target has this segment. What cannot be read is not there.
fn holds(target: &dyn Target, segment: &Segment, buffer: &mut [u8]) -> bool {
    target.read_at(buffer, segment.offset).is_ok() && Digest::of(buffer) == segment.sha256
}

struct Watch<'a> {
    counted: Progress,
    applied: Applied,
    progress: &'a mut dyn FnMut(Progress),
    cancelled: &'a dyn Fn() -> bool,
}

impl Watch<'_> {
    fn go_on(&self) -> Result<(), ApplyError> {
        if (self.cancelled)() { Err(ApplyError::Cancelled) } else { Ok(()) }
    }

    fn wrote(&mut self, length: u64) {
        self.counted.done += length;
        (self.progress)(self.counted);
    }

    fn kept(&mut self, segment: &Segment) {
        self.applied.kept += 1;
        self.counted.to_fetch -= u64::from(segment.blob_length);
    }
}

struct Hands<'a> {
    blob: &'a mut dyn Source,
    full: Option<(&'a Index, &'a mut dyn Source)>,
    frame: Vec<u8>,
    window: OldWindow,
    watch: Watch<'a>,
}

impl Hands<'_> {
    /// Fills `output`; it is right when this returns.
    fn make(
        &mut self,
        image: &Image,
        segment: &Segment,
        old: Option<&dyn ReadAt>,
        output: &mut [u8],
    ) -> Result<(), ApplyError> {
        let Some(range) = &segment.old else {
            fetch_frame(self.blob, &image.role, segment, &mut self.frame, &mut self.watch)?;
            return if gives(&self.frame, None, segment, output) {
                Ok(())
            } else {
                Err(ApplyError::WrongHash { role: image.role.clone(), offset: segment.offset })
            };
        };
        if self.make_over(image, segment, range, old, output)? {
            return Ok(());
        }
        self.make_full(image, segment, output)
    }

    /// False where the old bytes are not what the segment was made over.
    fn make_over(
        &mut self,
        image: &Image,
        segment: &Segment,
        range: &OldRange,
        old: Option<&dyn ReadAt>,
        output: &mut [u8],
    ) -> Result<bool, ApplyError> {
        let Some(old) = old else { return Ok(false) };
        let Ok(bytes) = self.window.load(old, range) else { return Ok(false) };
        fetch_frame(self.blob, &image.role, segment, &mut self.frame, &mut self.watch)?;
        if gives(&self.frame, Some(bytes), segment, output) {
            return Ok(true);
        }
        // The digest of the output says all when it is right. Only now it matters who is to blame.
        if Digest::of(bytes) == range.sha256 {
            return Err(ApplyError::WrongHash { role: image.role.clone(), offset: segment.offset });
        }
        Ok(false)
    }

    fn make_full(&mut self, image: &Image, segment: &Segment, output: &mut [u8]) -> Result<(), ApplyError> {
        let (role, offset) = (image.role.clone(), segment.offset);
        let Some((index, blob)) = &mut self.full else { return Err(ApplyError::OldDamaged { role, offset }) };
        let same = |other: &&Segment| {
            other.offset == segment.offset && other.length == segment.length && other.sha256 == segment.sha256
        };
        let found = index.image(&role).and_then(|image| image.segments.iter().find(same));
        let Some(whole) = found.filter(|found| found.old.is_none()) else {
            return Err(ApplyError::OldDamaged { role, offset });
        };
        self.watch.counted.to_fetch += u64::from(whole.blob_length);
        fetch_frame(&mut **blob, &role, whole, &mut self.frame, &mut self.watch)?;
        if gives(&self.frame, None, segment, output) {
            self.watch.applied.replaced += 1;
            return Ok(());
        }
        Err(ApplyError::WrongHash { role, offset })
    }
}

/// Unpacks and verifies.
fn gives(frame: &[u8], old: Option<&[u8]>, segment: &Segment, output: &mut [u8]) -> bool {
    let length = unpack(frame, old, output);
    length.is_ok_and(|length| length == output.len()) && Digest::of(output) == segment.sha256
}

fn fetch_frame(
    source: &mut dyn Source,
    role: &str,
    segment: &Segment,
    frame: &mut Vec<u8>,
    watch: &mut Watch<'_>,
) -> Result<(), ApplyError> {
    let range = segment.blob_offset..segment.blob_offset + u64::from(segment.blob_length);
    let fetched = fetch(source, range, frame, &mut |length| {
        watch.counted.fetched += length;
        watch.applied.fetched += length;
        (watch.progress)(watch.counted);
        !(watch.cancelled)()
    });
    match fetched {
        Ok(Fetched::Whole) => Ok(()),
        Ok(Fetched::Cancelled) => Err(ApplyError::Cancelled),
        Err(source) => Err(ApplyError::Transfer { role: role.to_owned(), offset: segment.offset, source }),
    }
}
