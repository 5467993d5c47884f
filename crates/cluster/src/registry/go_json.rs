//! JSON as Go's `encoding/json` writes it: `<`, `>`, `&` and two separators are escaped, and of control
//! characters only newline, return and tab are written short.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// The types of this crate always can be written.
#[expect(clippy::expect_used)]
pub fn to_string(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Go);
    // invariant: our types have string keys only, and memory takes all bytes.
    value.serialize(&mut serializer).expect("plain data can be written");
    // invariant: the serializer writes UTF-8.
    String::from_utf8(bytes).expect("JSON is text")
}

struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, from) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let mut letters = from.chars();
            if let Some(letter) = letters.next() {
                write!(out, "\\u{:04x}", u32::from(letter))?;
            }
            rest = letters.as_str();
        }
        out.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let short = match escape {
            CharEscape::Quote => "\\\"",
            CharEscape::ReverseSolidus => "\\\\",
            CharEscape::Solidus => "/",
            CharEscape::LineFeed => "\\n",
            CharEscape::CarriageReturn => "\\r",
            CharEscape::Tab => "\\t",
            CharEscape::Backspace => "\\u0008",
            CharEscape::FormFeed => "\\u000c",
            CharEscape::AsciiControl(byte) => return write!(out, "\\u{byte:04x}"),
        };
        out.write_all(short.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings() {
        assert_eq!(to_string(&"a<b> & \"c\\\"\n\r\t/é"), r#""a\u003cb\u003e \u0026 \"c\\\"\n\r\t/é""#);
        assert_eq!(
            to_string(&"\u{8}\u{c}\u{1}\u{1f}\u{7f}\u{2028}"),
            "\"\\u0008\\u000c\\u0001\\u001f\u{7f}\\u2028\""
        );
    }
}
