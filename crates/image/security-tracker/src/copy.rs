//! A stored copy of a feed: lines with its release, date and source, an empty line, and the compressed feed.
//!
//! The date is in the file: copying the file does not make the data newer.

use jiff::Timestamp;

use crate::limits::HEAD_BYTES;

const MAGIC: &str = "Keelson copy of Debian's security tracker, format 1";

/// A stored copy of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Code name of the Debian release.
    pub release: String,
    /// When it was downloaded, or changed on the server if that was earlier.
    pub date: Timestamp,
    /// URL that it was downloaded from.
    pub url: String,
    /// The feed, compressed.
    pub feed: Vec<u8>,
}

/// A malformed copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The first lines end without an empty line.
    #[error("line {line}: the file ends within its first lines, or they are too long")]
    Head {
        /// Counted from 1.
        line: usize,
    },
    /// A line lacks.
    #[error("line {line}: expected `{expected}`")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The expected line or field.
        expected: &'static str,
    },
    /// The date is malformed.
    #[error("line 3: malformed date")]
    Date(#[source] jiff::Error),
}

impl Copy {
    /// Whether the file is a copy in this format; otherwise it may be a feed as debsecan reads it.
    #[must_use]
    pub fn is_copy(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC.as_bytes())
    }

    /// Reads the file's content. The feed is not parsed.
    ///
    /// # Errors
    /// If the first lines are malformed.
    pub fn read(bytes: &[u8]) -> Result<Self, CopyError> {
        let window = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
        let length = window.windows(2).position(|pair| pair == b"\n\n");
        let line_count = || 1 + window.iter().filter(|byte| **byte == b'\n').count();
        let length = length.ok_or_else(|| CopyError::Head { line: line_count() })?;
        let head = String::from_utf8_lossy(&window[..length]).into_owned();
        let mut lines = head.lines();
        if lines.next() != Some(MAGIC) {
            return Err(CopyError::Line { line: 1, expected: MAGIC });
        }
        let mut field = |line: usize, expected: &'static str| {
            let value = lines.next().and_then(|line| line.strip_prefix(expected)?.strip_prefix(": "));
            value.map(str::to_owned).ok_or(CopyError::Line { line, expected })
        };
        Ok(Self {
            release: field(2, "Release")?,
            date: field(3, "Date")?.parse().map_err(CopyError::Date)?,
            url: field(4, "Source")?,
            feed: bytes[length + 2..].to_vec(),
        })
    }

    /// The file's content.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let Self { release, date, url, feed } = self;
        let head = format!("{MAGIC}\nRelease: {release}\nDate: {date}\nSource: {url}\n\n");
        [head.as_bytes(), feed].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy() -> Copy {
        Copy {
            release: "trixie".into(),
            date: "2026-11-27T12:00:00Z".parse().unwrap(),
            url: "https://a.example/trixie".into(),
            feed: b"\x78\n\nany bytes".to_vec(),
        }
    }

    #[test]
    fn a_copy_is_read_as_it_was_written() {
        let written = copy().write();
        assert!(Copy::is_copy(&written) && !Copy::is_copy(&copy().feed));
        assert_eq!(Copy::read(&written).unwrap(), copy());
    }

    #[test]
    fn a_malformed_copy_is_an_error_with_its_line() {
        let good = String::from_utf8(copy().write()).unwrap();
        for (from, to, expect) in [
            ("format 1", "format 2", "line 1: expected `Keelson copy of"),
            ("Release: ", "Release ", "line 2: expected `Release`"),
            ("2026-11-27T", "2026-13-27T", "line 3: malformed date"),
            ("Source: ", "", "line 4: expected `Source`"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            let error = Copy::read(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expect), "{error}");
        }
        let head = good.find("\n\n").unwrap();
        let error = Copy::read(&good.as_bytes()[..head]).unwrap_err().to_string();
        assert!(error.starts_with("line 4: the file ends"), "{error}");
    }
}
