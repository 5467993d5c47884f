//! Entry points of fuzz targets and tests: what the parent makes of the bytes of a child, and the child of a request.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use payload::Output;

use crate::http::HttpError;
use crate::limits::MAX_REQUEST;
use crate::link::{Link, LinkError, Wait};
use crate::message::{HEADER_BYTES, Header, Request};
use crate::transfers::{self, RangeReader};
use crate::unpacker;

/// The parent's end of a child's socket.
#[derive(Debug)]
pub struct Parent {
    link: Link,
    deadline: Duration,
}

impl Parent {
    /// Waits for each reply until the deadline.
    ///
    /// # Errors
    /// The socket does not accept timeouts.
    pub fn new(stream: UnixStream, deadline: Duration) -> io::Result<Self> {
        Ok(Self { link: Link::new(stream)?, deadline })
    }

    fn wait(&self) -> Wait<'static> {
        Wait::new(self.deadline, &|| false)
    }

    /// The first message.
    ///
    /// # Errors
    /// The bytes are not of the protocol, or too late.
    pub fn hello(&mut self) -> Result<String, String> {
        let wait = self.wait();
        self.link.hello(wait).map_err(message)
    }

    /// A reply to a request for a body of at most `limit` bytes.
    ///
    /// # Errors
    /// The bytes are not of the protocol, or too late, or the child reports a failure.
    pub fn body(&mut self, limit: u64) -> Result<Vec<u8>, String> {
        let wait = self.wait();
        let body = transfers::read_body(&mut self.link, limit, wait).map_err(message)?;
        body.map_err(|refused| HttpError::refused("", limit, refused).to_string())
    }

    /// A reply to a request for a range of `length` bytes, of which it may be a part.
    ///
    /// # Errors
    /// The bytes are not of the protocol, or too late, or the child reports a failure.
    pub fn range(&mut self, length: u64) -> Result<Vec<u8>, String> {
        let (mut rest, mut body, mut piece) = (RangeReader::new(length), Vec::new(), vec![0; 1000]);
        loop {
            let wait = self.wait();
            let read = rest.read(&mut self.link, &mut piece, wait).map_err(message)?;
            match read.map_err(|refused| HttpError::refused("", length, refused).to_string())? {
                0 => return Ok(body),
                read => body.extend_from_slice(&piece[..read]),
            }
        }
    }

    /// A reply to a request to unpack a segment.
    ///
    /// # Errors
    /// The bytes are not of the protocol, or too late.
    pub fn unpacked(&mut self, output: &mut [u8]) -> Result<(), String> {
        let wait = self.wait();
        unpacker::read_unpacked(&mut self.link, &mut Output::new(output), wait).map_err(message)
    }
}

fn message(error: LinkError) -> String {
    error.to_string()
}

/// Parses a request as the child does. Returns it as it is sent, if it is one.
#[must_use]
pub fn request(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, content) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let Header { kind, length } = Header::parse(*header).ok()?;
    let content = content.get(..length).filter(|content| content.len() <= MAX_REQUEST)?;
    Request::parse(kind, content).ok()?.to_bytes().ok()
}
