//! A small HTTP server whose responses a test decides, also invalid ones.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Debug, Clone)]
pub enum Reply {
    /// Status, headers and body, with its length unless a header has one.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Status 200 and zeros without end.
    Endless,
    /// Nothing until the client closes.
    Hang,
    /// A head with this length, then only these bytes.
    Short(usize, Vec<u8>),
    /// As `Short`, but the connection is kept open.
    Stall(usize, Vec<u8>),
}

pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
    Reply::Full(200, Vec::new(), body.into())
}

pub fn redirect(target: impl Into<String>) -> Reply {
    Reply::Full(307, vec![("Location", target.into())], Vec::new())
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

pub struct Server {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, stop) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<AtomicBool>::default());
        let (seen, stopped, handler): (_, _, Arc<Handler>) =
            (requests.clone(), stop.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, handler) = (seen.clone(), handler.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &seen, handler.as_ref()));
            }
        });
        Self { address, requests, stop }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The requests for paths that contain a text.
    pub fn requests_for(&self, text: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.path.contains(text)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

/// Errors are the client's disconnections.
fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Request>>, handler: &Handler) {
    let Some(request) = read_request(&mut stream) else { return };
    seen.lock().unwrap().push(request.clone());
    let head = |status: u16, headers: &[(&str, String)]| {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}\r\n")
    };
    let until_closed = |stream: &mut TcpStream| drop(stream.read_to_end(&mut Vec::new()));
    match handler(&request) {
        Reply::Full(status, mut headers, body) => {
            if !headers.iter().any(|(name, _)| *name == "Content-Length") {
                headers.push(("Content-Length", body.len().to_string()));
            }
            drop(stream.write_all(head(status, &headers).as_bytes()).and_then(|()| stream.write_all(&body)));
        }
        Reply::Endless => {
            let mut result = stream.write_all(head(200, &[]).as_bytes());
            while result.is_ok() {
                result = stream.write_all(&[0; 1 << 14]);
            }
        }
        Reply::Hang => until_closed(&mut stream),
        Reply::Short(length, body) => {
            let head = head(200, &[("Content-Length", length.to_string())]);
            drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
        }
        Reply::Stall(length, body) => {
            let head = head(200, &[("Content-Length", length.to_string())]);
            drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
            until_closed(&mut stream);
        }
    }
}

/// `None` for TLS, and for a client that leaves.
fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
        if head[0] == 0x16 {
            return None;
        }
    }
    let text = String::from_utf8(head).unwrap();
    let mut lines = text.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let header =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Some(Request { path, headers: lines.filter_map(header).collect() })
}
