//! Client of OpenSSH's control socket: a subset of PROTOCOL.mux (version 4, since OpenSSH 5.4).
//!
//! A connection to the socket carries one session or forwarded stream and closes it on drop. A request passes the file
//! descriptors of the stream. `ssh -S` is no replacement: it opens its own connection if the socket is missing, and
//! does not report why a request was rejected.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

use crate::limits::MESSAGE_BYTES;

const VERSION: u32 = 4;

const HELLO: u32 = 0x0000_0001;
const NEW_SESSION: u32 = 0x1000_0002;
const NEW_STDIO_FORWARD: u32 = 0x1000_0008;
const PERMISSION_DENIED: u32 = 0x8000_0002;
const FAILURE: u32 = 0x8000_0003;
const EXIT_MESSAGE: u32 = 0x8000_0004;
const SESSION_OPENED: u32 = 0x8000_0006;
const TTY_ALLOC_FAIL: u32 = 0x8000_0008;

/// A connection carries one request.
const REQUEST: u32 = 1;
const NO_ESCAPE: u32 = 0xffff_ffff;

pub struct Session<'a> {
    /// Empty for a shell.
    pub command: &'a str,
    /// `TERM`, if standard input is a terminal.
    pub terminal: Option<&'a str>,
    /// Forwards the agent; requires `ssh` with ForwardAgent.
    pub agent: bool,
}

/// Events of a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Exit(u32),
    NoTerminal,
    /// The session is closed. There is no exit code if a signal ended the command.
    Closed,
}

pub struct Control(UnixStream);

struct Message {
    kind: u32,
    body: Vec<u8>,
}

impl Control {
    pub async fn connect(socket: &Path) -> io::Result<Control> {
        let mut control = Control(UnixStream::connect(socket).await?);
        let hello = control.receive().await?;
        if hello.kind != HELLO || hello.number(0) != Some(VERSION) {
            return Err(io::Error::other("unsupported protocol of the control socket"));
        }
        control.send(Request::new(HELLO).number(VERSION)).await?;
        Ok(control)
    }

    /// Opens a session; `files` are its standard input, output and error. Returns false if it is rejected.
    pub async fn session(&mut self, session: &Session<'_>, files: [OwnedFd; 3]) -> io::Result<bool> {
        let request = Request::new(NEW_SESSION)
            .number(REQUEST)
            .text("")
            .number(u32::from(session.terminal.is_some()))
            // No X11.
            .number(0)
            .number(u32::from(session.agent))
            // No subsystem.
            .number(0)
            .number(NO_ESCAPE)
            .text(session.terminal.unwrap_or_default())
            .text(session.command);
        self.request(request, &files).await
    }

    /// Opens a TCP connection from the server; `files` are its input and output. Returns false if it is rejected.
    pub async fn forward(&mut self, host: &str, port: u16, files: [OwnedFd; 2]) -> io::Result<bool> {
        let request =
            Request::new(NEW_STDIO_FORWARD).number(REQUEST).text("").text(host).number(u32::from(port));
        self.request(request, &files).await
    }

    pub async fn event(&mut self) -> io::Result<Event> {
        loop {
            let message = match self.receive().await {
                Err(error) if is_disconnect(&error) => return Ok(Event::Closed),
                received => received?,
            };
            match message.kind {
                EXIT_MESSAGE => return Ok(Event::Exit(message.number(1).unwrap_or(u32::MAX))),
                TTY_ALLOC_FAIL => return Ok(Event::NoTerminal),
                _ => {}
            }
        }
    }

    async fn request(&mut self, request: Request, files: &[OwnedFd]) -> io::Result<bool> {
        self.send(request).await?;
        for file in files {
            self.pass(file).await?;
        }
        let reply = self.receive().await?;
        match reply.kind {
            SESSION_OPENED => Ok(true),
            FAILURE | PERMISSION_DENIED => Ok(false),
            other => Err(io::Error::other(format!("the control socket replied {other:#x}"))),
        }
    }

    async fn send(&mut self, request: Request) -> io::Result<()> {
        let body = request.0;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        self.0.write_all(&[&length.to_be_bytes(), &body[..]].concat()).await
    }

    /// Sends a descriptor along with one byte.
    async fn pass(&self, file: &OwnedFd) -> io::Result<()> {
        let socket = self.0.as_raw_fd();
        let send = || {
            let descriptors = [file.as_raw_fd()];
            let rights = [ControlMessage::ScmRights(&descriptors)];
            sendmsg::<()>(socket, &[IoSlice::new(&[0])], &rights, MsgFlags::empty(), None)?;
            Ok(())
        };
        self.0.async_io(Interest::WRITABLE, send).await
    }

    async fn receive(&mut self) -> io::Result<Message> {
        let length = self.0.read_u32().await?;
        if !(4..=MESSAGE_BYTES).contains(&length) {
            return Err(io::Error::other(format!("a control message of {length} bytes")));
        }
        let kind = self.0.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        self.0.read_exact(&mut body).await?;
        Ok(Message { kind, body })
    }
}

/// Whether the error means that `ssh` has exited or is exiting.
pub fn is_disconnect(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let disconnects = [
        Kind::UnexpectedEof,
        Kind::ConnectionReset,
        Kind::ConnectionRefused,
        Kind::BrokenPipe,
        Kind::NotFound,
    ];
    disconnects.contains(&error.kind())
}

impl Message {
    /// The number at `index` in a body of numbers.
    fn number(&self, index: usize) -> Option<u32> {
        let bytes = self.body.get(index * 4..index * 4 + 4)?;
        bytes.try_into().ok().map(u32::from_be_bytes)
    }
}

struct Request(Vec<u8>);

impl Request {
    fn new(kind: u32) -> Request {
        Request(kind.to_be_bytes().to_vec())
    }

    fn number(mut self, number: u32) -> Request {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// Shorter than 4 GiB, as commands are process arguments.
    fn text(self, text: &str) -> Request {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let mut request = self.number(length);
        request.0.extend(text.as_bytes());
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    #[test]
    fn requests_are_encoded_as_in_the_protocol() {
        let check = |request: Request, expect: &[u8]| assert_eq!(request.0, expect);
        check(Request::new(HELLO).number(VERSION), &[0, 0, 0, 1, 0, 0, 0, 4]);
        check(
            Request::new(NEW_STDIO_FORWARD).number(REQUEST).text("").text("a").number(22),
            b"\x10\0\0\x08\0\0\0\x01\0\0\0\0\0\0\0\x01a\0\0\0\x16",
        );
    }

    /// Sends a request to a master that writes `replies` and closes the connection.
    async fn request_with_replies(replies: &'static [u8]) -> (io::Result<bool>, io::Result<Event>) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let master = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"\0\0\0\x08\0\0\0\x01\0\0\0\x04").unwrap();
            // The hello message, the request, and one byte per descriptor.
            stream.read_exact(&mut [0; 12 + 4 + 21 + 2]).unwrap();
            stream.write_all(replies).unwrap();
        });
        let mut control = Control::connect(&socket).await.unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let opened = control.forward("a", 22, [reader.into(), writer.into()]).await;
        let event = control.event().await;
        master.join().unwrap();
        (opened, event)
    }

    #[tokio::test]
    async fn replies() {
        let (opened, event) = request_with_replies(
            b"\0\0\0\x0c\x80\0\0\x06\0\0\0\x01\0\0\0\x02\0\0\0\x0c\x80\0\0\x04\0\0\0\x02\0\0\0\x07",
        )
        .await;
        assert!(opened.unwrap());
        assert_eq!(event.unwrap(), Event::Exit(7));
        let (opened, event) = request_with_replies(b"\0\0\0\x0d\x80\0\0\x03\0\0\0\x01\0\0\0\x01x").await;
        assert!(!opened.unwrap());
        assert_eq!(event.unwrap(), Event::Closed);
        let (opened, _) = request_with_replies(b"").await;
        assert!(is_disconnect(&opened.unwrap_err()));
        let (opened, _) = request_with_replies(b"\xff\xff\xff\xff").await;
        assert!(opened.unwrap_err().to_string().contains("4294967295 bytes"));
    }
}
