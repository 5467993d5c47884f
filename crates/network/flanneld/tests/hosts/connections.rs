//! TCP connections from the first host's container to the second's.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::lab::Lab;

const PORT: u16 = 7001;

/// A listener in the second container.
pub fn listen(lab: &Lab) -> TcpListener {
    lab.in_container(1, |address| TcpListener::bind((address, PORT)).unwrap())
}

/// The listener's `ADDRESS:PORT`.
pub fn address(lab: &Lab) -> String {
    lab.in_container(1, |address| format!("{address}:{PORT}"))
}

/// Opens `count` connections, `clients` at a time, each with a request and an answer, and returns the time that they
/// took. `clients` divides `count`. One without an answer panics.
pub fn exchange(lab: &Lab, count: usize, clients: usize) -> Duration {
    let listener = listen(lab);
    let server = std::thread::spawn(move || {
        for _ in 0..count {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(&request).unwrap();
        }
    });
    let (address, begin) = (address(lab), Instant::now());
    lab.in_container(0, move |_| {
        let client = || (0..count / clients).for_each(|_| ask(&address));
        std::thread::scope(|scope| (0..clients).for_each(|_| drop(scope.spawn(client))));
    });
    let took = begin.elapsed();
    server.join().unwrap();
    took
}

fn ask(address: &str) {
    let (request, mut answer) = ([7; 64], [0; 64]);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&request).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, request);
}
