//! The `Range` request header: one byte range, or the whole file.

/// What of a file is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// The whole file.
    Full,
    /// Start (inclusive) and end (exclusive).
    Bytes(u64, u64),
    /// Nothing of the range is in the file: status 416.
    Unsatisfiable,
}

/// Parses `Range: bytes=...` for a file of `size` bytes. Multiple ranges, other units and malformed headers are
/// ignored, as HTTP allows.
pub fn parse_range(header: Option<&str>, size: u64) -> ByteRange {
    let Some((from, to)) = header.and_then(|header| header.trim().strip_prefix("bytes=")?.split_once('-'))
    else {
        return ByteRange::Full;
    };
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    match (from.trim(), to.trim()) {
        ("", "") => ByteRange::Full,
        ("", last) => match number(last) {
            None => ByteRange::Full,
            Some(0) => ByteRange::Unsatisfiable,
            Some(last) => ByteRange::Bytes(size.saturating_sub(last), size),
        },
        (from, to) => {
            let Some(from) = number(from) else { return ByteRange::Full };
            let end = match to {
                "" => size,
                to => match number(to) {
                    Some(last) if last >= from => last.saturating_add(1).min(size),
                    _ => return ByteRange::Full,
                },
            };
            if from >= size { ByteRange::Unsatisfiable } else { ByteRange::Bytes(from, end) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (header, expect) in [
            (None, ByteRange::Full),
            (Some("bytes=0-"), ByteRange::Bytes(0, 10)),
            (Some("bytes=3-"), ByteRange::Bytes(3, 10)),
            (Some("bytes=3-3"), ByteRange::Bytes(3, 4)),
            (Some("bytes=3-99"), ByteRange::Bytes(3, 10)),
            (Some("bytes=-4"), ByteRange::Bytes(6, 10)),
            (Some("bytes=-99"), ByteRange::Bytes(0, 10)),
            (Some("bytes=10-"), ByteRange::Unsatisfiable),
            (Some("bytes=-0"), ByteRange::Unsatisfiable),
            (Some("bytes=4-3"), ByteRange::Full),
            (Some("bytes=0-1,3-4"), ByteRange::Full),
            (Some("bytes=+1-2"), ByteRange::Full),
            (Some("lines=1-2"), ByteRange::Full),
            (Some("bytes=99999999999999999999-"), ByteRange::Full),
            (Some("bytes=-"), ByteRange::Full),
        ] {
            assert_eq!(parse_range(header, 10), expect, "{header:?}");
        }
        assert_eq!(parse_range(Some("bytes=0-"), 0), ByteRange::Unsatisfiable);
    }
}
