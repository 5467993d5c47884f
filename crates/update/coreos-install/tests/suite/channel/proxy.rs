//! Between the program and the channel server: passes everything, but for one fault.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    None,
    /// This number of images is sent by half.
    Truncated(usize),
    /// A byte in the middle of each image differs.
    WrongByte,
    /// A login page instead of each path that contains this.
    Page(&'static str),
    /// Another file instead of each path that contains the first.
    Other(&'static str, Vec<u8>),
}

pub struct Proxy {
    pub url: String,
    fault: Arc<Mutex<Fault>>,
    /// Values of `Range`.
    ranges: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub fn of(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (fault, ranges) = (Arc::new(Mutex::new(Fault::None)), Arc::new(Mutex::new(Vec::new())));
        let (used, seen) = (Arc::clone(&fault), Arc::clone(&ranges));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (fault, ranges) = (Arc::clone(&used), Arc::clone(&seen));
                // The client may disconnect.
                std::thread::spawn(move || drop(pass(&client, server, &fault, &ranges)));
            }
        });
        Self { url, fault, ranges }
    }

    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub fn ranges(&self) -> Vec<String> {
        self.ranges.lock().unwrap().clone()
    }
}

fn pass(
    mut client: &TcpStream,
    server: SocketAddr,
    fault: &Mutex<Fault>,
    ranges: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
    }
    let range =
        request.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: ").map(str::to_owned));
    ranges.lock().unwrap().extend(range);
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let is_head = request.starts_with("HEAD");
    let mut upstream = TcpStream::connect(server)?;
    let rest =
        request.split_once("\r\n").map(|(first, rest)| format!("{first}\r\nConnection: close\r\n{rest}"));
    upstream.write_all(rest.unwrap_or_default().as_bytes())?;
    let mut reply = Vec::new();
    upstream.read_to_end(&mut reply)?;
    let head = reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0) + 4;
    let is_image = path.ends_with(".raw.zst") && !is_head;
    let page = |body: &[u8], kind: &str| {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        [head.as_bytes(), if is_head { &[] } else { body }].concat()
    };
    match &mut *fault.lock().unwrap() {
        Fault::Truncated(times) if is_image && *times > 0 => {
            *times -= 1;
            reply.truncate(head + (reply.len() - head) / 2);
        }
        Fault::WrongByte if is_image => {
            let middle = head + (reply.len() - head) / 2;
            reply[middle] ^= 1;
        }
        Fault::Page(part) if path.contains(*part) => reply = page(b"<html>Please log in</html>", "text/html"),
        Fault::Other(part, body) if path.contains(*part) => reply = page(body, "application/json"),
        _ => {}
    }
    client.write_all(&reply)
}
