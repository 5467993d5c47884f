//! Writes the content of an image while the next bytes are read, and reads the disk back.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use disk_slots::gpt::{HEAD, ImageTable};
use release::Digest;

use crate::install_error::InstallError;
use crate::target::Target;

/// Bytes that are written, and later compared, as one. A divisor of the cleared ends.
const CHUNK: usize = 1 << 20;
/// Some are filled while another one is written.
const BUFFERS: usize = 8;
/// Bytes after which they are flushed, so that little is left for the end.
const FLUSH: u64 = 128 << 20;
/// Threads that compare: reading waits for the disk, hashing for the processor.
const READERS: usize = 2;

static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// What an installation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading the image and writing it.
    Writing,
    /// Reading the disk.
    Verifying,
}

/// What was written: zeros, or bytes with this digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    Zeros,
    Data(Digest),
}

/// Bytes of the image, and where they belong.
struct Filled {
    offset: u64,
    length: usize,
    buffer: Vec<u8>,
}

/// Ranges from the primary table to the end of the last partition.
fn ranges(table: &ImageTable) -> impl Iterator<Item = (u64, usize)> {
    let (chunk, end) = (CHUNK as u64, table.content_bytes());
    (0..end.div_ceil(chunk)).map(move |number| {
        let (start, end) = ((number * chunk).max(HEAD as u64), ((number + 1) * chunk).min(end));
        (start, usize::try_from(end.saturating_sub(start)).unwrap_or(0))
    })
}

/// Writes the rest of the image, and reads it to its end. Durable when it returns.
pub(crate) fn copy<F: std::error::Error, T: Target + Send>(
    table: &ImageTable,
    image: &mut impl Read,
    target: &mut T,
    report: &mut dyn FnMut(Phase, u64, u64),
) -> Result<Vec<Chunk>, InstallError<F>> {
    let total = table.image_bytes();
    let chunks = thread::scope(|scope| {
        let (filled, to_write) = sync_channel(BUFFERS);
        let (written, spare) = channel();
        for _ in 0..BUFFERS {
            // The receiver exists.
            drop(written.send(vec![0; CHUNK]));
        }
        let writer = scope.spawn(move || write(&to_write, &written, target));
        // An early return drops the sender, which ends the writer.
        read(table, image, (&filled, &spare), report)?;
        drop(filled);
        let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer has panicked")));
        written.map_err(InstallError::Write)
    })?;
    drain(table, image)?;
    report(Phase::Writing, total, total);
    Ok(chunks)
}

/// Fills buffers until the content ends, or the writer does because of its error.
fn read<F: std::error::Error>(
    table: &ImageTable,
    image: &mut impl Read,
    (filled, spare): (&SyncSender<Filled>, &Receiver<Vec<u8>>),
    report: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(), InstallError<F>> {
    let total = table.image_bytes();
    for (offset, length) in ranges(table) {
        let Ok(mut buffer) = spare.recv() else { break };
        fill(image, buffer.get_mut(..length).unwrap_or_default(), offset, total)?;
        if filled.send(Filled { offset, length, buffer }).is_err() {
            break;
        }
        report(Phase::Writing, offset + length as u64, total);
    }
    Ok(())
}

fn write<T: Target>(
    to_write: &Receiver<Filled>,
    written: &Sender<Vec<u8>>,
    target: &mut T,
) -> io::Result<Vec<Chunk>> {
    let (mut chunks, mut unflushed) = (Vec::new(), 0);
    for Filled { offset, length, buffer } in to_write {
        let bytes = buffer.get(..length).unwrap_or_default();
        chunks.push(if is_zero(bytes) {
            target.zero_at(offset, length as u64)?;
            Chunk::Zeros
        } else {
            target.write_at(bytes, offset)?;
            unflushed += length as u64;
            Chunk::Data(Digest::of(bytes))
        });
        if unflushed >= FLUSH {
            target.sync()?;
            unflushed = 0;
        }
        // The reader may have failed.
        drop(written.send(buffer));
    }
    target.sync()?;
    Ok(chunks)
}

/// Reads the unused space, and the backup table, which belongs at the end of the disk.
fn drain<F: std::error::Error>(table: &ImageTable, image: &mut impl Read) -> Result<(), InstallError<F>> {
    let (mut at, total) = (table.content_bytes(), table.image_bytes());
    let mut buffer = vec![0; CHUNK];
    while at < total {
        let length = usize::try_from(total - at).unwrap_or(usize::MAX).min(CHUNK);
        fill(image, buffer.get_mut(..length).unwrap_or_default(), at, total)?;
        at += length as u64;
    }
    match image.read(&mut [0]).map_err(InstallError::Read)? {
        0 => Ok(()),
        _ => Err(InstallError::Long(total)),
    }
}

/// `bytes` are at most a chunk.
fn is_zero(bytes: &[u8]) -> bool {
    ZEROS.get(..bytes.len()).is_some_and(|zeros| zeros == bytes)
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

/// The first range that differs, or cannot be read.
enum Difference {
    At(u64),
    Read(io::Error),
}

/// Compares the disk with what was written.
pub(crate) fn compare<F: std::error::Error, T: Target + Sync>(
    table: &ImageTable,
    chunks: &[Chunk],
    target: &mut T,
    report: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(), InstallError<F>> {
    target.forget_cache().map_err(InstallError::Write)?;
    let total = table.content_bytes();
    let all: Vec<_> = ranges(table).zip(chunks).collect();
    let next = AtomicUsize::new(0);
    let target = &*target;
    let (all, next) = (&all, &next);
    let results = thread::scope(|scope| {
        let others = (1..READERS).map(|_| scope.spawn(move || compare_next(all, next, target, &mut |_| ())));
        let others: Vec<_> = others.collect();
        let mut results =
            vec![compare_next(all, next, target, &mut |end| report(Phase::Verifying, end, total))];
        let panicked = || Err(Difference::Read(io::Error::other("a reader has panicked")));
        results.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|_| panicked())));
        results
    });
    for result in results {
        result.map_err(|difference| match difference {
            Difference::At(offset) => InstallError::Defective(offset),
            Difference::Read(error) => InstallError::Write(error),
        })?;
    }
    report(Phase::Verifying, total, total);
    Ok(())
}

/// Compares ranges that no other thread does, until none is left.
fn compare_next<T: Target>(
    all: &[((u64, usize), &Chunk)],
    next: &AtomicUsize,
    target: &T,
    done: &mut dyn FnMut(u64),
) -> Result<(), Difference> {
    let mut buffer = vec![0; CHUNK];
    while let Some(((offset, length), chunk)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
        let bytes = buffer.get_mut(..*length).unwrap_or_default();
        let is_equal = match chunk {
            Chunk::Zeros if target.is_hole(*offset, *length as u64) => true,
            chunk => {
                target.read_at(bytes, *offset).map_err(Difference::Read)?;
                match chunk {
                    Chunk::Zeros => is_zero(bytes),
                    Chunk::Data(digest) => Digest::of(bytes) == *digest,
                }
            }
        };
        if !is_equal {
            // The other threads end with this one.
            next.store(all.len(), Ordering::Relaxed);
            return Err(Difference::At(*offset));
        }
        done(offset + *length as u64);
    }
    Ok(())
}
