//! The child: drops its rights, then serves requests until its parent closes the socket.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{Gid, Pid, Uid, getppid, setgroups, setresgid, setresuid};
use payload::limits::{MAX_OLD_BYTES, SEGMENT_BYTES};
use payload::unpack_frame;
use restrict::system_calls::{Calls, OnEscape, allow_only};
use restrict::{NO_LANDLOCK, files, keep_capabilities};
use rustix::process::{Resource, Rlimit, setrlimit};
use service::error::chain;

use crate::http::Client;
use crate::limits::{MAX_DATA, MAX_FRAME, MAX_REQUEST, OPEN_FILES, TRANSFER_MEMORY, UNPACK_MEMORY};
use crate::message::{HEADER_BYTES, Header, Kind, Reason, Refused, Request, Role, framed, truncated};

/// Nobody.
const NOBODY: u32 = 65534;
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
    close_inherited_files()?;
    ignore_stop_signals()?;
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
                segment.resize(output_length(output)?, 0);
                unpack(&mut socket, &content, old, &mut segment)?;
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// Closes all but standard input, output and error: a shell or supervisor may have left others open.
#[allow(unsafe_code, reason = "close_range has no safe wrapper")]
fn close_inherited_files() -> io::Result<()> {
    // SAFETY: this process has opened no file yet that it could use after this.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    Errno::result(result)?;
    Ok(())
}

/// A terminal or supervisor stops the parent, whose end is this process's: until then its work is not a failure.
#[allow(unsafe_code, reason = "signal actions are process-wide")]
fn ignore_stop_signals() -> io::Result<()> {
    for stop in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: no handler runs.
        unsafe { signal(stop, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// Returns what this process can do beyond its role, because the kernel lacks a restriction.
fn restrict(role: Role, parent: Pid) -> io::Result<String> {
    limit_resources(role)?;
    drop_user()?;
    keep_capabilities(&[]).map_err(io::Error::other)?;
    // After the user changed, which resets both.
    prctl::set_dumpable(false)?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(io::Error::other("the parent has exited"));
    }
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

/// Where this process may change its user. A filter of system calls may end it otherwise.
fn drop_user() -> io::Result<()> {
    let may = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    if !may(Capability::CAP_SETUID) || !may(Capability::CAP_SETGID) {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let changed = setgroups(&[])
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user));
    match changed {
        // A user namespace without that user, or with fixed groups.
        Err(Errno::EINVAL | Errno::EPERM) => Ok(()),
        outcome => Ok(outcome?),
    }
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
