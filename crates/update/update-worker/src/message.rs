//! Messages between parent and child: a kind, the length of the content (32 bits, little endian), and the content.
//!
//! Requests: `GET`, `POST`, `RANGE`, `OLD`, `UNPACK`. Replies: `HELLO`, then `DATA` until `END`, or `STATUS`, or `FAILED`;
//! to `UNPACK` either `DATA` of the whole segment or `INVALID`. The numbers are fixed by one build of one program:
//! parent and child are the same file.

use std::str::FromStr;

use crate::limits::{MAX_REQUEST, MAX_TEXT};

/// The name under which a program starts itself as a child.
pub const WORKER_NAME: &str = "update-worker";
/// Bytes before the content.
pub const HEADER_BYTES: usize = 5;

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// HTTP, with TLS, DNS and proxies.
    Transfer,
    /// Decompresses frames.
    Unpack,
}

impl Role {
    /// The argument of the program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Unpack => "unpack",
        }
    }

    /// For messages.
    #[must_use]
    pub fn process(self) -> &'static str {
        match self {
            Self::Transfer => "the download process",
            Self::Unpack => "the unpacking process",
        }
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Transfer, Self::Unpack].into_iter().find(|role| role.name() == text).ok_or(())
    }
}

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The child is restricted, but for the content.
    Hello = 1,
    /// Bytes of a body, or a whole segment.
    Data,
    /// The body is complete.
    End,
    /// Another HTTP status than requested, and the beginning of its body.
    Status,
    /// A failure of the request: its reason and a text.
    Failed,
    /// The frame does not unpack to the requested length.
    Invalid,
    /// Limit and URL.
    Get,
    /// Limit, lengths of the URL and the header, URL, header, and body.
    Post,
    /// Start, end, and URL.
    Range,
    /// Old bytes to drop, to keep, and to append; these follow the message.
    Old,
    /// Length of the frame, which follows the message; whether to use the old bytes; length of the segment.
    Unpack,
}

const KINDS: [Kind; 11] = [
    Kind::Hello,
    Kind::Data,
    Kind::End,
    Kind::Status,
    Kind::Failed,
    Kind::Invalid,
    Kind::Get,
    Kind::Post,
    Kind::Range,
    Kind::Old,
    Kind::Unpack,
];

/// A message that is not of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Kind and content length of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub length: usize,
}

impl Header {
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        // invariant: no sender has contents beyond 32 bits; a longer length is refused by the receiver.
        let [a, b, c, d] = u32::try_from(self.length).unwrap_or(u32::MAX).to_le_bytes();
        [self.kind as u8, a, b, c, d]
    }

    pub fn parse([kind, a, b, c, d]: [u8; HEADER_BYTES]) -> Result<Self, Malformed> {
        let known = KINDS.into_iter().find(|known| *known as u8 == kind);
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        Ok(Self { kind: known.ok_or(Malformed("a message of an unknown kind"))?, length })
    }
}

/// A whole message.
///
/// # Errors
/// The content is longer than any request or reply.
pub fn framed(kind: Kind, parts: &[&[u8]]) -> Result<Vec<u8>, Malformed> {
    let length = parts.iter().map(|part| part.len()).sum();
    if length > MAX_REQUEST {
        return Err(Malformed("a message is too long"));
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + length);
    bytes.extend(Header { kind, length }.to_bytes());
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    Ok(bytes)
}

/// A request to a child. Frames and old bytes follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    Get { limit: u64, url: &'a str },
    Post { limit: u64, url: &'a str, header: &'a str, body: &'a [u8] },
    Range { start: u64, end: u64, url: &'a str },
    Old { discard: u32, keep: u32, append: u32 },
    Unpack { frame: u32, with_old: bool, output: u32 },
}

impl<'a> Request<'a> {
    /// With its header.
    pub fn to_bytes(self) -> Result<Vec<u8>, Malformed> {
        match self {
            Self::Get { limit, url } => framed(Kind::Get, &[&limit.to_le_bytes(), url.as_bytes()]),
            Self::Post { limit, url, header, body } => {
                let length = |text: &str| match u32::try_from(text.len()) {
                    Ok(length) => Ok(length.to_le_bytes()),
                    Err(_) => Err(Malformed("a URL or header is too long")),
                };
                let lengths = [length(url)?, length(header)?].concat();
                let parts = [&limit.to_le_bytes()[..], &lengths, url.as_bytes(), header.as_bytes(), body];
                framed(Kind::Post, &parts)
            }
            Self::Range { start, end, url } => {
                framed(Kind::Range, &[&start.to_le_bytes(), &end.to_le_bytes(), url.as_bytes()])
            }
            Self::Old { discard, keep, append } => {
                framed(Kind::Old, &[&discard.to_le_bytes(), &keep.to_le_bytes(), &append.to_le_bytes()])
            }
            Self::Unpack { frame, with_old, output } => {
                let with_old = u32::from(with_old);
                framed(Kind::Unpack, &[&frame.to_le_bytes(), &with_old.to_le_bytes(), &output.to_le_bytes()])
            }
        }
    }

    pub fn parse(kind: Kind, content: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(content);
        let request = match kind {
            Kind::Get => Self::Get { limit: fields.u64()?, url: fields.text()? },
            Kind::Post => {
                let (limit, url, header) = (fields.u64()?, fields.u32()?, fields.u32()?);
                let url = Fields(fields.bytes(url as usize)?).text()?;
                let header = Fields(fields.bytes(header as usize)?).text()?;
                Self::Post { limit, url, header, body: fields.rest() }
            }
            Kind::Range => Self::Range { start: fields.u64()?, end: fields.u64()?, url: fields.text()? },
            Kind::Old => Self::Old { discard: fields.u32()?, keep: fields.u32()?, append: fields.u32()? },
            Kind::Unpack => {
                let (frame, with_old) = (fields.u32()?, fields.u32()?);
                if with_old > 1 {
                    return Err(Malformed("a request with an unknown option"));
                }
                let with_old = with_old == 1;
                Self::Unpack { frame, with_old, output: fields.u32()? }
            }
            _ => return Err(Malformed("a reply in place of a request")),
        };
        if fields.0.is_empty() { Ok(request) } else { Err(Malformed("a request is too long")) }
    }
}

/// Why a child could not carry out a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    Transport = 1,
    Range,
    TooLong,
}

/// A reply without data, at its end: `STATUS` or `FAILED`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    Status { status: u16, body: String },
    Failed { reason: Reason, text: String },
}

impl Refused {
    /// With its header.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Malformed> {
        match self {
            Self::Status { status, body } => {
                framed(Kind::Status, &[&status.to_le_bytes(), truncated(body).as_bytes()])
            }
            Self::Failed { reason, text } => {
                framed(Kind::Failed, &[&[*reason as u8], truncated(text).as_bytes()])
            }
        }
    }

    pub fn parse(kind: Kind, content: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(content);
        match kind {
            Kind::Status => {
                let status = u16::from_le_bytes(fields.array()?);
                Ok(Self::Status { status, body: printable(fields.rest()) })
            }
            Kind::Failed => {
                let [reason] = fields.array()?;
                let known = [Reason::Transport, Reason::Range, Reason::TooLong];
                let reason = known.into_iter().find(|known| *known as u8 == reason);
                let reason = reason.ok_or(Malformed("an unknown reason of a failure"))?;
                Ok(Self::Failed { reason, text: printable(fields.rest()) })
            }
            _ => Err(Malformed("an unexpected reply")),
        }
    }
}

/// The beginning of a text, of at most [`MAX_TEXT`] - 2 bytes: a status precedes it.
pub fn truncated(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT - 2)]
}

/// For logs and terminals: without control characters.
pub fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Malformed("a message is too short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes(N)?.try_into().map_err(|_| Malformed("a message is too short"))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.rest()).map_err(|_| Malformed("a text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_refusals_are_read_as_written() {
        for request in [
            Request::Get { limit: 7, url: "http://a/b" },
            Request::Post { limit: 1, url: "http://a", header: "a: b", body: b"<x/>" },
            Request::Post { limit: 1, url: "http://a", header: "", body: b"<x/>" },
            Request::Range { start: 5, end: 9, url: "" },
            Request::Old { discard: 1, keep: 2, append: 3 },
            Request::Unpack { frame: 4, with_old: true, output: 5 },
        ] {
            let bytes = request.to_bytes().unwrap();
            let (header, content) = bytes.split_first_chunk().unwrap();
            let header = Header::parse(*header).unwrap();
            assert_eq!(header.length, content.len());
            assert_eq!(Request::parse(header.kind, content), Ok(request));
        }
        for refused in [
            Refused::Status { status: 404, body: "no".into() },
            Refused::Failed { reason: Reason::TooLong, text: String::new() },
        ] {
            let bytes = refused.to_bytes().unwrap();
            let (header, content) = bytes.split_first_chunk().unwrap();
            assert_eq!(Refused::parse(Header::parse(*header).unwrap().kind, content), Ok(refused));
        }
    }

    #[test]
    fn malformed_messages_are_refused() {
        assert!(Header::parse([0, 1, 0, 0, 0]).is_err() && Header::parse([12, 1, 0, 0, 0]).is_err());
        assert!(Request::parse(Kind::Old, &[0; 11]).is_err() && Request::parse(Kind::Old, &[0; 13]).is_err());
        assert!(Request::parse(Kind::Post, &[0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, b'a']).is_err());
        assert!(Request::parse(Kind::Data, &[]).is_err());
        assert!(Refused::parse(Kind::Failed, &[9]).is_err() && Refused::parse(Kind::Status, &[9]).is_err());
        assert!(framed(Kind::Data, &[&vec![0; MAX_REQUEST + 1]]).is_err());
        assert_eq!(printable(b"a\x1b[31m\nb\xff"), "a [31m b\u{fffd}");
        assert_eq!(truncated(&"\u{e9}".repeat(MAX_TEXT)).len(), MAX_TEXT - 2);
    }
}
