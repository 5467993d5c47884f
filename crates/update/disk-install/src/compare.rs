//! Reads the disk back.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use disk_formats::blocks::is_zero;

use crate::buffer::AlignedBuffer;
use crate::chunk::{CHUNK, Content, Range};
use crate::copy::{Phase, THREADS};
use crate::install_error::InstallError;
use crate::target::Target;

/// The first range that differs, or cannot be read.
enum Difference {
    At(u64),
    Read(io::Error),
}

/// Compares the disk with what was written.
pub(crate) fn compare<F: std::error::Error, T: Target + Sync>(
    ranges: &[(Range, Content)],
    target: &mut T,
    report: &mut dyn FnMut(Phase, u64, u64),
) -> Result<(), InstallError<F>> {
    target.forget_cache().map_err(InstallError::Write)?;
    let total = ranges.last().map_or(0, |(range, _)| range.offset() + range.written_bytes());
    let (next, target) = (AtomicUsize::new(0), &*target);
    let next = &next;
    let results = thread::scope(|scope| {
        let others =
            (1..THREADS).map(|_| scope.spawn(move || compare_next(ranges, next, target, &mut |_| ())));
        let others: Vec<_> = others.collect();
        let mut results =
            vec![compare_next(ranges, next, target, &mut |end| report(Phase::Verifying, end, total))];
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
    ranges: &[(Range, Content)],
    next: &AtomicUsize,
    target: &T,
    done: &mut dyn FnMut(u64),
) -> Result<(), Difference> {
    let mut buffer = AlignedBuffer::new(CHUNK);
    while let Some((range, content)) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
        // At the same place of the buffer as when it was written: direct transfers need that.
        let bytes = range.written_mut(buffer.bytes_mut());
        let (offset, length) = (range.offset(), range.written_bytes());
        let is_equal = match content {
            Content::Zeros if target.is_hole(offset, length) => true,
            content => {
                target.read_back(bytes, offset).map_err(Difference::Read)?;
                match content {
                    Content::Zeros => is_zero(bytes),
                    Content::Data(_) => Content::of(bytes) == *content,
                }
            }
        };
        if !is_equal {
            // The other threads end with this one.
            next.store(ranges.len(), Ordering::Relaxed);
            return Err(Difference::At(offset));
        }
        done(offset + length);
    }
    Ok(())
}
