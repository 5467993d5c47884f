//! Closed-loop clients on keep-alive connections, each with one pending request, driven by one thread with epoll.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use nix::time::{ClockId, clock_gettime};
use rustls::ClientConfig;

use super::stream::Stream;
use crate::failure::Failure;

/// A longer wait for a response is an error of the server.
const SILENCE: Duration = Duration::from_secs(10);
const READ_BUFFER: usize = 64 * 1024;
const EVENTS: usize = 1024;

/// Writes the request with that number of that client into the buffer.
pub type Requests<'a> = &'a dyn Fn(usize, u64, &mut Vec<u8>);

pub struct Load<'a> {
    /// Clients are distributed over them round-robin.
    pub addresses: &'a [SocketAddr],
    pub tls: Option<&'a Arc<ClientConfig>>,
    pub clients: usize,
    pub requests: Requests<'a>,
    /// No request starts after this time.
    pub time: Duration,
    /// No request starts after this number.
    pub count: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    pub requests: u64,
    /// Responses other than 200 and 201.
    pub errors: u64,
    /// Processor share of the load generator in cores: at most 1; servers on the same machine have the rest.
    pub cores: f64,
}

struct Client {
    stream: Stream,
    out: Vec<u8>,
    written: usize,
    sent: Instant,
    input: Vec<u8>,
}

struct Run<'a> {
    load: &'a Load<'a>,
    started: u64,
    began: Instant,
    /// The thread's processor time at the start.
    busy: Duration,
    nanoseconds: Vec<u64>,
    errors: u64,
    open: usize,
}

pub fn run(load: &Load<'_>) -> Result<Measured, Failure> {
    let failed = || Failure::io("drive the load");
    let mut poll = Poll::new().map_err(failed())?;
    let mut clients = Vec::new();
    for number in 0..load.clients {
        let address = load.addresses[number % load.addresses.len()];
        let stream = Stream::connect(address, load.tls, &poll, Token(number)).map_err(failed())?;
        clients.push(Client { stream, out: Vec::new(), written: 0, sent: Instant::now(), input: Vec::new() });
    }
    let mut run = Run {
        load,
        started: 0,
        began: Instant::now(),
        busy: busy()?,
        nanoseconds: Vec::new(),
        errors: 0,
        open: load.clients,
    };
    for (number, client) in clients.iter_mut().enumerate() {
        run.next(number, client).map_err(failed())?;
    }
    let mut events = Events::with_capacity(EVENTS);
    let mut buffer = vec![0; READ_BUFFER];
    while run.open > 0 {
        poll.poll(&mut events, Some(SILENCE)).map_err(failed())?;
        if events.is_empty() {
            return Err(Failure::differs(format!("no answer within {SILENCE:?}")));
        }
        for event in &events {
            let number = event.token().0;
            run.ready(number, &mut clients[number], &mut buffer).map_err(failed())?;
        }
    }
    let taken = busy()?.saturating_sub(run.busy);
    Ok(run.measured(taken))
}

/// Processor time of this thread.
fn busy() -> Result<Duration, Failure> {
    let failed = |error: nix::Error| Failure::io("ask for this thread's processor time")(error.into());
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).map_err(failed)
}

impl Run<'_> {
    fn next(&mut self, number: usize, client: &mut Client) -> io::Result<()> {
        if self.started >= self.load.count || self.began.elapsed() >= self.load.time {
            self.open -= 1;
            return Ok(());
        }
        client.out.clear();
        client.written = 0;
        (self.load.requests)(number, self.started, &mut client.out);
        self.started += 1;
        client.sent = Instant::now();
        write(client)
    }

    fn ready(&mut self, number: usize, client: &mut Client, buffer: &mut [u8]) -> io::Result<()> {
        write(client)?;
        loop {
            match client.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::ConnectionReset.into()),
                Ok(length) => {
                    client.input.extend_from_slice(&buffer[..length]);
                    while let Some((status, end)) = response(&client.input)? {
                        client.input.drain(..end);
                        let took = client.sent.elapsed().as_nanos();
                        self.nanoseconds.push(u64::try_from(took).unwrap_or(u64::MAX));
                        self.errors += u64::from(!matches!(status, 200 | 201));
                        self.next(number, client)?;
                    }
                    // The next byte causes an event.
                    if client.stream.is_drained(length, buffer.len()) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn measured(mut self, taken: Duration) -> Measured {
        let seconds = self.began.elapsed().as_secs_f64();
        self.nanoseconds.sort_unstable();
        let at = |share: f64| {
            let index = (self.nanoseconds.len() as f64 * share) as usize;
            let last = self.nanoseconds.len().saturating_sub(1);
            Duration::from_nanos(self.nanoseconds.get(index.min(last)).copied().unwrap_or(0))
        };
        Measured {
            per_second: self.nanoseconds.len() as f64 / seconds,
            p50: at(0.5),
            p99: at(0.99),
            requests: self.nanoseconds.len() as u64,
            errors: self.errors,
            cores: taken.as_secs_f64() / seconds,
        }
    }
}

fn write(client: &mut Client) -> io::Result<()> {
    while client.written < client.out.len() {
        match client.stream.write(&client.out[client.written..]) {
            Ok(length) => client.written += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Status and length of the first response once it is complete.
fn response(input: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let Some(head) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let malformed = || io::Error::new(ErrorKind::InvalidData, "this is no answer of HTTP");
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.trim().parse::<usize>().ok();
    let status = number(input.get(9..12).ok_or_else(malformed)?).ok_or_else(malformed)?;
    let status = u16::try_from(status).map_err(|_| malformed())?;
    let mut end = None;
    for line in input[..head].split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"content-length") {
            end = Some(head + 4 + number(value).ok_or_else(malformed)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // JSON contains no such bytes: they are the last chunk.
            let tail = &input[head + 2..];
            return Ok(tail
                .windows(7)
                .position(|seven| seven == b"\r\n0\r\n\r\n")
                .map(|at| (status, head + 9 + at)));
        }
    }
    let end = end.ok_or_else(malformed)?;
    Ok((input.len() >= end).then_some((status, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_not() {
        let fixed = b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\n\r\nabcHTTP";
        assert_eq!(response(fixed).unwrap(), Some((201, fixed.len() - 4)));
        assert_eq!(response(&fixed[..fixed.len() - 5]).unwrap(), None);
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(response(chunked).unwrap(), Some((200, chunked.len())));
        assert_eq!(response(&chunked[..chunked.len() - 1]).unwrap(), None);
        assert!(response(b"HTTP/1.1 2\r\n\r\n").is_err());
    }
}
