//! Frames of the peer protocol: length, checksum, kind, number, contents. The length is limited before memory is
//! reserved, and the checksum is verified.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::MAX_FRAME_BYTES;

/// A message. A response carries the number of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub number: u64,
    pub contents: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a message of {0} bytes is not allowed")]
    Length(usize),
    #[error("a message's checksum does not fit")]
    Checksum,
}

/// Length and checksum.
const HEADER_BYTES: usize = 8;
/// Kind and number, which the checksum covers too.
const INNER_HEADER_BYTES: usize = 9;

pub fn put_frame(out: &mut BytesMut, kind: u8, number: u64, contents: &[u8]) {
    out.reserve(HEADER_BYTES + INNER_HEADER_BYTES + contents.len());
    out.put_u32((INNER_HEADER_BYTES + contents.len()) as u32);
    let at = out.len();
    out.put_u32(0);
    out.put_u8(kind);
    out.put_u64(number);
    out.put_slice(contents);
    let checksum = crc32c::crc32c(&out[at + 4..]);
    out[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
}

/// Removes one frame from the front of `buffer`; `None` if it is incomplete.
pub fn take_frame(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    if buffer.len() < HEADER_BYTES {
        return Ok(None);
    }
    let length = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
    if !(INNER_HEADER_BYTES..=MAX_FRAME_BYTES).contains(&length) {
        return Err(FrameError::Length(length));
    }
    if buffer.len() < HEADER_BYTES + length {
        buffer.reserve(HEADER_BYTES + length - buffer.len());
        return Ok(None);
    }
    let mut frame = buffer.split_to(HEADER_BYTES + length).freeze();
    frame.advance(4);
    let checksum = frame.get_u32();
    if crc32c::crc32c(&frame) != checksum {
        return Err(FrameError::Checksum);
    }
    let kind = frame.get_u8();
    let number = frame.get_u64();
    Ok(Some(Frame { kind, number, contents: frame }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip() {
        let mut buffer = BytesMut::new();
        put_frame(&mut buffer, 1, 7, b"seven");
        put_frame(&mut buffer, 2, 8, b"");
        let whole = buffer.clone();
        for length in 0..26 {
            let mut part = BytesMut::from(&whole[..length.min(21)]);
            assert_eq!(take_frame(&mut part).unwrap(), None, "cut at {length}");
        }
        let first = take_frame(&mut buffer).unwrap().unwrap();
        assert_eq!((first.kind, first.number, &first.contents[..]), (1, 7, &b"seven"[..]));
        let second = take_frame(&mut buffer).unwrap().unwrap();
        assert_eq!((second.kind, second.number, second.contents.len()), (2, 8, 0));
        assert!(buffer.is_empty());
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let mut whole = BytesMut::new();
        put_frame(&mut whole, 1, 7, b"seven");
        for bit in 32..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(take_frame(&mut damaged), Err(FrameError::Checksum), "bit {bit}");
        }
    }

    #[test]
    fn excessive_lengths_are_rejected() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0][..]);
        assert!(matches!(take_frame(&mut buffer), Err(FrameError::Length(_))));
    }
}
