//! XML output: elements with attributes only.

use std::fmt::Write as _;

pub(crate) const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Writes ` name="value"`. Replaces characters that XML cannot represent by U+FFFD, and protects white space.
pub(crate) fn attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    for character in value.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => push(out, format_args!("&#{};", u32::from(character))),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// For numbers and constants, which need no escaping.
pub(crate) fn plain(out: &mut String, name: &str, value: impl std::fmt::Display) {
    push(out, format_args!(" {name}=\"{value}\""));
}

pub(crate) fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // invariant: writing to a String does not fail
    out.write_fmt(text).unwrap_or_default();
}
