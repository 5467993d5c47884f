//! An HTTP server on loopback with scripted replies, which records its requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The reply to one request.
#[derive(Clone)]
pub enum Reply {
    /// Status (`200 OK`), additional header lines, and body; Content-Length is added.
    Response(&'static str, &'static [&'static str], &'static str),
    /// Sends these bytes, then closes the connection.
    Raw(&'static str),
    /// Never responds.
    Silence,
    /// Sends these bytes, then keeps the connection open.
    Partial(&'static str),
}

pub struct Canned {
    pub url: String,
    state: Arc<State>,
}

struct State {
    script: Mutex<Vec<Reply>>,
    requests: Mutex<Vec<String>>,
    connections: Mutex<usize>,
}

impl Canned {
    /// The last reply of `script` is repeated for all further requests.
    pub fn start(script: &[Reply]) -> Canned {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            script: Mutex::new(script.to_vec()),
            requests: Mutex::default(),
            connections: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                *shared.connections.lock().unwrap() += 1;
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Canned { url, state }
    }

    /// A URL that refuses connections.
    pub fn unreachable() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    /// The requests so far: `METHOD /path`, the header lines, an empty line, the body.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The first line of each request, without `HTTP/1.1`.
    pub fn lines(&self) -> Vec<String> {
        let first = |text: &String| text.lines().next().unwrap().replace(" HTTP/1.1", "");
        self.requests().iter().map(first).collect()
    }

    pub fn connections(&self) -> usize {
        *self.state.connections.lock().unwrap()
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read_request(&mut reader) {
        state.requests.lock().unwrap().push(request);
        let reply = {
            let mut script = state.script.lock().unwrap();
            if script.len() > 1 { script.remove(0) } else { script[0].clone() }
        };
        let sent = match reply {
            Reply::Response(status, headers, body) => {
                let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
                stream.write_all((head + body).as_bytes())
            }
            Reply::Raw(bytes) => {
                stream.write_all(bytes.as_bytes()).unwrap();
                return;
            }
            Reply::Silence => wait_for_end(&mut stream),
            Reply::Partial(bytes) => {
                stream.write_all(bytes.as_bytes()).map(|()| wait_for_end(&mut stream).unwrap())
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Waits until the client disconnects.
fn wait_for_end(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|count| count > 0) {}
    Ok(())
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line.replace("\r\n", "\n"));
    }
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(format!("{head}\n{}", String::from_utf8_lossy(&body)))
}
