//! Parses options as the original does: accepted texts and every byte of a value determine hashes that other programs
//! compare.
//!
//! Text before the first `[` is skipped. Comments start a line with `#` or `;`; a backslash continues them. A
//! backslash also continues a value and remains part of it, like the newline and the continuation.

use thiserror::Error;

use crate::finding::Position;
use crate::limits::{LINE_BYTES, UNIT_BYTES};
use crate::option::UnitOption;

/// A syntax error with its position.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct ParseError {
    /// Where parsing stopped.
    pub position: Position,
    /// What is wrong there.
    pub kind: ParseErrorKind,
}

/// Texts are the contract's where they exist.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ParseErrorKind {
    #[error("unable to find end of section")]
    SectionEnd,
    #[error("found garbage after section name {section}: {garbage:?}")]
    Garbage { section: String, garbage: String },
    #[error("unexpected newline encountered while parsing option name")]
    OptionName,
    #[error("unexpected end of the file encountered while parsing option name")]
    OptionEnd,
    #[error("line too long (max {LINE_BYTES} bytes)")]
    LongLine,
    #[error("unit file too long (max {UNIT_BYTES} bytes)")]
    LongUnit,
    #[error("not text: invalid UTF-8")]
    NotText,
}

/// The options of `text` in order.
pub(crate) fn parse(text: &str) -> Result<Vec<UnitOption>, ParseError> {
    check_lengths(text)?;
    let mut reader = Reader { text, at: 0, line: 1, line_start: 0, counted: 0 };
    let mut options = Vec::new();
    let mut section: Option<&str> = None;
    while let Some(letter) = reader.peek() {
        match (letter, section) {
            ('[', _) => section = Some(reader.section()?),
            ('#' | ';', _) => reader.skip_comment(),
            (_, None) => reader.advance(letter),
            (letter, Some(_)) if letter.is_whitespace() => reader.advance(letter),
            (_, Some(section)) => options.push(reader.option(section)?),
        }
    }
    Ok(options)
}

fn check_lengths(text: &str) -> Result<(), ParseError> {
    let mut start = 0;
    for line in text.split('\n') {
        if line.len() >= LINE_BYTES {
            return Err(ParseError { position: Position::of(text, start), kind: ParseErrorKind::LongLine });
        }
        start += line.len() + 1;
    }
    if text.len() > UNIT_BYTES {
        let position = Position::of(text, text.floor_char_boundary(UNIT_BYTES));
        return Err(ParseError { position, kind: ParseErrorKind::LongUnit });
    }
    Ok(())
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Line of the byte `counted` and its start, so that lines are counted once.
    line: u32,
    line_start: usize,
    counted: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn advance(&mut self, letter: char) {
        self.at += letter.len_utf8();
    }

    fn error(&self, at: usize, kind: ParseErrorKind) -> ParseError {
        ParseError { position: Position::of(self.text, at), kind }
    }

    /// `at` must not decrease.
    fn position(&mut self, at: usize) -> Position {
        let passed = &self.text[self.counted..at];
        if let Some(newline) = passed.rfind('\n') {
            let newlines = passed.bytes().filter(|byte| *byte == b'\n').count();
            // Bounded by the size of the text.
            self.line += u32::try_from(newlines).unwrap_or(u32::MAX);
            self.line_start = self.counted + newline + 1;
        }
        self.counted = at;
        let column = self.text[self.line_start..at].chars().count() + 1;
        Position { line: self.line, column: u32::try_from(column).unwrap_or(u32::MAX) }
    }

    /// Reads the rest of the line without its newline, and whether it is the last. A carriage return is kept before a
    /// newline and removed at the end of the file.
    fn line(&mut self) -> (&'a str, bool) {
        let rest = &self.text[self.at..];
        match rest.split_once('\n') {
            Some((line, _)) => {
                self.at += line.len() + 1;
                (line, false)
            }
            None => {
                self.at = self.text.len();
                (rest.strip_suffix('\r').unwrap_or(rest), true)
            }
        }
    }

    fn skip_comment(&mut self) {
        loop {
            let (line, last) = self.line();
            if last || !line.strip_suffix(' ').unwrap_or(line).ends_with('\\') {
                return;
            }
        }
    }

    /// At `[`. The original searches `]` in later lines as well and accepts names with newlines, which systemd
    /// refuses; here that is an error.
    fn section(&mut self) -> Result<&'a str, ParseError> {
        let start = self.at;
        self.at += 1;
        let from = self.at;
        let (line, _) = self.line();
        let (name, garbage) =
            line.split_once(']').ok_or_else(|| self.error(start, ParseErrorKind::SectionEnd))?;
        let garbage = garbage.trim();
        if garbage.is_empty() {
            return Ok(name);
        }
        let offset =
            name.len() + 1 + line[name.len() + 1..].len() - line[name.len() + 1..].trim_start().len();
        let kind = ParseErrorKind::Garbage { section: name.to_owned(), garbage: garbage.to_owned() };
        Err(self.error(from + offset, kind))
    }

    /// At the first character of an option's name.
    fn option(&mut self, section: &str) -> Result<UnitOption, ParseError> {
        let start = self.at;
        let rest = &self.text[start..];
        let end = rest.find(['=', '\n', '\r']);
        let Some(end) = end else { return Err(self.error(start, ParseErrorKind::OptionEnd)) };
        if !rest[end..].starts_with('=') {
            return Err(self.error(start, ParseErrorKind::OptionName));
        }
        self.at = start + end + 1;
        Ok(UnitOption {
            section: section.to_owned(),
            name: rest[..end].trim().to_owned(),
            value: self.value(),
            position: Some(self.position(start)),
        })
    }

    fn value(&mut self) -> String {
        let mut value = String::new();
        loop {
            let (line, last) = self.line();
            if line.trim().is_empty() {
                break;
            }
            value.push_str(line);
            if last || !line.ends_with('\\') {
                break;
            }
            value.push('\n');
        }
        // Only a value that ends in a backslash before a blank line ends in a newline.
        let trimmed = value.trim();
        if value.ends_with('\n') { format!("{trimmed}\n") } else { trimmed.to_owned() }
    }
}
