//! The LAN of a cluster: a process that switches frames between the nodes' sockets.
//!
//! Each node has a unix socket `NAME.sock` in the LAN's folder. A frame is sent as a 4-byte big-endian length and the
//! frame, the format of QEMU's stream netdev. `control.sock` takes one JSON command per line. The switch needs no
//! privileges and connects the nodes to no other network. It also receives the machines' reset events and limits
//! their logs, because it is the one process that runs while any node runs.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::process::{Process, ProcessError, last_line};
use crate::store::READY;
use crate::switch::{Port, Switch};
use crate::{logs, resets};

const CONTROL: &str = "control.sock";
/// Read timeout of both ends of the control socket.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortCommand {
    /// Opens the port of a node unless it is open.
    Add(String),
    Isolate(String),
    Heal(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Response {
    error: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum LanError {
    #[error("cannot open the socket {path}")]
    Listen { path: PathBuf, source: io::Error },
    #[error("the LAN switch does not respond on {path}")]
    Control { path: PathBuf, source: io::Error },
    #[error("the LAN switch rejected the command: {0}")]
    Refused(String),
    #[error("the LAN switch did not start: {message} (log: {log})")]
    Start { log: PathBuf, message: String },
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// The socket of a node's port in the LAN's folder.
#[must_use]
pub fn socket(folder: &Path, node: &str) -> PathBuf {
    folder.join(format!("{node}.sock"))
}

/// Starts the switch in the background: `program ARGS... FOLDER` must call [`serve`].
pub fn start(mut command: std::process::Command, folder: &Path) -> Result<Process, LanError> {
    let path = folder.join(CONTROL);
    let failed = |source| LanError::Listen { path: path.clone(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    remove(&path).map_err(failed)?;
    let log = folder.join("log");
    command.arg(folder);
    let process = Process::spawn(command, &log)?;
    let deadline = Instant::now() + limits::BACKGROUND_START;
    while UnixStream::connect(&path).is_err() {
        if !process.alive() || Instant::now() > deadline {
            process.kill()?;
            return Err(LanError::Start { message: last_line(&log), log });
        }
        // Opening a listening socket sends no event to other processes; it takes milliseconds.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(process)
}

/// Sends a command to the switch that serves `folder`.
pub fn send_command(folder: &Path, command: &PortCommand) -> Result<(), LanError> {
    let path = folder.join(CONTROL);
    let failed = |source| LanError::Control { path: path.clone(), source };
    let mut stream = UnixStream::connect(&path).map_err(failed)?;
    stream.set_read_timeout(Some(CONTROL_TIMEOUT)).map_err(failed)?;
    let mut line = serde_json::to_vec(command).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(failed)?;
    let mut response = String::new();
    BufReader::new(stream).read_line(&mut response).map_err(failed)?;
    let response: Response = serde_json::from_str(&response).map_err(|error| failed(error.into()))?;
    response.error.map_or(Ok(()), |error| Err(LanError::Refused(error)))
}

/// Frames queued for a port, with the number of its connection.
type Queue = (u64, SyncSender<Arc<[u8]>>);

#[derive(Default)]
struct State {
    switch: Switch,
    ports: HashMap<String, Port>,
    /// The current connection of each port.
    queues: HashMap<Port, Queue>,
    accepted: u64,
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the switch of `folder`; returns only on an error.
pub fn serve(folder: &Path) -> Result<std::convert::Infallible, LanError> {
    let path = folder.join(CONTROL);
    let failed = |source| LanError::Listen { path: path.clone(), source };
    let listener = listen(&path).map_err(failed)?;
    let state = Shared::default();
    let (root, shared) = (root(folder).to_path_buf(), Arc::clone(&state));
    std::thread::spawn(move || logs::limit_logs(&root, || lock(&shared).ports.keys().cloned().collect()));
    loop {
        let (stream, _) = listener.accept().map_err(failed)?;
        if let Err(error) = control(&state, folder, stream) {
            eprintln!("cannot handle a control command: {error}");
        }
    }
}

fn root(folder: &Path) -> &Path {
    folder.parent().unwrap_or(folder)
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    remove(path)?;
    UnixListener::bind(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn control(state: &Shared, folder: &Path, stream: UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(CONTROL_TIMEOUT))?;
    let mut line = String::new();
    let limit = u64::try_from(limits::CONTROL_LINE_MAX).unwrap_or(u64::MAX);
    BufReader::new((&stream).take(limit)).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(());
    }
    let done = match serde_json::from_str(&line) {
        Ok(command) => execute(state, folder, &command),
        Err(error) => Err(format!("{error}")),
    };
    let mut response = serde_json::to_vec(&Response { error: done.err() })?;
    response.push(b'\n');
    (&stream).write_all(&response)
}

fn execute(state: &Shared, folder: &Path, command: &PortCommand) -> Result<(), String> {
    let set = |name: &String, isolated| {
        let mut state = lock(state);
        let port = *state.ports.get(name).ok_or_else(|| format!("no such port: {name}"))?;
        state.switch.isolate(port, isolated);
        Ok(())
    };
    match command {
        PortCommand::Isolate(name) => set(name, true),
        PortCommand::Heal(name) => set(name, false),
        PortCommand::Add(name) => {
            if lock(state).ports.contains_key(name) {
                return Ok(());
            }
            let opened = |path: &Path| listen(path).map_err(|error| format!("{}: {error}", path.display()));
            let listener = opened(&socket(folder, name))?;
            let events = opened(&resets::socket(folder, name))?;
            let ready = root(folder).join(name).join(READY);
            std::thread::spawn(move || resets::follow(&events, &ready));
            let port = {
                let mut state = lock(state);
                let port = state.switch.add();
                state.ports.insert(name.clone(), port);
                port
            };
            let state = Arc::clone(state);
            std::thread::spawn(move || accept(&state, port, &listener));
            Ok(())
        }
    }
}

fn accept(state: &Shared, port: Port, listener: &UnixListener) {
    while let Ok((stream, _)) = listener.accept() {
        let Ok(writer) = stream.try_clone() else { continue };
        let (sender, receiver) = sync_channel(limits::PORT_QUEUE);
        let number = {
            let mut state = lock(state);
            state.accepted += 1;
            let number = state.accepted;
            // A node has one interface: a newer connection replaces the older one.
            state.queues.insert(port, (number, sender));
            number
        };
        std::thread::spawn(move || write_frames(writer, &receiver));
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            if let Err(error) = forward_frames(&state, port, stream) {
                eprintln!("port {port}: {error}");
            }
            let mut state = lock(&state);
            if state.queues.get(&port).is_some_and(|(current, _)| *current == number) {
                state.queues.remove(&port);
            }
        });
    }
}

/// Reads frames of one port until it closes and queues each for its target ports.
fn forward_frames(state: &Shared, port: Port, stream: UnixStream) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(limits::FRAME_MAX, stream);
    while let Some(frame) = read_frame(&mut reader)? {
        let frame: Arc<[u8]> = frame.into();
        let mut state = lock(state);
        for target in state.switch.forward(port, &frame) {
            let Some((_, queue)) = state.queues.get(&target) else { continue };
            match queue.try_send(Arc::clone(&frame)) {
                // A slow port loses frames, as on a real switch.
                Ok(()) | Err(TrySendError::Full(_)) => {}
                Err(TrySendError::Disconnected(_)) => {
                    state.queues.remove(&target);
                }
            }
        }
    }
    Ok(())
}

fn write_frames(stream: UnixStream, receiver: &Receiver<Arc<[u8]>>) {
    let mut writer = BufWriter::with_capacity(limits::FRAME_MAX, &stream);
    while let Ok(frame) = receiver.recv() {
        // Frames that arrived meanwhile are written together.
        let mut frames = std::iter::once(frame).chain(receiver.try_iter());
        let written = frames.try_for_each(|frame| write_frame(&mut writer, &frame));
        if written.and_then(|()| writer.flush()).is_err() {
            return;
        }
    }
    // A newer connection has replaced this one.
    drop(stream.shutdown(std::net::Shutdown::Both));
}

/// Reads one frame; `None` at the end of the stream.
pub fn read_frame(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match reader.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > limits::FRAME_MAX {
        return Err(io::Error::other(format!("a frame of {length} bytes is too long")));
    }
    let mut frame = vec![0; length];
    reader.read_exact(&mut frame)?;
    Ok(Some(frame))
}

/// Writes one frame in two parts: `writer` should be buffered.
pub fn write_frame(writer: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    writer.write_all(&length.to_be_bytes())?;
    writer.write_all(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source of the frames that only test whether a port is connected.
    const SETUP_SENDER: u8 = 200;

    fn frame(to: u8, from: u8) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[..6].fill(to);
        frame[6..12].copy_from_slice(&[2, from, 0, 0, 0, 0]);
        frame
    }

    fn wait_for(path: &Path) -> UnixStream {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "{}: {error}", path.display()),
            }
        }
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let cluster = tempfile::tempdir().unwrap();
        let folder = cluster.path().join("lan");
        std::fs::create_dir(&folder).unwrap();
        (cluster, folder)
    }

    /// A running LAN whose ports are known to be connected.
    fn lan(folder: &Path, names: &[&str]) -> Vec<UnixStream> {
        let owned = folder.to_path_buf();
        std::thread::spawn(move || serve(&owned));
        drop(wait_for(&folder.join(CONTROL)));
        let mut ports = Vec::new();
        for name in names {
            send_command(folder, &PortCommand::Add((*name).to_owned())).unwrap();
            let port = wait_for(&socket(folder, name));
            port.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            ports.push(port);
        }
        // A connected port receives the others' broadcasts.
        let (last, first) = ports.split_last_mut().unwrap();
        for (number, port) in first.iter_mut().enumerate() {
            loop {
                write_frame(last, &frame(0xff, SETUP_SENDER)).unwrap();
                port.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                let received = read_frame(port);
                port.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                if received.is_ok() {
                    break;
                }
            }
            assert!(number < 10);
        }
        ports
    }

    /// The next frame that is not from the set-up of the LAN.
    fn next_frame(port: &mut UnixStream) -> Vec<u8> {
        loop {
            let frame = read_frame(port).unwrap().unwrap();
            if frame[7] != SETUP_SENDER {
                return frame;
            }
        }
    }

    #[test]
    fn frames_pass_and_an_isolated_port_receives_none() {
        let (_cluster, folder) = folder();
        let mut ports = lan(&folder, &["a", "b", "c"]);
        write_frame(&mut ports[0], &frame(0xff, 1)).unwrap();
        assert_eq!(next_frame(&mut ports[1]), frame(0xff, 1));
        assert_eq!(next_frame(&mut ports[2]), frame(0xff, 1));
        send_command(&folder, &PortCommand::Isolate("b".into())).unwrap();
        write_frame(&mut ports[0], &frame(0xff, 2)).unwrap();
        assert_eq!(next_frame(&mut ports[2]), frame(0xff, 2), "the others still talk");
        send_command(&folder, &PortCommand::Heal("b".into())).unwrap();
        write_frame(&mut ports[0], &frame(0xff, 3)).unwrap();
        assert_eq!(next_frame(&mut ports[1]), frame(0xff, 3), "what was sent in between is lost, not late");
    }

    #[test]
    fn a_reconnecting_port_replaces_the_old_connection() {
        let (_cluster, folder) = folder();
        let mut ports = lan(&folder, &["a", "b"]);
        send_command(&folder, &PortCommand::Add("a".into())).unwrap();
        let mut again = wait_for(&socket(&folder, "a"));
        // The old connection closes once the new one is accepted.
        while read_frame(&mut ports[0]).unwrap().is_some() {}
        write_frame(&mut ports[1], &frame(0xff, 7)).unwrap();
        assert_eq!(next_frame(&mut again), frame(0xff, 7));
        let error = send_command(&folder, &PortCommand::Isolate("nobody".into())).unwrap_err();
        assert_eq!(error.to_string(), "the LAN switch rejected the command: no such port: nobody");
    }

    #[test]
    fn an_oversized_frame_is_an_error() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0];
        assert!(read_frame(&mut bytes).is_err());
        let mut cut: &[u8] = &[0, 0, 0, 9, 1];
        assert!(read_frame(&mut cut).is_err());
        let mut none: &[u8] = &[];
        assert!(read_frame(&mut none).unwrap().is_none());
    }
}
