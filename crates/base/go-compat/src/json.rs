//! JSON that is identical to the output of Go's encoder before Go 1.22: characters with a meaning in HTML or
//! JavaScript are escaped, and of the control characters only newline, return and tab have short forms (`\u0008` and
//! `\u000c`, not `\b` and `\f`).

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// Fails if JSON cannot represent the value: a map whose keys are not strings.
#[expect(clippy::expect_used)]
pub fn to_string(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::with_capacity(128);
    value.serialize(&mut Serializer::with_formatter(&mut bytes, GoFormatter))?;
    // invariant: the serializer writes UTF-8, and the replacements are ASCII.
    Ok(String::from_utf8(bytes).expect("JSON is text"))
}

/// Appends `text` as a quoted string. Each byte that is not valid UTF-8 becomes `\ufffd`.
#[expect(clippy::expect_used)]
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        // invariant: writing to a Vec cannot fail.
        write_text(out, chunk.valid()).expect("memory takes all");
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

/// Differs from serde_json's formatter in strings only.
struct GoFormatter;

impl Formatter for GoFormatter {
    /// Text between the characters that JSON itself requires to be escaped.
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        write_text(out, text)
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let byte = match escape {
            CharEscape::Quote => b'"',
            CharEscape::ReverseSolidus => b'\\',
            CharEscape::Solidus => return out.write_all(b"/"),
            CharEscape::Backspace => 0x08,
            CharEscape::FormFeed => 0x0c,
            CharEscape::LineFeed => b'\n',
            CharEscape::CarriageReturn => b'\r',
            CharEscape::Tab => b'\t',
            CharEscape::AsciiControl(byte) => byte,
        };
        write_escaped(out, byte)
    }
}

/// Bytes that may need escaping, and E2, the first byte of U+2028 and U+2029.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special[b'<' as usize] = true;
    special[b'>' as usize] = true;
    special[b'&' as usize] = true;
    special[0xe2] = true;
    special
};

fn write_text<W: ?Sized + io::Write>(out: &mut W, text: &str) -> io::Result<()> {
    let text = text.as_bytes();
    let mut start = 0;
    for (at, byte) in text.iter().enumerate() {
        if !SPECIAL[usize::from(*byte)] {
            continue;
        }
        let separator: Option<&[u8]> = match &text[at..] {
            [0xe2, 0x80, 0xa8, ..] => Some(b"\\u2028"),
            [0xe2, 0x80, 0xa9, ..] => Some(b"\\u2029"),
            [0xe2, ..] => continue,
            _ => None,
        };
        out.write_all(&text[start..at])?;
        if let Some(separator) = separator {
            out.write_all(separator)?;
            start = at + 3;
        } else {
            write_escaped(out, *byte)?;
            start = at + 1;
        }
    }
    out.write_all(&text[start..])
}

fn write_escaped<W: ?Sized + io::Write>(out: &mut W, byte: u8) -> io::Result<()> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.write_all(b"\\\""),
        b'\\' => out.write_all(b"\\\\"),
        b'\n' => out.write_all(b"\\n"),
        b'\r' => out.write_all(b"\\r"),
        b'\t' => out.write_all(b"\\t"),
        other => {
            let (high, low) = (HEX[usize::from(other >> 4)], HEX[usize::from(other & 15)]);
            out.write_all(&[b'\\', b'u', b'0', b'0', high, low])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_bytes(text: &[u8], expect: &str) {
        let mut out = Vec::new();
        push_string(&mut out, text);
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    /// Checks both functions.
    #[track_caller]
    fn check(text: &str, expect: &str) {
        check_bytes(text.as_bytes(), expect);
        assert_eq!(to_string(&text).unwrap(), expect);
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        check("", r#""""#);
        check("plain", r#""plain""#);
        check("a\"b\\c/d", r#""a\"b\\c/d""#);
        check("\n\r\t\0\x08\x0c\x1f\x7f", "\"\\n\\r\\t\\u0000\\u0008\\u000c\\u001f\x7f\"");
        check("<a>&", r#""\u003ca\u003e\u0026""#);
        check("\u{2028}x\u{2029}", r#""\u2028x\u2029""#);
        check("\u{2027}\u{20ac}\u{e4}\u{1f600}\u{fffd}", "\"\u{2027}\u{20ac}\u{e4}\u{1f600}\u{fffd}\"");
    }

    #[test]
    fn each_invalid_byte_is_replaced() {
        check_bytes(b"\xff", r#""\ufffd""#);
        check_bytes(b"a\xe2\x80b", r#""a\ufffd\ufffdb""#);
        check_bytes(b"\xed\xa0\x80", r#""\ufffd\ufffd\ufffd""#);
    }

    #[test]
    fn keys_are_strings_too() {
        let map = std::collections::BTreeMap::from([("<k>", [1, 2])]);
        assert_eq!(to_string(&map).unwrap(), r#"{"\u003ck\u003e":[1,2]}"#);
        let no_json = std::collections::BTreeMap::from([([1], 1)]);
        assert!(to_string(&no_json).is_err());
    }
}
