//! The wire format of TFTP.

use crate::limits::{TFTP_ERROR_BYTES, TFTP_OPTIONS, TFTP_REQUEST_BYTES};

const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OPTIONS_ACK: u16 = 6;
/// Operation and block number before the data of a block.
pub const DATA_HEADER: usize = 4;

/// A packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromClient {
    /// Requests a file.
    Read(Request),
    /// Wants to store a file.
    Write,
    /// Has received all blocks up to this one.
    Ack(u16),
    /// Gives up.
    Error {
        /// Of RFC 1350.
        code: u16,
        /// Cut to a line.
        message: String,
    },
}

/// A request to read a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// As the client sends it.
    pub file: String,
    /// `octet` or `netascii`, in lower case.
    pub mode: String,
    /// Names in lower case, with their values.
    pub options: Vec<(String, String)>,
}

/// Codes of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of RFC 1350")]
pub enum ErrorCode {
    NotDefined = 0,
    FileNotFound = 1,
    AccessViolation = 2,
    IllegalOperation = 4,
}

/// Why bytes are no packet of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum DecodeError {
    #[error("{0} bytes are not the length of a TFTP packet of a client")]
    Length(usize),
    #[error("operation {0} is not one of a client")]
    Operation(u16),
    #[error("a text has no end")]
    Unterminated,
    #[error("the request has no mode, or no value of an option")]
    Incomplete,
    #[error("the request has more than {TFTP_OPTIONS} options")]
    Options,
    #[error("a text is not UTF-8")]
    Text,
}

impl FromClient {
    /// Decodes a datagram.
    ///
    /// # Errors
    /// It is no packet that a client sends.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let length = DecodeError::Length(bytes.len());
        if bytes.len() > TFTP_REQUEST_BYTES {
            return Err(length);
        }
        let ([high, low], rest) = bytes.split_first_chunk::<2>().ok_or(length)?;
        let number = || match rest {
            [high, low, ..] => Ok(u16::from_be_bytes([*high, *low])),
            _ => Err(length),
        };
        match u16::from_be_bytes([*high, *low]) {
            READ => Ok(Self::Read(read_request(rest)?)),
            WRITE => Ok(Self::Write),
            ACK => Ok(Self::Ack(number()?)),
            ERROR => Ok(Self::Error { code: number()?, message: message(&rest[2..]) }),
            other => Err(DecodeError::Operation(other)),
        }
    }
}

fn read_request(bytes: &[u8]) -> Result<Request, DecodeError> {
    let texts = bytes.strip_suffix(&[0]).ok_or(DecodeError::Unterminated)?;
    let mut texts = texts.split(|byte| *byte == 0).map(|text| {
        let text = std::str::from_utf8(text).map_err(|_| DecodeError::Text)?;
        Ok(text.to_owned())
    });
    let mut next = || texts.next().unwrap_or(Err(DecodeError::Incomplete));
    let (file, mode) = (next()?, next()?.to_ascii_lowercase());
    if mode.is_empty() {
        return Err(DecodeError::Incomplete);
    }
    let mut options = Vec::new();
    while let Some(name) = texts.next() {
        let name = name?.to_ascii_lowercase();
        // Some firmware fills the packet with zeros.
        if name.is_empty() {
            break;
        }
        if options.len() == TFTP_OPTIONS {
            return Err(DecodeError::Options);
        }
        options.push((name, texts.next().unwrap_or(Err(DecodeError::Incomplete))?));
    }
    Ok(Request { file, mode, options })
}

/// For logs: bounded, without control characters.
fn message(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.chars().filter(|char| !char.is_control()).take(TFTP_ERROR_BYTES).collect()
}

/// A block of a file. Blocks are numbered from 1, modulo 65536.
#[must_use]
pub fn data(block: u16, bytes: &[u8]) -> Vec<u8> {
    [&DATA.to_be_bytes()[..], &block.to_be_bytes(), bytes].concat()
}

/// The accepted options.
#[must_use]
pub fn options_ack(options: &[(&str, u64)]) -> Vec<u8> {
    let mut bytes = OPTIONS_ACK.to_be_bytes().to_vec();
    for (name, value) in options {
        bytes.extend(format!("{name}\0{value}\0").into_bytes());
    }
    bytes
}

/// An error, which ends the transfer.
#[must_use]
pub fn error(code: ErrorCode, message: &str) -> Vec<u8> {
    let code = code as u16;
    [&ERROR.to_be_bytes()[..], &code.to_be_bytes(), message.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let request = |file: &str, options: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let options = options.iter().map(owned).collect();
            Ok(FromClient::Read(Request { file: file.to_owned(), mode: "octet".to_owned(), options }))
        };
        let check = |bytes: &[u8], expect| assert_eq!(FromClient::decode(bytes), expect, "{bytes:?}");
        check(b"\0\x01a.efi\0octet\0", request("a.efi", &[]));
        check(b"\0\x01a.efi\0OCTET\0tsize\x000\0blkSize\x001468\0", {
            request("a.efi", &[("tsize", "0"), ("blksize", "1468")])
        });
        check(b"\0\x01a.efi\0octet\0\0\0\0", request("a.efi", &[]));
        check(b"\0\x01\0octet\0", request("", &[]));
        check(b"\0\x02a.efi\0octet\0", Ok(FromClient::Write));
        check(b"\0\x04\x12\x34", Ok(FromClient::Ack(0x1234)));
        let error = |code, message: &str| Ok(FromClient::Error { code, message: message.to_owned() });
        check(b"\0\x05\0\x08refused\x1b\0", error(8, "refused"));
        check(b"\0\x05\0\0", error(0, ""));
    }

    #[test]
    fn malformed_packets_are_refused() {
        let check = |bytes: &[u8], expect| assert_eq!(FromClient::decode(bytes), Err(expect), "{bytes:?}");
        check(b"", DecodeError::Length(0));
        check(b"\0", DecodeError::Length(1));
        check(b"\0\x04\0", DecodeError::Length(3));
        check(&[0; TFTP_REQUEST_BYTES + 1], DecodeError::Length(TFTP_REQUEST_BYTES + 1));
        check(b"\0\x03\0\x01data", DecodeError::Operation(3));
        check(b"\0\x09", DecodeError::Operation(9));
        check(b"\0\x01a.efi\0octet", DecodeError::Unterminated);
        check(b"\0\x01a.efi\0", DecodeError::Incomplete);
        check(b"\0\x01a\0\0", DecodeError::Incomplete);
        check(b"\0\x01a\0octet\0tsize\0", DecodeError::Incomplete);
        check(b"\0\x01\xff\0octet\0", DecodeError::Text);
        let many = [b"\0\x01a\0octet\0".to_vec(), b"x\x001\0".repeat(TFTP_OPTIONS + 1)].concat();
        check(&many, DecodeError::Options);
    }

    #[test]
    fn what_the_server_sends() {
        assert_eq!(data(0x1234, b"ab"), b"\0\x03\x12\x34ab");
        assert_eq!(options_ack(&[("tsize", 7), ("blksize", 512)]), b"\0\x06tsize\x007\0blksize\x00512\0");
        assert_eq!(error(ErrorCode::FileNotFound, "no"), b"\0\x05\0\x01no\0");
    }
}
