//! Measures the cost of requests and the memory of watches, over the local store on loopback:
//! `cargo run --release -p etcd-http --example load -- requests|watchers`
//!
//! Server and clients are separate processes, so that CPU time and memory are measured separately.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const CLIENTS: usize = 64;
const REQUESTS: usize = 2_000;
const WATCHERS: usize = 10_000;
const KEYS: usize = 100;

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some("requests") => requests(),
        Some("watchers") => watchers(),
        _ => Err("usage: load requests|watchers (beside the built example `local`)".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The example `local` in its own process.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Result<Server, Box<dyn std::error::Error>> {
        let program = std::env::current_exe()?.with_file_name("local");
        let mut child =
            Command::new(program).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn()?;
        let mut output = child.stdout.take().ok_or("no output")?;
        let mut text = String::new();
        while !text.ends_with('\n') {
            let mut byte = [0];
            output.read_exact(&mut byte)?;
            text.push(char::from(byte[0]));
        }
        let address = text.trim().rsplit('/').next().ok_or("no address")?.parse()?;
        Ok(Server { child, address })
    }

    fn connect(&self) -> Result<TcpStream, Box<dyn std::error::Error>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(stream)
    }

    /// Resident memory in bytes, and CPU time in seconds.
    fn usage(&self) -> Result<(u64, f64), Box<dyn std::error::Error>> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
        let fields: Vec<u64> = fields.split_ascii_whitespace().map(|one| one.parse().unwrap_or(0)).collect();
        Ok((fields[21] * 4096, (fields[11] + fields[12]) as f64 / 100.0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("stopping the server: {error}");
        }
    }
}

fn put(key: &str) -> Vec<u8> {
    let body = format!("value={}", "v".repeat(256));
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let length = body.len();
    format!("PUT /v2/keys/{key} HTTP/1.1\r\nHost: a\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}")
        .into()
}

fn get(target: &str) -> Vec<u8> {
    format!("GET /v2/keys/{target} HTTP/1.1\r\nHost: a\r\n\r\n").into()
}

/// Reads a response with a Content-Length.
fn response(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome {
    buffer.clear();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err("the server closed".into());
        }
        buffer.extend_from_slice(&piece[..count]);
        let text = std::str::from_utf8(buffer)?;
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let (_, rest) = text.split_once("Content-Length: ").ok_or("no length")?;
        let length: usize = rest.split("\r\n").next().ok_or("no length")?.parse()?;
        if text.len() >= end + 4 + length {
            return Ok(());
        }
    }
}

fn requests() -> Outcome {
    let server = Server::start()?;
    for (name, quorum) in [("PUT", None), ("GET", Some("")), ("GET quorum", Some("?quorum=true"))] {
        let (_, before) = server.usage()?;
        let began = Instant::now();
        let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let server = &server;
                    scope.spawn(move || one_client(server, client, quorum).map_err(|error| error.to_string()))
                })
                .collect();
            threads.into_iter().map(|one| one.join().unwrap_or(Err("a client panicked".into()))).collect()
        });
        outcomes.into_iter().collect::<Result<Vec<()>, String>>()?;
        let all = (CLIENTS * REQUESTS) as f64;
        let (seconds, (_, after)) = (began.elapsed().as_secs_f64(), server.usage()?);
        let each = (after - before) / all * 1e6;
        println!("{name}: {:.0} a second, {each:.2} us of the server's processor time each", all / seconds);
    }
    Ok(())
}

fn one_client(server: &Server, client: usize, quorum: Option<&str>) -> Outcome {
    let mut stream = server.connect()?;
    let mut buffer = Vec::new();
    for number in 0..REQUESTS {
        let key = format!("bench/{client}/{}", number % 64);
        stream.write_all(&quorum.map_or_else(|| put(&key), |query| get(&(key.clone() + query))))?;
        response(&mut stream, &mut buffer)?;
    }
    Ok(())
}

fn watchers() -> Outcome {
    let server = Server::start()?;
    let mut writer = server.connect()?;
    let mut buffer = Vec::new();
    for key in 0..KEYS {
        writer.write_all(&put(&format!("watched/{key}")))?;
        response(&mut writer, &mut buffer)?;
    }
    let (empty, _) = server.usage()?;
    let mut open = Vec::with_capacity(WATCHERS);
    for number in 0..WATCHERS {
        let mut stream = server.connect()?;
        stream.write_all(&get(&format!("watched/{}?wait=true", number % KEYS)))?;
        open.push(stream);
    }
    let mut piece = [0; 4096];
    for stream in &mut open {
        if stream.read(&mut piece)? == 0 {
            return Err("a watch was closed".into());
        }
    }
    let (full, before) = server.usage()?;
    println!("{WATCHERS} watches: {} bytes each", (full - empty) / WATCHERS as u64);
    let began = Instant::now();
    for key in 0..KEYS {
        writer.write_all(&put(&format!("watched/{key}")))?;
        response(&mut writer, &mut buffer)?;
    }
    for stream in &mut open {
        if stream.read(&mut piece)? == 0 {
            return Err("a watch was closed".into());
        }
    }
    let (_, after) = server.usage()?;
    println!("all told after {:?}, {:.2} s of the server's processor time", began.elapsed(), after - before);
    Ok(())
}
