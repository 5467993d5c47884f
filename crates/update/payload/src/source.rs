//! Where frames come from.

use std::io::{self, ErrorKind, Read};
use std::ops::Range;

/// Read between two looks at whether the work was cancelled, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// A blob, in parts: over HTTP, from a file, from a stick.
pub trait Source {
    /// A reader of the bytes in `range`. What it gives beyond is not read; it is dropped when enough came.
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

/// Why a range did not come. All of it is worth another try.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("the transfer failed after {got} bytes")]
    Failed { got: u64, source: io::Error },
    #[error("the transfer ended after {got} bytes, {wanted} were asked for")]
    Short { got: u64, wanted: u64 },
}

pub(crate) enum Fetched {
    Whole,
    Cancelled,
}

/// Fills `frame` with the bytes of `range`. `watch` is told of each piece's length; it says false to end.
pub(crate) fn fetch(
    source: &mut dyn Source,
    range: Range<u64>,
    frame: &mut Vec<u8>,
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<Fetched, TransferError> {
    let wanted = range.end - range.start;
    let mut body = source.fetch(range).map_err(|source| TransferError::Failed { got: 0, source })?;
    // invariant: a frame's length is 32 bits in the index.
    frame.resize(usize::try_from(wanted).unwrap_or(usize::MAX), 0);
    let mut got = 0;
    while got < frame.len() {
        let end = frame.len().min(got + PIECE_BYTES);
        match body.read(&mut frame[got..end]) {
            Ok(0) => return Err(TransferError::Short { got: got as u64, wanted }),
            Ok(count) => {
                got += count;
                if !watch(count as u64) {
                    return Ok(Fetched::Cancelled);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(TransferError::Failed { got: got as u64, source }),
        }
    }
    Ok(Fetched::Whole)
}
