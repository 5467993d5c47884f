//! What the machine itself takes: one flush to its disk, one round trip over its loopback.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::closed_loop::{Load, run};
use crate::failure::Failure;

/// The answer of a put, in size: status, etcd's headers, an event with its previous node.
const ANSWER_BODY: usize = 700;

/// Median of appending `bytes` to a file in `folder` and flushing it with fdatasync.
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

/// Median of `requests` to a server in this process that only reads and answers.
pub fn bare_round_trip(requests: super::closed_loop::Requests<'_>, count: u64) -> Result<Duration, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Failure::io("listen"))?;
    let address = listener.local_addr().map_err(Failure::io("ask for the address"))?;
    let server = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let body = "x".repeat(ANSWER_BODY);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {ANSWER_BODY}\r\n\r\n{body}");
        let mut buffer = [0; 4096];
        // The load waits for each answer, so a read is a request.
        while stream.read(&mut buffer)? > 0 {
            stream.write_all(answer.as_bytes())?;
        }
        Ok(())
    });
    let load = Load { addresses: &[address], clients: 1, requests, time: Duration::from_secs(60), count };
    let measured = run(&load)?;
    match server.join() {
        Ok(outcome) => outcome.map_err(Failure::io("serve the probe"))?,
        Err(_) => return Err(Failure::differs("the probe's server panicked")),
    }
    Ok(measured.p50)
}
