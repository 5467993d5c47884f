//! A server on loopback that plays what it was told, request by request, and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is done with one request.
#[derive(Clone)]
pub enum Play {
    /// The head of an answer (`200 OK`, more header lines) and its body, with a Content-Length.
    Answer(&'static str, &'static [&'static str], &'static str),
    /// These bytes, then the connection is closed.
    Raw(&'static str),
    /// No answer while the server lives.
    Silence,
    /// These bytes, and then nothing more while the server lives.
    Begin(&'static str),
}

pub struct Canned {
    pub url: String,
    state: Arc<State>,
}

struct State {
    script: Mutex<Vec<Play>>,
    asked: Mutex<Vec<String>>,
    connections: Mutex<usize>,
}

impl Canned {
    /// The last of `script` is played for all further requests.
    pub fn start(script: &[Play]) -> Canned {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            script: Mutex::new(script.to_vec()),
            asked: Mutex::default(),
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

    /// An address at which nothing listens.
    pub fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    /// `METHOD /path`, the lines of the head, an empty line, the body; of each request so far.
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }

    /// The first line of each request, without `HTTP/1.1`.
    pub fn lines(&self) -> Vec<String> {
        let first = |text: &String| text.lines().next().unwrap().replace(" HTTP/1.1", "");
        self.asked().iter().map(first).collect()
    }

    pub fn connections(&self) -> usize {
        *self.state.connections.lock().unwrap()
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read_request(&mut reader) {
        state.asked.lock().unwrap().push(request);
        let play = {
            let mut script = state.script.lock().unwrap();
            if script.len() > 1 { script.remove(0) } else { script[0].clone() }
        };
        let sent = match play {
            Play::Answer(status, headers, body) => {
                let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
                stream.write_all((head + body).as_bytes())
            }
            Play::Raw(bytes) => {
                stream.write_all(bytes.as_bytes()).unwrap();
                return;
            }
            Play::Silence => wait_for_end(&mut stream),
            Play::Begin(bytes) => {
                stream.write_all(bytes.as_bytes()).map(|()| wait_for_end(&mut stream).unwrap())
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The other side gave up, or the test is over.
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
