//! JSON strings byte for byte as Go's encoder writes them, for bytes that need not be UTF-8.

/// Appends `text` with its quotes. `<`, `>`, `&` and the line separators are escaped too, and each byte
/// that is no UTF-8 comes out as `\ufffd`.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        push_valid(out, chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

/// Text for messages, with U+FFFD for each byte that is no UTF-8 (Rust's own conversion gives one for
/// several).
pub fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// Appends `"name":` without anything before it.
pub fn push_name(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a number in decimal.
pub fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends an array of strings.
pub fn push_strings(out: &mut Vec<u8>, texts: &[String]) {
    out.push(b'[');
    for (position, text) in texts.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        push_string(out, text.as_bytes());
    }
    out.push(b']');
}

/// Bytes that may need more than copying: the escaped ones, and E2, with which U+2028 and U+2029 begin.
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

fn push_valid(out: &mut Vec<u8>, text: &[u8]) {
    let mut plain = 0;
    for (at, byte) in text.iter().enumerate() {
        if !SPECIAL[usize::from(*byte)] {
            continue;
        }
        let separator = match &text[at..] {
            [0xe2, 0x80, last @ (0xa8 | 0xa9), ..] => Some(*last - 0xa8),
            [0xe2, ..] => continue,
            _ => None,
        };
        out.extend_from_slice(&text[plain..at]);
        plain = at + 1;
        match (separator, byte) {
            (Some(which), _) => {
                out.extend_from_slice(if which == 0 { b"\\u2028" } else { b"\\u2029" });
                plain = at + 3;
            }
            (None, b'"') => out.extend_from_slice(b"\\\""),
            (None, b'\\') => out.extend_from_slice(b"\\\\"),
            (None, b'\n') => out.extend_from_slice(b"\\n"),
            (None, b'\r') => out.extend_from_slice(b"\\r"),
            (None, b'\t') => out.extend_from_slice(b"\\t"),
            (None, other) => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(other >> 4)]);
                out.push(HEX[usize::from(other & 15)]);
            }
        }
    }
    out.extend_from_slice(&text[plain..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &[u8], expect: &str) {
        let mut out = Vec::new();
        push_string(&mut out, text);
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        check(b"", r#""""#);
        check(b"plain", r#""plain""#);
        check(b"a\"b\\c", r#""a\"b\\c""#);
        check(b"\n\r\t\x00\x08\x0c\x1f\x7f", "\"\\n\\r\\t\\u0000\\u0008\\u000c\\u001f\x7f\"");
        check(b"<a>&", r#""\u003ca\u003e\u0026""#);
        check("\u{2028}x\u{2029}".as_bytes(), r#""\u2028x\u2029""#);
        check(
            "\u{2027}\u{20ac}\u{e4}\u{1f600}\u{fffd}".as_bytes(),
            "\"\u{2027}\u{20ac}\u{e4}\u{1f600}\u{fffd}\"",
        );
    }

    #[test]
    fn each_byte_that_is_no_text_is_replaced() {
        check(b"\xff", r#""\ufffd""#);
        check(b"a\xe2\x80b", r#""a\ufffd\ufffdb""#);
        check(b"\xed\xa0\x80", r#""\ufffd\ufffd\ufffd""#);
        assert_eq!(to_text(b"a\xe2\x80b"), "a\u{fffd}\u{fffd}b");
    }
}
