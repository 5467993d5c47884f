//! Which part of a file is asked for: one range of bytes, or all.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    /// From the first to before the second.
    Bytes(u64, u64),
    /// Nothing of it is in the file.
    Outside,
}

/// What `Range: bytes=...` means for a file of `size` bytes. Several ranges, other units and what cannot be read
/// count as not there, as HTTP lets servers do.
pub fn part(header: Option<&str>, size: u64) -> Part {
    let Some((from, to)) = header.and_then(|header| header.trim().strip_prefix("bytes=")?.split_once('-'))
    else {
        return Part::All;
    };
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    match (from.trim(), to.trim()) {
        ("", "") => Part::All,
        ("", last) => match number(last) {
            None => Part::All,
            Some(0) => Part::Outside,
            Some(last) => Part::Bytes(size.saturating_sub(last), size),
        },
        (from, to) => {
            let Some(from) = number(from) else { return Part::All };
            let end = match to {
                "" => size,
                to => match number(to) {
                    Some(last) if last >= from => last.saturating_add(1).min(size),
                    _ => return Part::All,
                },
            };
            if from >= size { Part::Outside } else { Part::Bytes(from, end) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (header, expect) in [
            (None, Part::All),
            (Some("bytes=0-"), Part::Bytes(0, 10)),
            (Some("bytes=3-"), Part::Bytes(3, 10)),
            (Some("bytes=3-3"), Part::Bytes(3, 4)),
            (Some("bytes=3-99"), Part::Bytes(3, 10)),
            (Some("bytes=-4"), Part::Bytes(6, 10)),
            (Some("bytes=-99"), Part::Bytes(0, 10)),
            (Some("bytes=10-"), Part::Outside),
            (Some("bytes=-0"), Part::Outside),
            (Some("bytes=4-3"), Part::All),
            (Some("bytes=0-1,3-4"), Part::All),
            (Some("bytes=+1-2"), Part::All),
            (Some("lines=1-2"), Part::All),
            (Some("bytes=99999999999999999999-"), Part::All),
            (Some("bytes=-"), Part::All),
        ] {
            assert_eq!(part(header, 10), expect, "{header:?}");
        }
        assert_eq!(part(Some("bytes=0-"), 0), Part::Outside);
    }
}
