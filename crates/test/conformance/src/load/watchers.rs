//! Many watchers on few keys: their cost, and the time until all are notified.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::failure::Failure;
use crate::http::{Connection, Request};

const PATIENCE: Duration = Duration::from_secs(60);
const EVENTS: usize = 4096;
const BUFFER: usize = 16 * 1024;

struct Watcher {
    stream: TcpStream,
    /// Number of events: line ends after a `}`.
    events: u64,
    last: u8,
    head: bool,
}

/// Open watch streams, each with its head read.
pub struct Watching {
    poll: Poll,
    watchers: Vec<Watcher>,
}

impl Watching {
    /// Opens `count` streams on `keys` keys.
    pub fn open(address: SocketAddr, count: usize, keys: usize) -> Result<Self, Failure> {
        let failed = || Failure::io("drive the watchers");
        let mut poll = Poll::new().map_err(failed())?;
        let mut watchers = Vec::with_capacity(count);
        for number in 0..count {
            let mut stream = std::net::TcpStream::connect(address).map_err(failed())?;
            let key = number % keys;
            let request =
                format!("GET /v2/keys/watched/{key}?wait=true&stream=true HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).map_err(failed())?;
            stream.set_nonblocking(true).map_err(failed())?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE).map_err(failed())?;
            watchers.push(Watcher { stream, events: 0, last: 0, head: false });
        }
        wait_for(&mut poll, &mut watchers, |watcher| watcher.head)?;
        Ok(Self { poll, watchers })
    }

    /// Calls `write`, which causes one event per stream; returns the time until all have received theirs.
    pub fn notify_all(mut self, write: impl FnOnce() -> Result<(), Failure>) -> Result<Duration, Failure> {
        let began = Instant::now();
        write()?;
        wait_for(&mut self.poll, &mut self.watchers, |watcher| watcher.events >= 1)?;
        Ok(began.elapsed())
    }
}

/// Writes each watched key once, sequentially.
pub fn write_each(address: SocketAddr, keys: usize) -> Result<(), Failure> {
    let mut writer = Connection::open(address, PATIENCE).map_err(http)?;
    for key in 0..keys {
        writer.send(&Request::form("PUT", format!("/v2/keys/watched/{key}"), "value=told")).map_err(http)?;
        writer.response(false).map_err(http)?;
    }
    Ok(())
}

fn http(source: crate::http::HttpError) -> Failure {
    Failure::Http { request: "a write that is watched".into(), source }
}

fn wait_for(
    poll: &mut Poll,
    watchers: &mut [Watcher],
    is_done: impl Fn(&Watcher) -> bool,
) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Events::with_capacity(EVENTS);
    let mut left = watchers.iter().filter(|watcher| !is_done(watcher)).count();
    while left > 0 {
        poll.poll(&mut events, Some(Duration::from_secs(1))).map_err(Failure::io("wait for events"))?;
        for event in &events {
            let watcher = &mut watchers[event.token().0];
            let before = is_done(watcher);
            take(watcher)?;
            left -= usize::from(!before && is_done(watcher));
        }
        if left > 0 && Instant::now() > deadline {
            return Err(Failure::differs(format!("{left} watchers were told nothing within {PATIENCE:?}")));
        }
    }
    Ok(())
}

fn take(watcher: &mut Watcher) -> Result<(), Failure> {
    let mut buffer = [0; BUFFER];
    loop {
        match watcher.stream.read(&mut buffer) {
            Ok(0) => return Err(Failure::differs("a watch was closed")),
            Ok(length) => {
                watcher.head = true;
                for byte in &buffer[..length] {
                    watcher.events += u64::from(watcher.last == b'}' && *byte == b'\n');
                    watcher.last = *byte;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::io("read a watch")(error)),
        }
    }
}
