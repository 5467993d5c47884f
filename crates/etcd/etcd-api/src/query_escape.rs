//! Percent-encoding with Go's rules and error messages.

use std::borrow::Cow;

/// Unescaped characters in a path written by Go.
const PATH_PLAIN: &[u8] = b"-_.~$&+,/:;=@";

/// An invalid escape: `invalid URL escape "%zz"`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid URL escape {quoted}")]
pub struct EscapeError {
    quoted: String,
}

/// Decodes a name or value of a form: escapes, and `+` as a space.
pub fn decode_form(text: &[u8]) -> Result<Cow<'_, [u8]>, EscapeError> {
    decode(text, true)
}

/// Decodes a path: escapes only.
pub fn decode_path(text: &[u8]) -> Result<Cow<'_, [u8]>, EscapeError> {
    decode(text, false)
}

fn decode(text: &[u8], plus_is_space: bool) -> Result<Cow<'_, [u8]>, EscapeError> {
    let Some(first) = text.iter().position(|byte| *byte == b'%' || (plus_is_space && *byte == b'+')) else {
        return Ok(Cow::Borrowed(text));
    };
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(&text[..first]);
    let mut at = first;
    while let Some(byte) = text.get(at) {
        match byte {
            b'%' => {
                let digits = (hex_digit(text.get(at + 1)), hex_digit(text.get(at + 2)));
                let (Some(high), Some(low)) = digits else {
                    let wrong = &text[at..text.len().min(at + 3)];
                    return Err(EscapeError { quoted: quote(wrong) });
                };
                out.push(high << 4 | low);
                at += 2;
            }
            b'+' if plus_is_space => out.push(b' '),
            other => out.push(*other),
        }
        at += 1;
    }
    Ok(Cow::Owned(out))
}

/// Encodes a decoded path for a `Location`.
pub fn encode_path(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path {
        if byte.is_ascii_alphanumeric() || PATH_PLAIN.contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn hex_digit(byte: Option<&u8>) -> Option<u8> {
    let value = char::from(*byte?).to_digit(16)?;
    u8::try_from(value).ok()
}

/// A Go string literal.
fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(decode_form(b"a+b%20c%2fd").unwrap().as_ref(), b"a b c/d");
        assert_eq!(decode_path(b"a+b%FF").unwrap().as_ref(), b"a+b\xff");
        assert!(matches!(decode_path(b"plain").unwrap(), Cow::Borrowed(_)));
    }

    #[test]
    fn invalid_escapes_are_reported() {
        let check = |text: &[u8], expect: &str| {
            assert_eq!(decode_form(text).unwrap_err().to_string(), format!("invalid URL escape {expect}"));
        };
        check(b"a%zz", r#""%zz""#);
        check(b"%2", r#""%2""#);
        check(b"x%", r#""%""#);
        check(b"%\"\xff", r#""%\"\xff""#);
    }

    #[test]
    fn paths_are_encoded_as_go_does() {
        assert_eq!(encode_path(b"/a b/%?#\xff~:@"), "/a%20b/%25%3F%23%FF~:@");
    }
}
