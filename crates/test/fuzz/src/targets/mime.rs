//! Multipart user-data: its parts, decoded.

use std::borrow::Cow;

use cloudinit::limits::{MAX_MIME_PARTS, MAX_TEXT_BYTES};
use cloudinit::multipart::{Content, Multipart, read};
use cloudinit::user_data::{Kind, classify};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "mime",
    about: "a multipart becomes parts that stand where they say, within its limits, or errors with their lines",
    run,
    seeds,
};

const HEAD: &[u8] = b"Content-Type: multipart/mixed; boundary=b\n\n";

/// A text that is not multipart becomes the body of one.
fn run(bytes: &[u8]) {
    let text = match classify(bytes) {
        Kind::Multipart => Cow::Borrowed(bytes),
        _ => Cow::Owned([HEAD, bytes].concat()),
    };
    let multipart = read(&text);
    assert_eq!(multipart, read(&text));
    check(&text, &multipart);
}

fn check(text: &[u8], multipart: &Multipart<'_>) {
    // A part after the last line begins at the end of the text.
    let breaks = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let starts: Vec<usize> = std::iter::once(0).chain(breaks).chain([text.len()]).collect();
    let start = |line: u32| line.checked_sub(1).and_then(|line| starts.get(line as usize)).copied();
    for note in multipart.warnings.iter().chain(&multipart.errors) {
        assert!(start(note.line).is_some() && !note.message.is_empty(), "{note:?}");
    }
    assert!(multipart.parts.len() + multipart.errors.len() <= MAX_MIME_PARTS + 1);
    let mut unpacked = 0;
    for part in &multipart.parts {
        let at = start(part.line).unwrap_or_else(|| panic!("{} is at line {}", part.name, part.line));
        match &part.content {
            Content::CloudConfig(content) | Content::Script(content) => {
                assert_eq!(part.is_verbatim, matches!(content, Cow::Borrowed(_)));
                if part.is_verbatim {
                    // A byte order mark is skipped.
                    let here = &text[at..];
                    let here = here
                        .strip_prefix(b"\xef\xbb\xbf")
                        .filter(|_| !content.starts_with(b"\xef"))
                        .unwrap_or(here);
                    assert!(here.starts_with(content), "{} is not at line {}", part.name, part.line);
                } else {
                    unpacked += content.len();
                }
            }
            Content::Ignored(reason) | Content::Failed(reason) => assert!(!reason.is_empty()),
            Content::Empty => {}
        }
    }
    assert!(unpacked <= MAX_TEXT_BYTES);
}

fn seeds() -> Vec<Vec<u8>> {
    let texts: [&str; 6] = [
        "From nobody Sat Nov 21 2026\nMIME-Version: 1.0\nContent-Type: multipart/mixed;\n boundary=\"=== x ===\"\n\n\
         preamble\n--=== x ===\nContent-Type: text/cloud-config; charset=\"utf-8\"\n\
         Content-Disposition: attachment; filename=\"a b.yml\"\n\nhostname: a\n--=== x ===--\nepilogue\n",
        "--b\nContent-Type: text/x-shellscript\nContent-Transfer-Encoding: quoted-printable\n\n#!/bin/sh=\n=0Aecho=20a\n\
         --b\nContent-Transfer-Encoding: base64\n\nIyEvYmluL3NoCg==\n--b--\n",
        "--b\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         H4sIAAAAAAAA/8vIBACsKpPYAgAAAA==\r\n--b--\r\n",
        "--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: multipart/related; boundary=d\n\n\
         --d\n\n#cloud-config\n--d--\n--c--\n--b\nContent-Type: text/jinja2\n\nx\n",
        "--b\n\n{\"ignition\": {\"version\": \"3.0.0\"}}\n--b\n\n\u{feff}#!/bin/sh\n--b\n\n--b--",
        "no marker",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
