//! One segment as one zstd frame, alone or on top of old bytes.
//!
//! Unpacking gives at most what fits the buffer that the caller has: whatever a frame says of itself, it takes no
//! more memory than that, since nothing is kept of a window beside it.

use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound, get_error_name};

use crate::limits::{MAX_OLD_BYTES, SEGMENT_BYTES};

/// Shows at little cost whether old bytes help so much that looking on is not worth it.
const QUICK_LEVEL: i32 = 3;
/// A delta this many times smaller than what it gives is small enough: 32 KiB of 16 MiB.
const SMALL_ENOUGH: usize = 512;
/// Log2 of how far back a frame over old bytes looks: over all of them and all of the segment.
const WINDOW_LOG: u32 = (MAX_OLD_BYTES + SEGMENT_BYTES).ilog2();
const _: () = assert!(1_u64 << WINDOW_LOG >= (MAX_OLD_BYTES as u64) + (SEGMENT_BYTES as u64));

/// What zstd says of its own failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("zstd: {0}")]
pub struct FrameError(&'static str);

impl From<usize> for FrameError {
    fn from(code: usize) -> Self {
        Self(get_error_name(code))
    }
}

/// Always the same frame for the same bytes, level and version of zstd.
pub(crate) fn pack(segment: &[u8], level: i32) -> Result<Vec<u8>, FrameError> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level))?;
    let mut frame = Vec::with_capacity(compress_bound(segment.len()));
    context.compress2(&mut frame, segment)?;
    frame.shrink_to_fit();
    Ok(frame)
}

/// The same for a segment that is much like `old`.
pub(crate) fn pack_over(old: &[u8], segment: &[u8], level: i32) -> Result<Vec<u8>, FrameError> {
    let quick = pack_over_at(QUICK_LEVEL, old, segment)?;
    if quick.len() <= segment.len() / SMALL_ENOUGH {
        return Ok(quick);
    }
    let thorough = pack_over_at(level, old, segment)?;
    Ok(if thorough.len() < quick.len() { thorough } else { quick })
}

fn pack_over_at(level: i32, old: &[u8], segment: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level))?;
    context.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    // Finds what moved far; the tables of the level alone forget it.
    context.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    context.ref_prefix(old)?;
    let mut frame = Vec::with_capacity(compress_bound(segment.len()));
    context.compress2(&mut frame, segment)?;
    frame.shrink_to_fit();
    Ok(frame)
}

/// Fills `segment` from the start. How many bytes the frame gave; more than there is room for is an error.
pub(crate) fn unpack(frame: &[u8], old: Option<&[u8]>, segment: &mut [u8]) -> Result<usize, FrameError> {
    let mut context = DCtx::create();
    if let Some(old) = old {
        context.ref_prefix(old)?;
    }
    Ok(context.decompress(segment, frame)?)
}
