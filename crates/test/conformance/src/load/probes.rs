//! Baselines of the machine: an fdatasync, a loopback round trip, and a broadcast to many sockets.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::closed_loop::{Load, run};
use super::watchers::Watching;
use crate::failure::Failure;

/// Size of a response to a put: status, etcd's headers, an event with its previous node.
const ANSWER_BODY: usize = 700;
/// Size of a watch event: an action and a new node.
const EVENT_BODY: usize = 100;

/// Median time of appending `bytes` to a file in `folder` with fdatasync.
pub fn bare_fdatasync(folder: &Path, bytes: usize, count: usize) -> Result<Duration, Failure> {
    let mut file = tempfile_in(folder)?;
    let content = vec![b'x'; bytes];
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let started = Instant::now();
        file.write_all(&content).map_err(Failure::io("append to the probe's file"))?;
        file.sync_data().map_err(Failure::io("flush the probe's file"))?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times[count / 2])
}

fn tempfile_in(folder: &Path) -> Result<File, Failure> {
    tempfile::tempfile_in(folder).map_err(Failure::io("make the probe's file"))
}

/// Median latency of `requests` to a server in this process that only reads and responds.
pub fn bare_round_trip(requests: super::closed_loop::Requests<'_>, count: u64) -> Result<Duration, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Failure::io("listen"))?;
    let address = listener.local_addr().map_err(Failure::io("ask for the address"))?;
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let body = "x".repeat(ANSWER_BODY);
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {ANSWER_BODY}\r\n\r\n{body}");
        let mut buffer = [0; 4096];
        // The load waits for each response, so a read is one request.
        while stream.read(&mut buffer)? > 0 {
            stream.write_all(response.as_bytes())?;
        }
        Ok(())
    });
    let load =
        Load { addresses: &[address], tls: None, clients: 1, requests, time: Duration::from_secs(60), count };
    let measured = run(&load)?;
    joined(server)?;
    Ok(measured.p50)
}

fn joined<T>(server: JoinHandle<std::io::Result<T>>) -> Result<T, Failure> {
    match server.join() {
        Ok(outcome) => outcome.map_err(Failure::io("serve the probe")),
        Err(_) => Err(Failure::differs("the probe's server panicked")),
    }
}

/// Time to send an event to `count` watchers, by a server in this process that only writes to their connections,
/// with a thread per processor.
pub fn bare_broadcast(count: usize) -> Result<Duration, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Failure::io("listen"))?;
    let address = listener.local_addr().map_err(Failure::io("ask for the address"))?;
    let accepting = thread::spawn(move || accept_watches(&listener, count));
    let watching = Watching::open(address, count, 1)?;
    let streams = joined(accepting)?;
    let threads = thread::available_parallelism().map_err(Failure::io("count the processors"))?;
    let shares = streams.chunks(count.div_ceil(threads.get()));
    let event = format!("{{{}}}\n", "x".repeat(EVENT_BODY));
    let event = format!("{:x}\r\n{event}\r\n", event.len());
    thread::scope(|scope| {
        let writing = || {
            for share in shares {
                let event = event.as_bytes();
                // A failed write leaves its watcher without the event, which is detected there.
                scope.spawn(move || share.iter().try_for_each(|mut stream| stream.write_all(event)));
            }
            Ok(())
        };
        watching.notify_all(writing)
    })
}

fn accept_watches(listener: &TcpListener, count: usize) -> std::io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    let mut buffer = [0; 4096];
    while streams.len() < count {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // Each request arrives in one piece.
        if stream.read(&mut buffer)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        streams.push(stream);
    }
    Ok(streams)
}
