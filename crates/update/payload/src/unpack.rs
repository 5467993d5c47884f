//! Unpacks frames: in this process, or where the caller wants it.

use std::io;

use release::Digest;
use sha2::{Digest as _, Sha256};

use crate::frame::{self, FrameError};
use crate::index::OldRange;
use crate::old_window::OldWindow;
use crate::target::ReadAt;

/// A segment that is filled and hashed from its beginning to its end. Filled bytes cannot be changed any more.
#[derive(Debug)]
pub struct Output<'a> {
    bytes: &'a mut [u8],
    filled: usize,
    hasher: Sha256,
}

impl<'a> Output<'a> {
    /// Nothing of `bytes` is filled.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, filled: 0, hasher: Sha256::new() }
    }

    /// The bytes to fill.
    pub fn unfilled(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// The first `count` of the unfilled bytes are filled.
    pub fn advance(&mut self, count: usize) {
        let end = self.bytes.len().min(self.filled + count);
        self.hasher.update(&self.bytes[self.filled..end]);
        self.filled = end;
    }

    /// Of all bytes; `None` if some are not filled.
    pub(crate) fn digest(self) -> Option<Digest> {
        (self.filled == self.bytes.len()).then(|| Digest::from_hasher(self.hasher))
    }
}

/// Unpacks the frames of one image after the other. Nobody trusts its output: [`apply`] verifies it.
///
/// [`apply`]: crate::apply
pub trait Unpack {
    /// Drops the old bytes, before another image.
    fn clear(&mut self);

    /// Reads the old bytes that the next frame is based on. Returns false if they cannot be read.
    ///
    /// # Errors
    /// The unpacker fails, not the old image.
    fn load_old(&mut self, old: &dyn ReadAt, range: &OldRange) -> io::Result<bool>;

    /// Unpacks a frame, based on the loaded bytes if `with_old`. Fills `output` if the frame has as many bytes.
    ///
    /// # Errors
    /// The unpacker fails, not the frame.
    fn unpack(&mut self, frame: &[u8], with_old: bool, output: &mut Output<'_>) -> io::Result<()>;
}

/// Unpacks in this process. For bytes of one's own only: the decompressor is C.
#[derive(Debug, Default)]
pub struct LocalUnpacker {
    window: OldWindow,
}

impl Unpack for LocalUnpacker {
    fn clear(&mut self) {
        self.window.clear();
    }

    fn load_old(&mut self, old: &dyn ReadAt, range: &OldRange) -> io::Result<bool> {
        Ok(self.window.load(old, range).is_ok())
    }

    fn unpack(&mut self, frame: &[u8], with_old: bool, output: &mut Output<'_>) -> io::Result<()> {
        let old = with_old.then(|| self.window.bytes());
        let unfilled = output.unfilled();
        let wanted = unfilled.len();
        if unpack_frame(frame, old, unfilled).is_ok_and(|length| length == wanted) {
            output.advance(wanted);
        }
        Ok(())
    }
}

/// Unpacks a frame to the start of `output`, with `old` as its prefix, and returns its length in bytes.
///
/// # Errors
/// The frame is invalid, or longer than `output`.
pub fn unpack_frame(frame: &[u8], old: Option<&[u8]>, output: &mut [u8]) -> Result<usize, FrameError> {
    frame::unpack(frame, old, output)
}
