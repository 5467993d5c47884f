//! Items that are plain text, one value each.

use std::fmt::Display;
use std::str::FromStr;

use super::{address, note_ignored};

/// The first line, `None` where it is blank or no text.
pub(super) fn first_line(item: &[u8]) -> Option<&str> {
    let line = item.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Some(std::str::from_utf8(line).ok()?.trim()).filter(|line| !line.is_empty())
}

/// The text before the first blank.
pub(super) fn first_word(item: &[u8]) -> Option<&str> {
    first_line(item)?.split_whitespace().next()
}

/// An item that is not there is no address; one that is something else is noted.
pub(super) fn address<A: FromStr + Display>(
    item: &[u8],
    (name, expected): (&str, &str),
    notes: &mut Vec<String>,
) -> Option<String> {
    if item.trim_ascii().is_empty() {
        return None;
    }
    match first_line(item).map(address::read::<A>) {
        Some(Ok(Some(address))) => return Some(address.to_string()),
        _ => note_ignored(name, expected, notes),
    }
    None
}
