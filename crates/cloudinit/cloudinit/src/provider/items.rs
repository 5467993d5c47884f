//! Reads plain-text items with one value each.

use std::fmt::Display;
use std::str::FromStr;

use super::{address, note_ignored};

/// Returns the first line; `None` if it is blank or not UTF-8.
pub(super) fn first_line(item: &[u8]) -> Option<&str> {
    let line = item.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Some(std::str::from_utf8(line).ok()?.trim()).filter(|line| !line.is_empty())
}

/// Returns the text before the first white space.
pub(super) fn first_word(item: &[u8]) -> Option<&str> {
    first_line(item)?.split_whitespace().next()
}

/// Parses an address. An empty item is `None`; an invalid one is noted.
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
