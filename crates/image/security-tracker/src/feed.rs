//! The tracker's data for a release, as `debsecan` 0.4 reads it: zlib-compressed text in three sections, which end at an
//! empty line.
//!
//! ```text
//! VERSION 1
//! CVE-2025-0001,,what it is
//!
//! PACKAGE,INDEX OF THE FIRST SECTION,FLAGS,VERSION IN UNSTABLE,OTHER VERSIONS
//!
//! SOURCE,BINARIES
//! ```

use std::collections::HashMap;
use std::io::Read;

use serde::Serialize;

use crate::limits::{COMPRESSED_BYTES, FEED_BYTES};

const HEADER: &str = "VERSION 1";

/// Estimated severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Severe.
    High,
    /// Between the others.
    Medium,
    /// Minor.
    Low,
    /// Not assessed yet.
    Unknown,
}

impl Urgency {
    /// As it is displayed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Unknown => "-",
        }
    }
}

/// Which packages a vulnerability names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All packages that are built from this source package.
    Source,
    /// One binary package, or the packages of a source package of that name.
    Binary,
}

/// A vulnerability of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vulnerability {
    /// `CVE-2025-0001`, or the tracker's temporary name.
    pub id: String,
    /// One line.
    pub description: String,
    /// Name of the package.
    pub package: String,
    /// What `package` names.
    pub kind: Kind,
    /// Estimated severity.
    pub urgency: Urgency,
    /// Whether it is exploitable over the network; `None` if that is not known.
    pub remote: Option<bool>,
    /// Whether the release has a fixed version.
    pub fix_available: bool,
    /// First fixed version in unstable; `None` if there is no fix.
    pub unstable_version: Option<String>,
    /// Versions below `unstable_version` that are not vulnerable, of any release.
    pub other_versions: Vec<String>,
}

/// The vulnerabilities of a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Feed {
    packages: HashMap<String, Vec<Vulnerability>>,
    count: usize,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The first line is another one.
    #[error("expected `VERSION 1`: another format, or no feed of Debian's security tracker")]
    Header,
    /// The text ends within a section.
    #[error("the feed ends before its last section: it is truncated")]
    Truncated,
    /// The separators are missing.
    #[error("expected {0} fields, separated by commas")]
    Fields(usize),
    /// The name of a vulnerability or package is malformed.
    #[error("invalid name")]
    Name,
    /// The index of the vulnerability is not a number, or too large.
    #[error("no vulnerability has this index")]
    Index,
    /// The four flags are malformed.
    #[error("invalid flags")]
    Flags,
    /// A version is malformed.
    #[error("invalid version")]
    PackageVersion,
}

/// A feed that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// It is damaged, truncated, or not compressed by zlib.
    #[error("the compressed data is damaged or truncated at byte {0}")]
    Compression(u64, #[source] std::io::Error),
    /// It exceeds [`crate::limits`].
    #[error("it has more than {0} bytes")]
    TooLong(usize),
    /// Data follows the compressed feed.
    #[error("{0} unexpected bytes follow the compressed data")]
    Trailing(u64),
    /// It is not UTF-8.
    #[error("line {line}: not UTF-8")]
    Encoding {
        /// Counted from 1.
        line: usize,
    },
    /// A line is malformed.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
}

impl Feed {
    /// Reads the compressed feed.
    ///
    /// # Errors
    /// If it is damaged, truncated, too long, of another version or malformed.
    pub fn read(compressed: &[u8]) -> Result<Self, FeedError> {
        if compressed.len() > COMPRESSED_BYTES {
            return Err(FeedError::TooLong(COMPRESSED_BYTES));
        }
        let mut decoder = flate2::read::ZlibDecoder::new(compressed);
        let mut bytes = Vec::new();
        let outcome = decoder.by_ref().take(FEED_BYTES as u64 + 1).read_to_end(&mut bytes);
        let consumed = decoder.total_in();
        outcome.map_err(|source| FeedError::Compression(consumed, source))?;
        if bytes.len() > FEED_BYTES {
            return Err(FeedError::TooLong(FEED_BYTES));
        }
        match compressed.len() as u64 - consumed {
            0 => Self::parse(&bytes),
            trailing => Err(FeedError::Trailing(trailing)),
        }
    }

    /// Parses the text.
    ///
    /// # Errors
    /// If it is truncated, of another version or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, FeedError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            FeedError::Encoding { line: 1 + valid.iter().filter(|byte| **byte == b'\n').count() }
        })?;
        let mut lines = Lines { rest: text, number: 0 };
        if lines.next() != Some(HEADER) {
            return Err(lines.bad(Problem::Header));
        }
        let names = names(&mut lines)?;
        let mut feed = Self::default();
        while let Some(line) = lines.in_section()? {
            let vulnerability = vulnerability(line, &names).map_err(|problem| lines.bad(problem))?;
            feed.count += 1;
            feed.packages.entry(vulnerability.package.clone()).or_default().push(vulnerability);
        }
        // Which binaries a source has is not needed. A feed for all releases has an empty section, or none.
        while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
            if line.split(',').count() != 2 {
                return Err(lines.bad(Problem::Fields(2)));
            }
        }
        Ok(feed)
    }

    /// The vulnerabilities of this package name, in the feed's order.
    #[must_use]
    pub fn of(&self, package: &str) -> Option<&[Vulnerability]> {
        self.packages.get(package).map(Vec::as_slice)
    }

    /// Number of vulnerabilities, counted for each package.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no vulnerability.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The first section: name and description of each vulnerability.
fn names<'a>(lines: &mut Lines<'a>) -> Result<Vec<(&'a str, &'a str)>, FeedError> {
    let mut names = Vec::new();
    while let Some(line) = lines.in_section()? {
        let mut fields = line.splitn(3, ',');
        let (Some(name), Some(_), Some(description)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(lines.bad(Problem::Fields(3)));
        };
        if !is_word(name) {
            return Err(lines.bad(Problem::Name));
        }
        names.push((name, description));
    }
    Ok(names)
}

fn vulnerability(line: &str, names: &[(&str, &str)]) -> Result<Vulnerability, Problem> {
    let fields: Vec<&str> = line.splitn(5, ',').collect();
    let &[package, index, flags, unstable_version, other_versions] = &*fields else {
        return Err(Problem::Fields(5));
    };
    if !is_word(package) {
        return Err(Problem::Name);
    }
    let index: usize = index.parse().map_err(|_| Problem::Index)?;
    let (id, description) = names.get(index).ok_or(Problem::Index)?;
    let &[kind, urgency, remote, fix, ..] = flags.as_bytes() else { return Err(Problem::Flags) };
    let other_versions: Vec<String> =
        other_versions.split(' ').filter(|version| !version.is_empty()).map(str::to_owned).collect();
    if !other_versions
        .iter()
        .map(String::as_str)
        .chain([unstable_version].into_iter().filter(|version| !version.is_empty()))
        .all(is_word)
    {
        return Err(Problem::PackageVersion);
    }
    Ok(Vulnerability {
        id: (*id).to_owned(),
        // A control character would reach the terminal.
        description: description.chars().filter(|char| !char.is_control()).collect(),
        package: package.to_owned(),
        kind: if kind == b'B' { Kind::Binary } else { Kind::Source },
        urgency: match urgency {
            b'H' => Urgency::High,
            b'M' => Urgency::Medium,
            b'L' => Urgency::Low,
            b' ' => Urgency::Unknown,
            _ => return Err(Problem::Flags),
        },
        remote: match remote {
            b'R' => Some(true),
            b' ' => Some(false),
            b'?' => None,
            _ => return Err(Problem::Flags),
        },
        fix_available: fix == b'F',
        unstable_version: Some(unstable_version).filter(|version| !version.is_empty()).map(str::to_owned),
        other_versions,
    })
}

/// Printable ASCII without spaces and commas.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// Lines of a text, with their numbers.
struct Lines<'a> {
    rest: &'a str,
    /// Of the last line, counted from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    /// A line of a section; `None` at the empty line that ends it.
    fn in_section(&mut self) -> Result<Option<&'a str>, FeedError> {
        match self.next() {
            Some("") => Ok(None),
            Some(line) => Ok(Some(line)),
            None => Err(self.bad(Problem::Truncated)),
        }
    }

    fn bad(&self, problem: Problem) -> FeedError {
        FeedError::Line { line: self.number, problem }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.number += 1;
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        Some(line)
    }
}

#[cfg(test)]
mod tests;
