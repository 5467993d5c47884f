//! Sources of frames.

use std::io::{self, ErrorKind, Read};
use std::ops::Range;

/// Bytes read between two checks for cancellation.
const CHUNK_BYTES: usize = 256 << 10;

/// Access to a blob by range.
pub trait Source {
    /// Returns a reader for `range`. Excess bytes are not read.
    fn fetch(&mut self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>>;
}

impl<F> Source for F
where
    F: FnMut(Range<u64>) -> io::Result<Box<dyn Read>>,
{
    fn fetch(&mut self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        self(range)
    }
}

/// Why a fetch failed. Can be retried.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum TransferError {
    #[error("the transfer failed after {got} bytes")]
    Failed { got: u64, source: io::Error },
    #[error("the transfer ended after {got} of {wanted} bytes")]
    Short { got: u64, wanted: u64 },
}

pub(crate) enum Fetched {
    Complete,
    Cancelled,
}

/// Fills `frame` with the bytes of `range`. Calls `watch` with each chunk's length; it returns false to cancel.
pub(crate) fn fetch(
    source: &mut dyn Source,
    range: Range<u64>,
    frame: &mut Vec<u8>,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Fetched, TransferError> {
    let wanted = range.end - range.start;
    let mut body = source.fetch(range).map_err(|source| TransferError::Failed { got: 0, source })?;
    // invariant: the index stores a frame's length in 32 bits.
    frame.resize(usize::try_from(wanted).unwrap_or(usize::MAX), 0);
    let mut got = 0;
    while got < frame.len() {
        let end = frame.len().min(got + CHUNK_BYTES);
        match body.read(&mut frame[got..end]) {
            Ok(0) => return Err(TransferError::Short { got: got as u64, wanted }),
            Ok(count) => {
                got += count;
                if !progress(count as u64) {
                    return Ok(Fetched::Cancelled);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(TransferError::Failed { got: got as u64, source }),
        }
    }
    Ok(Fetched::Complete)
}
