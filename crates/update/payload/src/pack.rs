//! Packs images to a blob and an index, in parallel.
//!
//! Deterministic for the same images and zstd version. Files appear atomically. A complete and correct existing
//! payload is reused.

use std::fs::{self, File};
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::atomic_file::{AtomicFile, WriteError};
use crate::frame::{self, FrameError};
use crate::index::{Image, Index, Kind, OldImage, OldRange, Segment};
use crate::input_file::{InputFile, PathContext, ReadError, digest};
use crate::limits::{MAX_INDEX_BYTES, MAX_OLD_BYTES, SEGMENT_BYTES};
use crate::target::ReadAt;
use release::Digest;

/// Range of the old image for the delta of a segment, relative to the segment's offset.
const OLD_BEFORE: u64 = SEGMENT_BYTES as u64;
const OLD_FROM: u64 = MAX_OLD_BYTES as u64 - OLD_BEFORE;
/// Deltas smaller than this fraction of their segment are not compared with the full frame.
const COMPARE_RATIO: u32 = 64;

/// An image to pack.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the image's role, `usr` or `uki`, and its file")]
pub struct Input<'a> {
    pub role: &'a str,
    pub path: &'a Path,
}

/// Packing options.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A multiple of 4096, at most [`SEGMENT_BYTES`].
    pub segment_size: u32,
    /// Each thread needs about 200 MiB; `None`: one per processor.
    pub threads: Option<NonZero<usize>>,
    /// zstd level, from 1 (fast) to [`DEFAULT_LEVEL`].
    pub level: i32,
}

/// Slow: packing happens once and offline.
pub const DEFAULT_LEVEL: i32 = 19;

impl Default for Options {
    fn default() -> Self {
        Self { segment_size: SEGMENT_BYTES, threads: None, level: DEFAULT_LEVEL }
    }
}

/// What a delta is based on.
#[derive(Debug, Clone, Copy)]
pub struct DeltaBase<'a> {
    /// Old images by role. Roles that the new version lacks are ignored.
    pub images: &'a [Input<'a>],
    /// The full payload of the new images, whose frames are used where they are smaller. Without it they are packed
    /// again.
    pub full: Option<&'a Packed>,
}

/// Image bytes packed so far and in total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are named in the struct's documentation")]
pub struct PackProgress {
    pub done: u64,
    pub total: u64,
}

/// A payload in a folder.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the index as written; sizes in bytes and digests as in the release")]
pub struct Packed {
    pub index: Index,
    /// `full.index.json` or `delta.index.json`.
    pub index_path: PathBuf,
    pub index_size: u64,
    pub index_sha256: Digest,
    /// `full.blob` or `delta.blob`.
    pub blob_path: PathBuf,
    pub blob_size: u64,
    pub blob_sha256: Digest,
}

/// Why no payload was written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum PackError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("cannot pack {role} at byte {offset}")]
    Frame { role: String, offset: u64, source: FrameError },
    #[error("{role} at byte {offset} differs after decompression: a bug or faulty memory")]
    VerifyFailed { role: String, offset: u64 },
    #[error("the images exceed a limit")]
    Limits(#[source] crate::index::IndexError),
    #[error("{0} changed while it was packed")]
    Changed(PathBuf),
}

/// Packs a full payload.
pub fn pack(
    images: &[Input<'_>],
    options: Options,
    folder: &Path,
    progress: &mut dyn FnMut(PackProgress),
) -> Result<Packed, PackError> {
    Job::prepare(Kind::Full, images, None, options)?.run(folder, progress)
}

/// Packs a delta to the old images.
pub fn pack_delta(
    old: DeltaBase<'_>,
    images: &[Input<'_>],
    options: Options,
    folder: &Path,
    progress: &mut dyn FnMut(PackProgress),
) -> Result<Packed, PackError> {
    Job::prepare(Kind::Delta, images, Some(old), options)?.run(folder, progress)
}

/// A segment to pack.
#[derive(Clone, Copy)]
struct Task {
    image: usize,
    offset: u64,
    length: u32,
}

/// A packed segment, without its offset in the blob.
struct PackedSegment {
    sha256: Digest,
    frame: Vec<u8>,
    old: Option<OldRange>,
}

struct Job<'a> {
    kind: Kind,
    options: Options,
    /// Without segments.
    images: Vec<Image>,
    files: Vec<(InputFile, Option<InputFile>)>,
    full: Option<(&'a Index, File, &'a Path)>,
}

impl<'a> Job<'a> {
    fn prepare(
        kind: Kind,
        inputs: &[Input<'_>],
        old: Option<DeltaBase<'a>>,
        options: Options,
    ) -> Result<Self, PackError> {
        let (mut images, mut files) = (Vec::new(), Vec::new());
        for input in inputs {
            let new = InputFile::read(input.path)?;
            let old_file = old.and_then(|old| old.images.iter().find(|old| old.role == input.role));
            let old_file = old_file.map(|input| InputFile::read(input.path)).transpose()?;
            images.push(Image {
                role: input.role.to_owned(),
                size: new.size,
                sha256: new.sha256,
                old: old_file.as_ref().map(|old| OldImage { size: old.size, sha256: old.sha256 }),
                segments: Vec::new(),
            });
            files.push((new, old_file));
        }
        let full = old.and_then(|old| old.full).map(|full| {
            let file = File::open(&full.blob_path).at(&full.blob_path)?;
            Ok::<_, ReadError>((&full.index, file, full.blob_path.as_path()))
        });
        Ok(Self { kind, options, images, files, full: full.transpose()? })
    }

    fn run(self, folder: &Path, progress: &mut dyn FnMut(PackProgress)) -> Result<Packed, PackError> {
        let tasks = self.tasks()?;
        let name = match self.kind {
            Kind::Full => "full",
            Kind::Delta => "delta",
        };
        let (index_path, blob_path) =
            (folder.join(format!("{name}.index.json")), folder.join(format!("{name}.blob")));
        let write = |source| WriteError { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(write)?;
        // Held until dropped: a concurrent run waits and then reuses the payload.
        let lock = File::open(folder).map_err(write)?;
        lock.lock().map_err(write)?;
        if let Some(index) = self.reusable_index(&index_path, &blob_path) {
            let done = index.output_size();
            progress(PackProgress { done, total: done });
            return packed(index, index_path, blob_path);
        }
        let mut blob = AtomicFile::create(&blob_path)?;
        let images = self.fill(&tasks, &mut blob, progress)?;
        for (image, (file, _)) in images.iter().zip(&self.files) {
            if digest(&file.file, file.size).at(&file.path)? != image.sha256 {
                return Err(PackError::Changed(file.path.clone()));
            }
        }
        let index = Index::new(self.kind, self.options.segment_size, blob.length, images);
        index.check().map_err(PackError::Limits)?;
        let text = index.to_bytes();
        if text.len() > MAX_INDEX_BYTES {
            return Err(PackError::Limits(crate::index::IndexError::TooLong(text.len())));
        }
        // An existing index implies a complete blob.
        match fs::remove_file(&index_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(write(error).into()),
            _ => {}
        }
        blob.commit(&blob_path)?;
        let mut file = AtomicFile::create(&index_path)?;
        file.append(&text)?;
        file.commit(&index_path)?;
        packed(index, index_path, blob_path)
    }

    /// All segments in the blob's order. Checks limits that are known before packing.
    fn tasks(&self) -> Result<Vec<Task>, PackError> {
        let size = u64::from(self.options.segment_size.max(1));
        let mut tasks = Vec::new();
        let mut empty = Index::new(self.kind, self.options.segment_size, 0, Vec::new());
        for (number, image) in self.images.iter().enumerate() {
            let offsets = (0..image.size).step_by(usize::try_from(size).unwrap_or(usize::MAX));
            tasks.extend(offsets.map(|offset| Task {
                image: number,
                offset,
                // invariant: at most the segment size, which is 32 bits.
                length: u32::try_from(size.min(image.size - offset)).unwrap_or(u32::MAX),
            }));
            empty.images.push(image.clone());
        }
        empty.check_images().map_err(PackError::Limits)?;
        Ok(tasks)
    }

    /// The payload of an earlier run, if it has the same images and is correct.
    fn reusable_index(&self, index_path: &Path, blob_path: &Path) -> Option<Index> {
        let index = Index::parse(&fs::read(index_path).ok()?).ok()?;
        let is_same = |image: &Image, found: &Image| {
            image.role == found.role
                && image.size == found.size
                && image.sha256 == found.sha256
                && image.old == found.old
        };
        let blob = File::open(blob_path).ok()?;
        if index.kind != self.kind
            || index.segment_size != self.options.segment_size
            || index.images.len() != self.images.len()
            || !self.images.iter().zip(&index.images).all(|(image, found)| is_same(image, found))
            || ReadAt::size(&blob).ok()? != index.blob_size
        {
            return None;
        }
        for (image, (_, old)) in index.images.iter().zip(&self.files) {
            for segment in &image.segments {
                let mut frame = vec![0; segment.blob_length as usize];
                blob.read_at(&mut frame, segment.blob_offset).ok()?;
                let is_listed = Digest::of(&frame) == segment.blob_sha256;
                let range = segment.old.as_ref();
                let range = range.map(|range| old.as_ref()?.bytes(range.offset, range.length.into()).ok());
                let range = match range {
                    Some(None) => return None,
                    range => range.flatten(),
                };
                let mut output = vec![0; segment.length as usize];
                let length = frame::unpack(&frame, range.as_deref(), &mut output).ok()?;
                if !is_listed || length != output.len() || Digest::of(&output) != segment.sha256 {
                    return None;
                }
            }
        }
        Some(index)
    }

    /// Packs all segments in parallel and appends them to the blob in order.
    fn fill(
        &self,
        tasks: &[Task],
        blob: &mut AtomicFile,
        progress: &mut dyn FnMut(PackProgress),
    ) -> Result<Vec<Image>, PackError> {
        let threads = self.options.threads.or_else(|| thread::available_parallelism().ok());
        let threads = threads.map_or(1, NonZero::get).min(tasks.len());
        let mut images = self.images.clone();
        let mut packing = PackProgress { done: 0, total: images.iter().map(|image| image.size).sum() };
        thread::scope(|scope| {
            // Each thread is at most one segment ahead, which limits memory.
            let receivers: Vec<Receiver<Result<PackedSegment, PackError>>> = (0..threads)
                .map(|first| {
                    let (sender, receiver) = sync_channel(1);
                    scope.spawn(move || self.run_worker(tasks.iter().skip(first).step_by(threads), &sender));
                    receiver
                })
                .collect();
            for (number, task) in tasks.iter().enumerate() {
                let failed_verification = || PackError::VerifyFailed {
                    role: self.images[task.image].role.clone(),
                    offset: task.offset,
                };
                let made = receivers[number % threads].recv().map_err(|_| failed_verification())??;
                images[task.image].segments.push(Segment {
                    offset: task.offset,
                    length: task.length,
                    sha256: made.sha256,
                    blob_offset: blob.length,
                    blob_length: u32::try_from(made.frame.len()).map_err(|_| failed_verification())?,
                    blob_sha256: Digest::of(&made.frame),
                    old: made.old,
                });
                blob.append(&made.frame)?;
                packing.done += u64::from(task.length);
                progress(packing);
            }
            Ok(images)
        })
    }

    /// Stops when the receiver is dropped.
    fn run_worker<'t>(
        &self,
        tasks: impl Iterator<Item = &'t Task>,
        sender: &SyncSender<Result<PackedSegment, PackError>>,
    ) {
        for task in tasks {
            if sender.send(self.pack_segment(*task)).is_err() {
                return;
            }
        }
    }

    fn pack_segment(&self, task: Task) -> Result<PackedSegment, PackError> {
        let role = &self.images[task.image].role;
        let (new, old) = &self.files[task.image];
        let bytes = new.bytes(task.offset, task.length.into())?;
        let failed = |source| PackError::Frame { role: role.clone(), offset: task.offset, source };
        let (mut frame, mut range, mut base) = (None, None, None);
        if let Some(old) = old {
            let from = task.offset.saturating_sub(OLD_BEFORE);
            let end = (task.offset + OLD_FROM).min(old.size);
            if from < end {
                let base_bytes = old.bytes(from, end - from)?;
                frame = Some(frame::pack_delta(&base_bytes, &bytes, self.options.level).map_err(failed)?);
                let length = u32::try_from(end - from).unwrap_or(u32::MAX);
                range = Some(OldRange { offset: from, length, sha256: Digest::of(&base_bytes) });
                base = Some(base_bytes);
            }
        }
        let sha256 = Digest::of(&bytes);
        let is_small = |frame: &Vec<u8>| frame.len() < (task.length / COMPARE_RATIO) as usize;
        if !frame.as_ref().is_some_and(is_small) {
            let full = match self.full_frame(role, task, sha256)? {
                Some(full) => full,
                None => frame::pack(&bytes, self.options.level).map_err(failed)?,
            };
            if frame.as_ref().is_none_or(|frame| full.len() <= frame.len()) {
                (frame, range, base) = (Some(full), None, None);
            }
        }
        let frame = frame.unwrap_or_default();
        let mut unpacked = vec![0; bytes.len()];
        let length = frame::unpack(&frame, base.as_deref(), &mut unpacked).map_err(failed)?;
        if length != bytes.len() || unpacked != bytes {
            return Err(PackError::VerifyFailed { role: role.clone(), offset: task.offset });
        }
        Ok(PackedSegment { sha256, frame, old: range })
    }

    /// The segment's frame in the full payload.
    fn full_frame(&self, role: &str, task: Task, sha256: Digest) -> Result<Option<Vec<u8>>, PackError> {
        let Some((index, blob, path)) = &self.full else { return Ok(None) };
        let segments = index.image(role).map(|image| &image.segments[..]).unwrap_or_default();
        let Some(found) = segments.iter().find(|segment| {
            segment.offset == task.offset && segment.length == task.length && segment.sha256 == sha256
        }) else {
            return Ok(None);
        };
        let mut frame = vec![0; found.blob_length as usize];
        blob.read_at(&mut frame, found.blob_offset).at(path)?;
        Ok(Some(frame))
    }
}

fn packed(index: Index, index_path: PathBuf, blob_path: PathBuf) -> Result<Packed, PackError> {
    let text = index.to_bytes();
    let blob = InputFile::read(&blob_path)?;
    Ok(Packed {
        index,
        index_size: text.len() as u64,
        index_sha256: Digest::of(&text),
        index_path,
        blob_size: blob.size,
        blob_sha256: blob.sha256,
        blob_path,
    })
}
