use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;

const FILE: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// How the server misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Each connection ends after ten bytes of the body.
    Cuts,
    /// The same, and the server ignores ranges.
    CutsWithoutRanges,
    /// The same as `Cuts`, and the file is another one afterwards.
    Changes,
    /// The first two requests fail.
    Unavailable,
    Missing,
}

struct Server {
    url: String,
    thread: JoinHandle<Vec<String>>,
}

impl Server {
    /// Serves `requests` of them, and returns their first lines and ranges.
    fn start(fault: Fault, requests: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://u:secret@{}/file?token=x", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            (0..requests).map(|number| answer(listener.accept().unwrap().0, fault, number)).collect()
        });
        Self { url, thread }
    }
}

fn answer(stream: TcpStream, fault: Fault, number: usize) -> String {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    let method = lines.next().unwrap().split(' ').next().unwrap().to_owned();
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
    let range = headers.iter().find_map(|line| line.strip_prefix("range: bytes=").map(str::to_owned));
    let start = range.as_ref().map_or(0, |range| range.trim_end_matches('-').parse::<usize>().unwrap());
    let ranges = fault != Fault::CutsWithoutRanges;
    let changed = fault == Fault::Changes && number > 1;
    let (status, from) = match fault {
        Fault::Missing => ("404 Not Found", 0),
        Fault::Unavailable if number < 2 => ("503 Service Unavailable", 0),
        _ if range.is_some() && ranges && !changed => ("206 Partial Content", start),
        _ => ("200 OK", 0),
    };
    let tag = match (ranges, changed) {
        (false, _) => "",
        (true, false) => "etag: \"a\"\r\n",
        (true, true) => "etag: \"b\"\r\n",
    };
    let body = &FILE[from..];
    let length = format!("content-length: {}\r\n", body.len());
    let part = format!("content-range: bytes {from}-{}/{}\r\n", FILE.len() - 1, FILE.len());
    let part = if from > 0 { &*part } else { "" };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\n{length}{tag}{part}connection: close\r\n\r\n").unwrap();
    if method != "HEAD" {
        let cuts = matches!(fault, Fault::Cuts | Fault::CutsWithoutRanges | Fault::Changes);
        let sent = if cuts { body.len().min(10 + if ranges { 0 } else { number * 10 }) } else { body.len() };
        stream.write_all(&body[..sent]).unwrap();
    }
    format!("{method} {}", range.unwrap_or_default())
}

fn fetcher(retries: Retries) -> Fetcher {
    Fetcher { pause: Duration::from_millis(1), ..Fetcher::new("test", retries) }
}

/// Reads the file; returns it, or the error, and the requests.
fn read(fault: Fault, requests: usize, retries: Retries) -> (Result<Vec<u8>, String>, Vec<String>) {
    let server = Server::start(fault, requests);
    let image = HttpImage { url: server.url, bytes: None, sha256: None };
    let read = || -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let mut bytes = Vec::new();
        image.open(&fetcher(retries))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let result = read().map_err(|error| service::error::chain(&*error));
    (result, server.thread.join().unwrap())
}

#[test]
fn a_broken_transfer_is_resumed() {
    let (file, requests) = read(Fault::Cuts, 5, Retries::Limited(1));
    assert_eq!(file.unwrap(), FILE);
    assert_eq!(requests, ["HEAD ", "GET ", "GET 10-", "GET 20-", "GET 30-"]);
    let (file, requests) = read(Fault::None, 2, Retries::Limited(0));
    assert_eq!(file.unwrap(), FILE);
    assert_eq!(requests, ["HEAD ", "GET "]);
    let (file, _) = read(Fault::CutsWithoutRanges, 4, Retries::Infinite);
    assert_eq!(file.unwrap(), FILE);
}

#[test]
fn attempts_without_progress_are_limited() {
    let (file, requests) = read(Fault::Unavailable, 4, Retries::Limited(2));
    assert_eq!(file.unwrap(), FILE);
    assert_eq!(requests, ["HEAD ", "HEAD ", "HEAD ", "GET "]);
    let (refused, _) = read(Fault::Unavailable, 2, Retries::Limited(1));
    assert!(refused.unwrap_err().ends_with("/file: HTTP status 503"));
    let (refused, _) = read(Fault::Missing, 1, Retries::Infinite);
    let refused = refused.unwrap_err();
    assert!(refused.ends_with("/file: HTTP status 404"), "{refused}");
    assert!(!refused.contains("secret"), "{refused}");
}

#[test]
fn a_file_that_changed_is_refused() {
    let (refused, _) = read(Fault::Changes, 3, Retries::Infinite);
    assert!(refused.unwrap_err().ends_with("the file changed during the transfer; start again"));
}

#[test]
fn another_length_than_the_verified_one_is_refused() {
    let server = Server::start(Fault::None, 1);
    let image = HttpImage { url: server.url, bytes: Some(7), sha256: None };
    let refused = image.open(&fetcher(Retries::Limited(0))).unwrap_err().to_string();
    assert!(refused.ends_with("the server has 36 bytes, expected 7"), "{refused}");
}

#[test]
fn a_request_is_repeated_if_the_failure_may_be_temporary() {
    let server = Server::start(Fault::Unavailable, 3);
    assert_eq!(fetcher(Retries::Limited(2)).get(&server.url, 36).unwrap(), FILE);
    assert_eq!(server.thread.join().unwrap(), ["GET ", "GET ", "GET "]);
    let server = Server::start(Fault::Missing, 1);
    let refused = fetcher(Retries::Infinite).get(&server.url, 36).unwrap_err().to_string();
    assert!(refused.ends_with("/file: HTTP status 404"), "{refused}");
}

#[test]
fn small_files_are_bounded() {
    let get = |limit| {
        let server = Server::start(Fault::None, 1);
        fetcher(Retries::Limited(0)).get(&server.url, limit).map_err(|error| error.to_string())
    };
    assert_eq!(get(36).unwrap(), FILE);
    assert!(get(35).unwrap_err().ends_with("the response has more than 35 bytes"));
    assert_eq!("infinite".parse(), Ok(Retries::Infinite));
    assert_eq!("3".parse(), Ok(Retries::Limited(3)));
    assert!("-1".parse::<Retries>().is_err());
}
