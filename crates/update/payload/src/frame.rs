//! Segments as zstd frames, optionally with old bytes as the prefix.
//!
//! Unpacking is limited by the caller's buffer and allocates no window, whatever the frame's header requests.

use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound, get_error_name};

use crate::limits::{MAX_OLD_BYTES, SEGMENT_BYTES};

/// Cheap level that shows whether a thorough attempt can save much.
const QUICK_LEVEL: i32 = 3;
/// Ratio from which a delta is small enough: 32 KiB for 16 MiB.
const SMALL_ENOUGH: usize = 512;
/// Log2 of the window of a delta frame: covers the old bytes and the segment.
const WINDOW_LOG: u32 = (MAX_OLD_BYTES + SEGMENT_BYTES).ilog2();
const _: () = assert!(1_u64 << WINDOW_LOG >= (MAX_OLD_BYTES as u64) + (SEGMENT_BYTES as u64));

/// An error reported by zstd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("zstd: {0}")]
pub struct FrameError(&'static str);

impl From<usize> for FrameError {
    fn from(code: usize) -> Self {
        Self(get_error_name(code))
    }
}

/// Deterministic for the same bytes, level and zstd version.
pub(crate) fn pack(segment: &[u8], level: i32) -> Result<Vec<u8>, FrameError> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level))?;
    let mut frame = Vec::with_capacity(compress_bound(segment.len()));
    context.compress2(&mut frame, segment)?;
    frame.shrink_to_fit();
    Ok(frame)
}

/// As [`pack`], for a segment that resembles `old`.
pub(crate) fn pack_delta(old: &[u8], segment: &[u8], level: i32) -> Result<Vec<u8>, FrameError> {
    let quick = pack_delta_at(QUICK_LEVEL, old, segment)?;
    if quick.len() <= segment.len() / SMALL_ENOUGH {
        return Ok(quick);
    }
    let thorough = pack_delta_at(level, old, segment)?;
    Ok(if thorough.len() < quick.len() { thorough } else { quick })
}

fn pack_delta_at(level: i32, old: &[u8], segment: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level))?;
    context.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    // Finds data that moved far, beyond the tables of the level.
    context.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    context.ref_prefix(old)?;
    let mut frame = Vec::with_capacity(compress_bound(segment.len()));
    context.compress2(&mut frame, segment)?;
    frame.shrink_to_fit();
    Ok(frame)
}

/// Unpacks to the start of `segment` and returns the length. More bytes than fit are an error.
pub(crate) fn unpack(frame: &[u8], old: Option<&[u8]>, segment: &mut [u8]) -> Result<usize, FrameError> {
    let mut context = DCtx::create();
    if let Some(old) = old {
        context.ref_prefix(old)?;
    }
    Ok(context.decompress(segment, frame)?)
}
