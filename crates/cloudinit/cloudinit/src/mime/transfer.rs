//! Decodes `Content-Transfer-Encoding`.

use std::borrow::Cow;

use crate::encoding::decode_base64;

/// Decodes `body`.
///
/// # Errors
/// The body does not match its encoding, or the encoding is unknown.
pub(super) fn decode<'a>(encoding: &str, body: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    match encoding {
        "" | "7bit" | "8bit" | "binary" => Ok(Cow::Borrowed(body)),
        "base64" => match decode_base64(body) {
            Ok(decoded) => Ok(Cow::Owned(decoded.bytes)),
            Err(error) => Err(error.to_string()),
        },
        "quoted-printable" => quoted_printable(body).map(Cow::Owned),
        other => Err(format!("unknown Content-Transfer-Encoding {other:?}")),
    }
}

fn quoted_printable(body: &[u8]) -> Result<Vec<u8>, String> {
    let mut decoded = Vec::with_capacity(body.len());
    for (number, line) in body.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let end = &line[content.len()..];
        // Transport may add trailing blanks (RFC 2045, 6.7).
        let content = content.trim_ascii_end();
        let (content, end) = match content.strip_suffix(b"=") {
            Some(content) => (content, &b""[..]),
            None => (content, end),
        };
        let mut rest = content;
        while let Some(at) = rest.iter().position(|byte| *byte == b'=') {
            decoded.extend_from_slice(&rest[..at]);
            let byte = rest.get(at + 1..at + 3).and_then(hexadecimal);
            let Some(byte) = byte else {
                return Err(format!("Unable to decode quoted-printable: line {} of the part", number + 1));
            };
            decoded.push(byte);
            rest = &rest[at + 3..];
        }
        decoded.extend_from_slice(rest);
        decoded.extend_from_slice(end);
    }
    Ok(decoded)
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [high, low] = digits else { return None };
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(encoding: &str, body: &str, expect: Result<&str, &str>) {
        let got = decode(encoding, body.as_bytes()).map(|body| String::from_utf8_lossy(&body).into_owned());
        assert_eq!(got.as_deref().map_err(String::as_str), expect, "{encoding} {body:?}");
    }

    #[test]
    fn encodings() {
        check("", "a=3D\n", Ok("a=3D\n"));
        check("8bit", "ä", Ok("ä"));
        check("base64", "aG\r\nk=\r\n", Ok("hi"));
        check("base64", "aG*", Err("Unable to decode base64: Invalid symbol 42, offset 2."));
        check("quoted-printable", "a=3D=C3=a4 \r\nb=\nc =  \nd=", Ok("a=ä\r\nbc d"));
        check("quoted-printable", "a\nb=4", Err("Unable to decode quoted-printable: line 2 of the part"));
        check("quoted-printable", "=+1", Err("Unable to decode quoted-printable: line 1 of the part"));
        check("uuencode", "a", Err("unknown Content-Transfer-Encoding \"uuencode\""));
    }
}
