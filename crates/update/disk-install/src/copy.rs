//! Writes the content of an image while the next bytes are read.
//!
//! Each chunk is hashed once: its digest is a part of the image's, and what the disk must return.

use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use disk_slots::gpt::{HEAD, ImageTable};
use release::{ChunkedDigest, Digest};

use crate::buffer::AlignedBuffer;
use crate::chunk::{CHUNK, Content, Range};
use crate::install_error::InstallError;
use crate::target::Target;

/// Threads that hash and write: most of them wait for the disk, which is faster with several requests.
pub(crate) const THREADS: usize = 8;
/// Some are filled while the others are written.
const BUFFERS: usize = 2 * THREADS;

/// What an installation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading the image and writing it.
    Writing,
    /// Reading the disk.
    Verifying,
}

/// A chunk of the image, padded with zeros.
struct Filled {
    range: Range,
    buffer: AlignedBuffer,
}

/// A chunk that was written.
#[derive(Debug)]
struct Written {
    range: Range,
    /// Of the whole chunk, for the image's digest.
    chunk: Content,
    /// Of what is on the disk.
    content: Content,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Copied {
    /// In the order of the disk.
    pub ranges: Vec<(Range, Content)>,
    /// [`ChunkedDigest`] of the image.
    pub digest: Digest,
}

/// Writes the image, whose first bytes are `head`, and reads it to its end. Durable when it returns.
pub(crate) fn copy<F: std::error::Error, T: Target + Send + Sync>(
    table: &ImageTable,
    head: &[u8; HEAD],
    image: &mut impl Read,
    target: &mut T,
    report: &mut dyn FnMut(Phase, u64, u64),
) -> Result<Copied, InstallError<F>> {
    let total = table.image_bytes();
    let (filled, to_write) = sync_channel(BUFFERS);
    let (to_write, failed) = (Mutex::new(to_write), AtomicBool::new(false));
    let (to_write, failed, shared) = (&to_write, &failed, &*target);
    let results = thread::scope(|scope| {
        let (written, spare) = channel();
        for _ in 0..BUFFERS {
            // The receiver exists.
            drop(written.send(AlignedBuffer::new(CHUNK)));
        }
        let start = |written| scope.spawn(move || write(to_write, &written, shared, failed));
        let writers: Vec<_> = (0..THREADS).map(|_| start(written.clone())).collect();
        // An early return drops the sender, which ends the writers.
        read(table, head, image, (filled, &spare), failed, report)?;
        let panicked = |_| Err(io::Error::other("a writer has panicked"));
        let results = writers.into_iter().map(|writer| writer.join().unwrap_or_else(panicked));
        results.collect::<io::Result<Vec<_>>>().map_err(InstallError::Write)
    })?;
    target.sync().map_err(InstallError::Write)?;
    match image.read(&mut [0]).map_err(InstallError::Read)? {
        0 => report(Phase::Writing, total, total),
        _ => return Err(InstallError::Long(total)),
    }
    Ok(copied(results.into_iter().flatten().collect(), total))
}

/// Fills buffers until the image ends, or a writer has failed.
fn read<F: std::error::Error>(
    table: &ImageTable,
    head: &[u8; HEAD],
    image: &mut impl Read,
    (filled, spare): (SyncSender<Filled>, &Receiver<AlignedBuffer>),
    failed: &AtomicBool,
    report: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(), InstallError<F>> {
    let total = table.image_bytes();
    for range in Range::all(table) {
        let Ok(mut buffer) = spare.recv() else { break };
        if failed.load(Ordering::Relaxed) {
            break;
        }
        let bytes = buffer.bytes_mut();
        let at = if range.number == 0 { HEAD } else { 0 };
        if let Some(first) = bytes.get_mut(..at) {
            first.copy_from_slice(head.get(..at).unwrap_or_default());
        }
        let read = bytes.get_mut(at..range.length).unwrap_or_default();
        fill(image, read, range.start() + at as u64, total)?;
        bytes.get_mut(range.length..).unwrap_or_default().fill(0);
        if filled.send(Filled { range, buffer }).is_err() {
            break;
        }
        report(Phase::Writing, range.start() + range.length as u64, total);
    }
    Ok(())
}

/// Hashes and writes chunks until there are none, or a writer has failed.
fn write<T: Target>(
    to_write: &Mutex<Receiver<Filled>>,
    written: &Sender<AlignedBuffer>,
    target: &T,
    failed: &AtomicBool,
) -> io::Result<Vec<Written>> {
    let mut chunks = Vec::new();
    loop {
        // The lock is held while the thread waits, and released before it writes.
        let next = to_write.lock().map_err(|_| io::Error::other("a writer has panicked"))?.recv();
        let Ok(Filled { range, buffer }) = next else { return Ok(chunks) };
        match write_chunk(range, buffer.bytes(), target) {
            Ok(chunk) => chunks.push(chunk),
            Err(error) => {
                failed.store(true, Ordering::Relaxed);
                drop(written.send(buffer));
                return Err(error);
            }
        }
        // The reader may have failed.
        drop(written.send(buffer));
    }
}

fn write_chunk(range: Range, bytes: &[u8], target: &impl Target) -> io::Result<Written> {
    let (chunk, part) = (Content::of(bytes), range.written(bytes));
    let content = if part.len() == bytes.len() { chunk } else { Content::of(part) };
    match content {
        Content::Zeros => target.zero_at(range.offset(), part.len() as u64)?,
        Content::Data(_) => target.put_at(part, range.offset())?,
    }
    Ok(Written { range, chunk, content })
}

fn copied(mut written: Vec<Written>, total: u64) -> Copied {
    written.sort_unstable_by_key(|written| written.range.number);
    let mut digest = ChunkedDigest::new(total);
    for Written { range, chunk, .. } in &written {
        if let Content::Data(chunk) = chunk {
            digest.add(range.number, chunk);
        }
    }
    let digest = digest.finish(total.div_ceil(CHUNK as u64));
    let ranges = written.into_iter().map(|written| (written.range, written.content));
    Copied { ranges: ranges.filter(|(range, _)| range.written_bytes() > 0).collect(), digest }
}

/// Fills `into` from the image at `offset`.
fn fill<F: std::error::Error>(
    image: &mut impl Read,
    into: &mut [u8],
    offset: u64,
    total: u64,
) -> Result<(), InstallError<F>> {
    let mut at = 0;
    while at < into.len() {
        match image.read(into.get_mut(at..).unwrap_or_default()) {
            Ok(0) => return Err(InstallError::Short(offset + at as u64, total)),
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(InstallError::Read(error)),
        }
    }
    Ok(())
}
