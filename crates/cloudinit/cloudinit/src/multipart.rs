//! Classifies the parts of multipart user-data (contract 1.4): configs, scripts and ignored parts.

use std::borrow::Cow;

use crate::encoding::DecodeError;
use crate::limits::MAX_TEXT_BYTES;
use crate::mime::{self, Leaf, Note};
use crate::user_data::{self, Kind, UserDataError};

/// Media types in use for gzip.
const GZIP_TYPES: [&str; 8] = [
    "application/gzip",
    "application/gzip-compressed",
    "application/gzipped",
    "application/x-compress",
    "application/x-compressed",
    "application/x-gunzip",
    "application/x-gzip",
    "application/x-gzip-compressed",
];

#[derive(Debug, PartialEq, Eq)]
pub struct Multipart<'text> {
    pub parts: Vec<Part<'text>>,
    /// Deviations without data loss.
    pub warnings: Vec<Note>,
    /// Parts that cannot be parsed; they are not in `parts`.
    pub errors: Vec<Note>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Part<'text> {
    /// Number and file name, for messages.
    pub name: String,
    /// Line of the whole text where the body starts.
    pub line: u32,
    /// Whether the body is not encoded, so that its lines are lines of the whole text.
    pub is_verbatim: bool,
    pub content: Content<'text>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Content<'text> {
    Empty,
    CloudConfig(Cow<'text, [u8]>),
    Script(Cow<'text, [u8]>),
    /// The message to log.
    Ignored(String),
    /// The reason.
    Failed(String),
}

/// Parses a text of kind [`Kind::Multipart`].
pub fn read(text: &[u8]) -> Multipart<'_> {
    let mime = mime::split(text);
    // All parts share the size limit of one text.
    let mut budget = MAX_TEXT_BYTES;
    let parts = mime.leaves.into_iter().map(|leaf| part(leaf, &mut budget)).collect();
    Multipart { parts, warnings: mime.warnings, errors: mime.errors }
}

fn part<'text>(leaf: Leaf<'text>, budget: &mut usize) -> Part<'text> {
    let name = match &leaf.file_name {
        Some(file) => format!("part {} ({file:?})", leaf.number),
        None => format!("part {}", leaf.number),
    };
    let line = leaf.line;
    let content = content(leaf, budget).unwrap_or_else(Content::Failed);
    let is_verbatim =
        matches!(content, Content::CloudConfig(Cow::Borrowed(_)) | Content::Script(Cow::Borrowed(_)));
    Part { name, line, is_verbatim, content }
}

fn content<'text>(leaf: Leaf<'text>, budget: &mut usize) -> Result<Content<'text>, String> {
    let media_type = &*leaf.media_type;
    let is_text = matches!(media_type, "" | "text/plain" | "text/cloud-config" | "text/x-shellscript");
    if !is_text && !GZIP_TYPES.contains(&media_type) {
        return Ok(Content::Ignored(format!("ignoring part of type {media_type}")));
    }
    let text = match user_data::unpack(leaf.body?, *budget) {
        Ok(text) => text,
        Err(UserDataError::Decode(DecodeError::TooLarge(_))) => {
            return Err(format!("all parts together have more than {MAX_TEXT_BYTES} bytes when unpacked"));
        }
        Err(error) => return Err(error.to_string()),
    };
    if let Cow::Owned(text) = &text {
        *budget = budget.saturating_sub(text.len());
    }
    match (user_data::classify(&text), media_type) {
        (Kind::Empty, _) => Ok(Content::Empty),
        (Kind::Script, _) | (Kind::Unknown(_), "text/x-shellscript") => Ok(Content::Script(text)),
        (Kind::CloudConfig, _) | (Kind::Unknown(_), "text/cloud-config") => Ok(Content::CloudConfig(text)),
        (Kind::Ignition, _) => Ok(Content::Ignored("ignoring an Ignition config".to_owned())),
        (Kind::Multipart, _) => Err(format!("it is a multipart although it is of type {media_type:?}")),
        (Kind::Unknown(hint), _) => {
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            Err(format!("Unrecognized user-data format{hint}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::encoding::gzip;

    /// Parses one part with the given header lines.
    fn check(headers: &str, body: &str, expect: &Content<'_>) {
        let text = format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n{headers}\n\n{body}\n--b--\n");
        let got = read(text.as_bytes());
        assert_eq!(&got.parts[0].content, expect, "{headers} {body:?}");
        assert_eq!((got.parts.len(), got.warnings.len(), got.errors.len()), (1, 0, 0));
    }

    fn config(text: &str) -> Content<'static> {
        Content::CloudConfig(Cow::Owned(text.as_bytes().to_vec()))
    }

    fn script(text: &str) -> Content<'static> {
        Content::Script(Cow::Owned(text.as_bytes().to_vec()))
    }

    #[test]
    fn kinds_of_parts() {
        check("Content-Type: text/cloud-config", "hostname: a", &config("hostname: a"));
        check("Content-Type: text/plain", "#cloud-config\na: b", &config("#cloud-config\na: b"));
        check("X: y", "\u{feff}#!/bin/sh", &script("#!/bin/sh"));
        check("Content-Type: text/x-shellscript", "echo", &script("echo"));
        check("Content-Type: text/plain", " \n", &Content::Empty);
        let failed = |reason: &str| Content::Failed(reason.to_owned());
        check("X: y", "echo", &failed("Unrecognized user-data format"));
        check(
            "Content-Type: text/plain",
            "#include\nhttp://x",
            &failed("Unrecognized user-data format (#include is not supported)"),
        );
        check(
            "Content-Type: text/plain\nContent-Transfer-Encoding: base64",
            "*",
            &failed("Unable to decode base64: Invalid symbol 42, offset 0."),
        );
        check(
            "Content-Type: text/plain",
            "Content-Type: multipart/x\n\n",
            &failed("it is a multipart although it is of type \"text/plain\""),
        );
        let ignored = |reason: &str| Content::Ignored(reason.to_owned());
        for media_type in
            ["text/jinja2", "text/cloud-boothook", "text/part-handler", "text/x-include-url", "image/png"]
        {
            let reason = format!("ignoring part of type {media_type}");
            check(&format!("Content-Type: {media_type}"), "#!/bin/sh", &ignored(&reason));
        }
        check("X: y", "{\"ignitionVersion\": 1}", &ignored("ignoring an Ignition config"));
    }

    #[test]
    fn packed_parts() {
        let text = "#cloud-config\nhostname: a\n";
        for media_type in GZIP_TYPES.iter().chain(&["text/cloud-config"]) {
            let head = format!("Content-Type: {media_type}\nContent-Transfer-Encoding: base64");
            check(&head, &STANDARD.encode(gzip(text.as_bytes())), &config(text));
        }
        let bomb = STANDARD.encode(gzip(&vec![b'#'; MAX_TEXT_BYTES / 2 + 1]));
        let part =
            format!("--b\nContent-Type: text/x-shellscript\nContent-Transfer-Encoding: base64\n\n{bomb}\n");
        let text = format!("Content-Type: multipart/mixed; boundary=b\n\n{}--b--\n", part.repeat(3));
        let parts = read(text.as_bytes()).parts;
        assert!(matches!(parts[0].content, Content::Script(_)));
        for part in &parts[1..] {
            let reason = "all parts together have more than 67108864 bytes when unpacked";
            assert_eq!(part.content, Content::Failed(reason.into()), "{}", part.name);
        }
    }

    #[test]
    fn names_and_lines() {
        let text = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/x-shellscript\n\
                    Content-Disposition: attachment; filename=\"a b\"\n\n#!/bin/sh\n--b\n\
                    Content-Transfer-Encoding: base64\n\nIyE=\n--b--\n";
        let got = read(text.as_bytes());
        let parts: Vec<_> = got.parts.iter().map(|part| (&*part.name, part.line, part.is_verbatim)).collect();
        assert_eq!(parts, [("part 1 (\"a b\")", 7, true), ("part 2", 11, false)]);
    }
}
