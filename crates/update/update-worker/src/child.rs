//! The child: drops its rights, then serves requests until its parent closes the socket.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use nix::sys::prctl;
use nix::unistd::Pid;
use payload::limits::{MAX_OLD_BYTES, SEGMENT_BYTES};
use payload::unpack_frame;
use restrict::system_calls::{Calls, OnEscape, allow_only};
use restrict::{NO_LANDLOCK, detach, drop_rights, files};
use rustix::process::{Resource, Rlimit, setrlimit};
use service::error::chain;

use crate::http::Client;
use crate::limits::{MAX_DATA, MAX_FRAME, MAX_REQUEST, OPEN_FILES, TRANSFER_MEMORY, UNPACK_MEMORY};
use crate::message::{HEADER_BYTES, Header, Kind, Reason, Refused, Request, Role, framed, truncated};

/// What DNS needs: the resolver's settings, and libraries of name services. Certificates are read before.
const READABLE: [&str; 11] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
    "/usr/lib",
    "/lib",
    "/lib64",
];

/// Serves a parent whose socket is the standard input. `args`: the role, and the parent's process id.
#[must_use]
pub fn run(args: &[String]) -> ExitCode {
    let [role, parent] = args else { return ExitCode::from(2) };
    let (Ok(role), Ok(parent)) = (role.parse(), parent.parse()) else { return ExitCode::from(2) };
    // Nobody reads messages: the parent reports how this process ended.
    match serve(role, Pid::from_raw(parent)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(role: Role, parent: Pid) -> io::Result<()> {
    prctl::set_name(c"update-worker")?;
    detach().map_err(io::Error::other)?;
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Reads the certificates.
    let client = (role == Role::Transfer).then(Client::new);
    let unrestricted = restrict(role, parent)?;
    socket
        .write_all(&framed(Kind::Hello, &[truncated(&unrestricted).as_bytes()]).map_err(io::Error::other)?)?;
    let mut window = Vec::new();
    let mut content = Vec::new();
    // Kept: new memory costs as much as a quarter of the decompression.
    let mut segment = Vec::new();
    loop {
        let mut header = [0; HEADER_BYTES];
        match socket.read_exact(&mut header) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            outcome => outcome?,
        }
        let Header { kind, length } = Header::parse(header).map_err(io::Error::other)?;
        receive(&mut socket, &mut content, length, MAX_REQUEST)?;
        let request = Request::parse(kind, &content).map_err(io::Error::other)?;
        match (&client, request) {
            (Some(client), Request::Get { limit, url }) => send_body(&mut socket, client.get(url, limit))?,
            (Some(client), Request::Post { limit, url, header, body }) => {
                send_body(&mut socket, client.post(url, header, body, limit))?;
            }
            (Some(client), Request::Range { start, end, url }) => match client.range(url, &(start..end)) {
                Ok(body) => send_range(&mut socket, body, end.saturating_sub(start))?,
                Err(refused) => socket.write_all(&refused.to_bytes().map_err(io::Error::other)?)?,
            },
            (None, Request::Old { discard, keep, append }) => {
                slide(&mut window, discard as usize, keep as usize)?;
                append_exact(&mut socket, &mut window, append as usize, MAX_OLD_BYTES as usize)?;
            }
            (None, Request::Unpack { frame, with_old, output }) => {
                receive(&mut socket, &mut content, frame as usize, MAX_FRAME)?;
                let old = with_old.then_some(&window[..]);
                let length = output_length(output)?;
                // The kernel zeroes new memory; `resize` would write each byte.
                if segment.len() != length {
                    segment = vec![0; length];
                }
                unpack(&mut socket, &content, old, &mut segment)?;
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// Returns what this process can do beyond its role, because the kernel lacks a restriction.
fn restrict(role: Role, parent: Pid) -> io::Result<String> {
    limit_resources(role)?;
    drop_rights(parent).map_err(io::Error::other)?;
    let readable = if role == Role::Transfer { &READABLE[..] } else { &[] };
    let mut unrestricted = Vec::new();
    match files::allow_reads(readable) {
        Ok(true) => {}
        Ok(false) => unrestricted.push(format!("open files: {NO_LANDLOCK}")),
        Err(error) => unrestricted.push(format!("open files: {}", chain(&error))),
    }
    let calls = if role == Role::Transfer { Calls::Connect } else { Calls::Compute };
    if let Err(error) = allow_only(calls, OnEscape::KillProcess) {
        unrestricted.push(format!("use all system calls: {}", chain(&error)));
    }
    Ok(unrestricted.join("; "))
}

fn limit_resources(role: Role) -> io::Result<()> {
    let memory = if role == Role::Transfer { TRANSFER_MEMORY } else { UNPACK_MEMORY };
    for (resource, limit) in
        [(Resource::Core, 0), (Resource::Fsize, 0), (Resource::Nofile, OPEN_FILES), (Resource::Data, memory)]
    {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    Ok(())
}

fn receive(socket: &mut UnixStream, into: &mut Vec<u8>, length: usize, limit: usize) -> io::Result<()> {
    into.clear();
    append_exact(socket, into, length, limit)
}

fn append_exact(socket: &mut UnixStream, to: &mut Vec<u8>, length: usize, limit: usize) -> io::Result<()> {
    let start = to.len();
    if length > limit || start + length > limit {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    to.reserve_exact(length);
    let read = socket.take(length as u64).read_to_end(to)?;
    if read == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// Keeps `keep` bytes of the window, after the first `discard`.
fn slide(window: &mut Vec<u8>, discard: usize, keep: usize) -> io::Result<()> {
    if discard + keep > window.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    window.copy_within(discard..discard + keep, 0);
    window.truncate(keep);
    Ok(())
}

fn send_body(socket: &mut UnixStream, body: Result<Vec<u8>, Refused>) -> io::Result<()> {
    match body {
        Ok(body) => {
            for piece in body.chunks(MAX_DATA) {
                socket.write_all(&framed(Kind::Data, &[piece]).map_err(io::Error::other)?)?;
            }
            socket.write_all(&Header { kind: Kind::End, length: 0 }.to_bytes())
        }
        Err(refused) => socket.write_all(&refused.to_bytes().map_err(io::Error::other)?),
    }
}

fn send_range(socket: &mut UnixStream, mut body: impl Read, mut left: u64) -> io::Result<()> {
    let mut message = vec![0; HEADER_BYTES + MAX_DATA];
    while left > 0 {
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(MAX_DATA);
        match body.read(&mut message[HEADER_BYTES..HEADER_BYTES + limit]) {
            Ok(0) => break,
            Ok(length) => {
                message[..HEADER_BYTES].copy_from_slice(&Header { kind: Kind::Data, length }.to_bytes());
                socket.write_all(&message[..HEADER_BYTES + length])?;
                left -= length as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                let refused = Refused::Failed { reason: Reason::Transport, text: chain(&error) };
                return socket.write_all(&refused.to_bytes().map_err(io::Error::other)?);
            }
        }
    }
    socket.write_all(&Header { kind: Kind::End, length: 0 }.to_bytes())
}

fn output_length(length: u32) -> io::Result<usize> {
    if length > SEGMENT_BYTES { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(length as usize) }
}

fn unpack(socket: &mut UnixStream, frame: &[u8], old: Option<&[u8]>, segment: &mut [u8]) -> io::Result<()> {
    let length = segment.len();
    if unpack_frame(frame, old, segment).is_ok_and(|unpacked| unpacked == length) {
        socket.write_all(&Header { kind: Kind::Data, length }.to_bytes())?;
        return socket.write_all(segment);
    }
    socket.write_all(&Header { kind: Kind::Invalid, length: 0 }.to_bytes())
}
