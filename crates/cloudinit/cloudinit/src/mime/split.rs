//! Splits a multipart at its boundaries.

use std::borrow::Cow;

use super::headers::{self, Headers};
use super::transfer;
use crate::limits::{MAX_MIME_DEPTH, MAX_MIME_PARTS};

/// The leaf parts of a multipart, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mime<'text> {
    pub leaves: Vec<Leaf<'text>>,
    /// Deviations without data loss.
    pub warnings: Vec<Note>,
    /// Parts that cannot be parsed.
    pub errors: Vec<Note>,
}

/// A part that is not a multipart.
#[derive(Debug, PartialEq, Eq)]
pub struct Leaf<'text> {
    /// Index among all leaves, starting at 1.
    pub number: usize,
    /// In lower case; empty if not specified.
    pub media_type: String,
    pub file_name: Option<String>,
    /// Line of the whole text where the body starts.
    pub line: u32,
    /// The decoded body, or why it cannot be decoded.
    pub body: Result<Cow<'text, [u8]>, String>,
}

/// A problem and its line in the whole text.
#[derive(Debug, PartialEq, Eq)]
pub struct Note {
    pub line: u32,
    pub message: String,
}

/// Splits `text`, which starts with the headers of a multipart.
pub fn split(text: &[u8]) -> Mime<'_> {
    let mut mime = Mime::default();
    mime.part(text, 1, 1);
    mime
}

impl<'text> Mime<'text> {
    /// Parses a part that starts at `line` of the whole text.
    fn part(&mut self, text: &'text [u8], line: u32, depth: usize) {
        let Some((headers, at)) = headers::read(text) else {
            self.error(line, "a part's headers cannot be read");
            return;
        };
        let (before, body) = text.split_at(at);
        let line = line.saturating_add(count_line_breaks(before));
        if headers.is_multipart() {
            self.multipart(&headers, body, line, depth);
            return;
        }
        let number = self.leaves.len() + 1;
        let body = transfer::decode(&headers.transfer_encoding, body);
        let Headers { media_type, file_name, .. } = headers;
        self.leaves.push(Leaf { number, media_type, file_name, line, body });
    }

    fn multipart(&mut self, headers: &Headers, body: &'text [u8], line: u32, depth: usize) {
        if depth > MAX_MIME_DEPTH {
            self.error(
                line,
                format!("multipart inside of multipart, more than {MAX_MIME_DEPTH} levels deep"),
            );
            return;
        }
        let Some(boundary) = &headers.boundary else {
            self.error(line, "multipart without a boundary");
            return;
        };
        if !matches!(&*headers.transfer_encoding, "" | "7bit" | "8bit" | "binary") {
            self.error(
                line,
                format!("multipart with Content-Transfer-Encoding {:?}", headers.transfer_encoding),
            );
            return;
        }
        let mut open: Option<(usize, u32)> = None;
        let mut at = 0;
        let mut number = line;
        for text_line in body.split_inclusive(|byte| *byte == b'\n') {
            let start = at;
            at += text_line.len();
            number = number.saturating_add(1);
            let Some(is_end) = parse_delimiter(text_line, boundary.as_bytes()) else { continue };
            if let Some((from, from_line)) = open.replace((at, number)) {
                if self.leaves.len() + self.errors.len() >= MAX_MIME_PARTS {
                    self.error(from_line, format!("more than {MAX_MIME_PARTS} parts; the rest is ignored"));
                    return;
                }
                self.part(trim_line_break(&body[from..start.max(from)]), from_line, depth + 1);
            }
            if is_end {
                return;
            }
        }
        let Some((from, from_line)) = open else {
            self.error(line, format!("multipart whose boundary {boundary:?} does not occur"));
            return;
        };
        let message = format!("the end marker \"--{boundary}--\" is missing");
        self.warnings.push(Note { line: number - 1, message });
        self.part(&body[from..], from_line, depth + 1);
    }

    fn error(&mut self, line: u32, message: impl Into<String>) {
        self.errors.push(Note { line, message: message.into() });
    }
}

/// Returns whether `line` is the end delimiter; `None` if it is not a delimiter.
fn parse_delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?.trim_ascii_end();
    match rest {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

/// The line break before a delimiter belongs to the delimiter (RFC 2046, 5.1.1).
fn trim_line_break(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn count_line_breaks(text: &[u8]) -> u32 {
    u32::try_from(text.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
