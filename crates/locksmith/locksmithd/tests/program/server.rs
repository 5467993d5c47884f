//! An HTTP server with scripted responses, on TCP or a Unix socket.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone)]
pub struct Request {
    /// `POST /v1/pre-reboot`
    pub line: String,
    /// In lower case.
    pub head: String,
    pub body: String,
}

type Handler = Arc<dyn Fn(&Request) -> (u16, String) + Send + Sync>;

/// The requests so far.
pub type RequestLog = Arc<Mutex<Vec<Request>>>;

fn serve(stream: impl Read + Write, handler: &Handler, requests: &RequestLog) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let request = Request { line, head, body: String::from_utf8_lossy(&body).into_owned() };
    let (status, body) = handler(&request);
    requests.lock().unwrap().push(request);
    let response = format!(
        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.get_mut().write_all(response.as_bytes())
}

/// Returns its address and the recorded requests.
pub fn tcp(handler: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> (String, RequestLog) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (handler, requests): (Handler, RequestLog) = (Arc::new(handler), RequestLog::default());
    let log = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Client disconnects are ignored.
            serve(stream, &handler, &log).ok();
        }
    });
    (url, requests)
}

pub fn unix(path: &Path, handler: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> RequestLog {
    let listener = UnixListener::bind(path).unwrap();
    let (handler, requests): (Handler, RequestLog) = (Arc::new(handler), RequestLog::default());
    let log = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            serve(stream, &handler, &log).ok();
        }
    });
    requests
}
