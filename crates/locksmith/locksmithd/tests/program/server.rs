//! An HTTP server whose answers a test decides: behind TCP, or a unix socket.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone)]
pub struct Request {
    /// `POST /v1/pre-reboot`
    pub line: String,
    /// In small letters.
    pub head: String,
    pub body: String,
}

type Answers = Arc<dyn Fn(&Request) -> (u16, String) + Send + Sync>;

/// What was asked so far.
pub type Asked = Arc<Mutex<Vec<Request>>>;

fn serve(stream: impl Read + Write, answers: &Answers, asked: &Asked) -> std::io::Result<()> {
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
    let (status, body) = answers(&request);
    asked.lock().unwrap().push(request);
    let answer = format!(
        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.get_mut().write_all(answer.as_bytes())
}

/// Its address, and what it was asked.
pub fn tcp(answers: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (answers, asked): (Answers, Asked) = (Arc::new(answers), Asked::default());
    let kept = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is its own affair.
            serve(stream, &answers, &kept).ok();
        }
    });
    (url, asked)
}

pub fn unix(path: &Path, answers: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> Asked {
    let listener = UnixListener::bind(path).unwrap();
    let (answers, asked): (Answers, Asked) = (Arc::new(answers), Asked::default());
    let kept = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            serve(stream, &answers, &kept).ok();
        }
    });
    asked
}
