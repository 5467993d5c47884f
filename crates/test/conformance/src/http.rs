//! A small blocking HTTP/1.1 client that exposes requests and responses byte for byte.
//!
//! It never follows redirects, retries, normalizes or re-encodes: tests must control these.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A longer response head is an error.
const HEAD_LIMIT: usize = 64 * 1024;
const HEADERS_LIMIT: usize = 64;
/// No case expects more than a recursive listing of several thousand keys.
const BODY_LIMIT: usize = 64 * 1024 * 1024;
pub const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("no connection to {address}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("nothing came within the time limit")]
    TimedOut,
    #[error("the connection was closed before the answer was whole")]
    Closed,
    #[error("input or output failed")]
    Io(#[source] io::Error),
    #[error("this is no HTTP answer: {0}")]
    Malformed(String),
}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Self::Closed
            }
            _ => Self::Io(error),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// Path and query, sent verbatim.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: None }
    }

    pub fn form(method: &str, target: impl Into<String>, form: impl Into<String>) -> Self {
        let mut request = Self::new(method, target);
        request.headers.push(("Content-Type".into(), FORM.into()));
        request.body = Some(form.into().into_bytes());
        request
    }

    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut bytes = (text + "\r\n").into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

#[derive(Debug, Clone, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub fn index(&self) -> Option<u64> {
        self.header("X-Etcd-Index")?.parse().ok()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How a response body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Empty,
    Length(usize),
    Chunked,
    UntilClose,
}

pub struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Connection {
    /// `limit` applies to connecting and to each later read.
    pub fn open(address: SocketAddr, limit: Duration) -> Result<Self, HttpError> {
        let stream = TcpStream::connect_timeout(&address, limit)
            .map_err(|source| HttpError::Connect { address, source })?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self { stream: BufReader::new(stream), address })
    }

    pub fn set_limit(&self, limit: Duration) -> Result<(), HttpError> {
        // Zero would disable the timeout.
        Ok(self.stream.get_ref().set_read_timeout(Some(limit.max(Duration::from_millis(1))))?)
    }

    pub fn send(&mut self, request: &Request) -> Result<(), HttpError> {
        self.send_raw(&request.bytes(&self.address.to_string()))
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), HttpError> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    pub fn exchange(&mut self, request: &Request) -> Result<Response, HttpError> {
        self.send(request)?;
        self.response(request.method == "HEAD")
    }

    pub fn response(&mut self, without_body: bool) -> Result<Response, HttpError> {
        let (mut response, framing) = self.head()?;
        response.body = match framing {
            _ if without_body => Vec::new(),
            Framing::Empty => Vec::new(),
            Framing::Length(length) => self.exactly(length)?,
            Framing::UntilClose => self.rest()?,
            Framing::Chunked => {
                let mut all = Vec::new();
                while let Some(chunk) = self.chunk()? {
                    all.extend_from_slice(&chunk);
                }
                all
            }
        };
        Ok(response)
    }

    /// Reads status and headers; skips interim responses (100).
    pub fn head(&mut self) -> Result<(Response, Framing), HttpError> {
        loop {
            let bytes = self.head_bytes()?;
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_LIMIT];
            let mut head = httparse::Response::new(&mut headers);
            let parsed = head.parse(&bytes).map_err(|error| HttpError::Malformed(error.to_string()))?;
            let (true, Some(status)) = (parsed.is_complete(), head.code) else {
                return Err(HttpError::Malformed("no status".into()));
            };
            if status == 100 {
                continue;
            }
            let named = |header: &httparse::Header<'_>| {
                (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned())
            };
            let response =
                Response { status, headers: head.headers.iter().map(named).collect(), body: vec![] };
            let framing = framing(&response)?;
            return Ok((response, framing));
        }
    }

    /// One chunk of a chunked body; `None` after the last.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)
            .map_err(|_| HttpError::Malformed(format!("`{line}` is no chunk's length")))?;
        let body = self.exactly(size)?;
        let end = self.line()?;
        if !end.is_empty() {
            return Err(HttpError::Malformed(format!("`{end}` follows a chunk")));
        }
        Ok((size > 0).then_some(body))
    }

    fn head_bytes(&mut self) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            if bytes.len() > HEAD_LIMIT {
                return Err(HttpError::Malformed("the head has no end".into()));
            }
            if self.stream.read_until(b'\n', &mut bytes)? == 0 {
                return Err(HttpError::Closed);
            }
        }
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String, HttpError> {
        let mut text = String::new();
        if self.stream.read_line(&mut text)? == 0 {
            return Err(HttpError::Closed);
        }
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, HttpError> {
        if length > BODY_LIMIT {
            return Err(HttpError::Malformed(format!("a body of {length} bytes")));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    fn rest(&mut self) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        self.stream.by_ref().take(BODY_LIMIT as u64).read_to_end(&mut body)?;
        Ok(body)
    }
}

fn framing(response: &Response) -> Result<Framing, HttpError> {
    if matches!(response.status, 100..200 | 204 | 304) {
        return Ok(Framing::Empty);
    }
    if response.header("Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(Framing::Chunked);
    }
    match response.header("Content-Length") {
        None => Ok(Framing::UntilClose),
        Some(text) => match text.parse() {
            Ok(length) => Ok(Framing::Length(length)),
            Err(_) => Err(HttpError::Malformed(format!("`{text}` is no length"))),
        },
    }
}

/// Sends one request on a separate connection.
pub fn exchange(address: SocketAddr, request: &Request, limit: Duration) -> Result<Response, HttpError> {
    Connection::open(address, limit)?.exchange(request)
}
