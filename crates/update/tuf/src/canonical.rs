//! Canonical JSON (OLPC): the bytes that are hashed and signed.
//!
//! Keys are sorted by code point, there is no white space, strings escape only `"` and `\`, and numbers are integers.
//! Strings are not normalized: python-tuf and go-tuf do not either, and a signature must be the same everywhere.

use serde_json::Value;

/// A value without a canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an integer: canonical JSON has no other numbers")]
pub struct CanonicalError(String);

/// The canonical form of a value, in UTF-8.
///
/// # Errors
/// A number is not an integer of 64 bits.
pub fn canonical(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Number(number) if number.is_f64() => return Err(CanonicalError(number.to_string())),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            // UTF-8 sorts as its code points do.
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (at, (name, value)) in fields.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_string(name, out);
                out.push(b':');
                write(value, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(String::from_utf8(canonical(&value).unwrap()).unwrap(), expected);
    }

    #[test]
    fn objects_are_sorted_by_code_point_and_have_no_white_space() {
        check(
            r#"{ "b" : [ 1 , -2, true, null ], "a": {}, "B": "" }"#,
            r#"{"B":"","a":{},"b":[1,-2,true,null]}"#,
        );
        check("{\"\u{1f600}\":1,\"\u{ffff}\":2}", "{\"\u{ffff}\":2,\"\u{1f600}\":1}");
    }

    #[test]
    fn only_quotes_and_backslashes_are_escaped() {
        check(r#""a\"\\\/\n\u0000\u00e4""#, "\"a\\\"\\\\/\n\0\u{e4}\"");
        // Not normalized: a letter and its accent remain two characters.
        check(r#""a\u0308""#, "\"a\u{308}\"");
    }

    #[test]
    fn numbers_are_integers() {
        check("[18446744073709551615,-9223372036854775808]", "[18446744073709551615,-9223372036854775808]");
        for bad in ["1.0", "1e3", "18446744073709551616"] {
            let value: Value = serde_json::from_str(bad).unwrap();
            assert!(canonical(&value).unwrap_err().to_string().contains("is not an integer"), "{bad}");
        }
    }
}
