//! Parses the headers of a MIME part.

use crate::limits::MAX_MIME_HEADER_BYTES;

const MULTIPART: &str = "multipart/";
/// Start of the separator line before a message in an mbox file.
const MBOX_FROM_LINE: &[u8] = b"From ";

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    /// In lower case; empty if not specified.
    pub media_type: String,
    pub boundary: Option<String>,
    /// In lower case.
    pub transfer_encoding: String,
    pub file_name: Option<String>,
}

/// Whether `text` starts with headers of a multipart.
pub fn is_multipart(text: &[u8]) -> bool {
    read(text).is_some_and(|(headers, _)| headers.is_multipart())
}

impl Headers {
    pub fn is_multipart(&self) -> bool {
        self.media_type.starts_with(MULTIPART)
    }
}

/// Parses the headers and returns them with the offset of the body; `None` if a line before the first empty
/// line is not a header.
pub(super) fn read(text: &[u8]) -> Option<(Headers, usize)> {
    let mut headers = Headers::default();
    let mut header = String::new();
    let mut at = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let start = at;
        at += line.len();
        if at > MAX_MIME_HEADER_BYTES {
            return None;
        }
        let line = line.trim_ascii_end();
        if line.is_empty() {
            headers.parse_header(&header)?;
            return Some((headers, at));
        }
        if start == 0 && line.starts_with(MBOX_FROM_LINE) {
            continue;
        }
        let line_text = String::from_utf8_lossy(line);
        if line_text.starts_with([' ', '\t']) && !header.is_empty() {
            header.push_str(&line_text);
        } else {
            headers.parse_header(&header)?;
            header = line_text.into_owned();
        }
    }
    headers.parse_header(&header)?;
    Some((headers, text.len()))
}

impl Headers {
    /// Parses one unfolded header; `None` if it is malformed.
    fn parse_header(&mut self, header: &str) -> Option<()> {
        if header.is_empty() {
            return Some(());
        }
        let (name, value) = header.split_once(':')?;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return None;
        }
        match name.to_ascii_lowercase().as_str() {
            "content-type" => {
                let (media_type, parameters) = value_and_parameters(value);
                self.media_type = media_type;
                self.boundary = parameter(&parameters, "boundary").or(self.boundary.take());
                self.file_name = self.file_name.take().or(parameter(&parameters, "name"));
            }
            "content-transfer-encoding" => self.transfer_encoding = value.trim().to_ascii_lowercase(),
            "content-disposition" => {
                self.file_name =
                    parameter(&value_and_parameters(value).1, "filename").or(self.file_name.take());
            }
            _ => {}
        }
        Some(())
    }
}

fn parameter(parameters: &[(String, String)], name: &str) -> Option<String> {
    parameters.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone())
}

/// Parses `type; key=value; key="quoted \" value"` into the lower-case value and its parameters.
fn value_and_parameters(value: &str) -> (String, Vec<(String, String)>) {
    let mut fields = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in value.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => {
                escaped = true;
                continue;
            }
            '"' => {
                quoted = !quoted;
                continue;
            }
            ';' if !quoted => {
                fields.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(field) = fields.last_mut() {
            field.push(c);
        }
    }
    let mut fields = fields.iter().map(|field| field.trim());
    let first = fields.next().unwrap_or_default().to_ascii_lowercase();
    let parameters = fields
        .filter_map(|field| field.split_once('='))
        .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim().to_owned()));
    (first, parameters.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_parsed() {
        let text = "From nobody Thu Jan  1 00:00:00 1970\r\nMIME-Version: 1.0\r\nContent-Type: Multipart/Mixed;\r\n \
                    charset=x;\r\n\tboundary=\"a ;\\\"b\"\r\n\r\nbody";
        let (headers, body) = read(text.as_bytes()).unwrap();
        assert_eq!((&*headers.media_type, headers.boundary.as_deref()), ("multipart/mixed", Some("a ;\"b")));
        assert_eq!(&text[body..], "body");
        let text = "content-transfer-encoding: Base64 \nContent-Disposition: attachment; filename=a.sh\n\nx";
        let (headers, body) = read(text.as_bytes()).unwrap();
        let expect = Headers {
            transfer_encoding: "base64".into(),
            file_name: Some("a.sh".into()),
            ..Headers::default()
        };
        assert_eq!((headers, &text[body..]), (expect, "x"));
        assert_eq!(read(b"\nx"), Some((Headers::default(), 1)));
    }

    #[test]
    fn other_texts_are_not_multipart() {
        for text in [
            "",
            "#cloud-config\nContent-Type: multipart/mixed\n\n",
            "hello\n",
            "variant: fcos\nversion: 1\n",
            "Content-Type: text/plain\n\nx",
            "\nContent-Type: multipart/mixed\n\n",
            "a b: c\nContent-Type: multipart/mixed\n\n",
        ] {
            assert!(!is_multipart(text.as_bytes()), "{text:?}");
        }
        assert!(is_multipart(b"Content-Type: multipart/related"));
        let long = format!("X: {}\nContent-Type: multipart/mixed\n\n", "x".repeat(MAX_MIME_HEADER_BYTES));
        assert!(!is_multipart(long.as_bytes()));
    }
}
