//! Clients that are slow, silent, too many or too long.
//!
//! Where time is paused, it goes on only while nobody has anything to do: deadlines are exact and cost nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use fleet_core::JobState;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Cluster;
use crate::server::{Said, Server, error, serving};

/// Of one listener.
const CONNECTIONS: usize = 256;
const UNITS: &str = "GET /fleet/v1/units HTTP/1.1\r\nHost: x\r\n\r\n";

/// A server in the test's own runtime, for as long as the test runs.
fn beside(cluster: Cluster) -> (TempDir, std::net::SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let (address, serving) = serving(folder.path(), &Arc::new(cluster), 100, std::future::pending());
    tokio::spawn(serving);
    (folder, address)
}

async fn connect(folder: &TempDir) -> UnixStream {
    UnixStream::connect(folder.path().join("fleet.sock")).await.unwrap()
}

/// Sends this, and gives what comes and when the connection ends, in seconds.
async fn check(said: &str, expect: impl Fn(&str) -> bool, seconds: u64) {
    let (folder, _) = beside(Cluster::with_units());
    let mut stream = connect(&folder).await;
    let began = Instant::now();
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(expect(&answer), "{said:?}: {answer:?}");
    let took = began.elapsed();
    let near = Duration::from_secs(seconds)..Duration::from_secs(seconds + 1);
    assert!(near.contains(&took), "{said:?}: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn slow_ones_are_left() {
    check("", str::is_empty, 30).await;
    check("GET /fleet/v1/uni", str::is_empty, 30).await;
    check("GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n", str::is_empty, 30).await;
    // After its answer.
    check(UNITS, |answer| answer.ends_with("]}"), 30).await;
    let put = "PUT /fleet/v1/units/a.service HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let late =
        |answer: &str| Said::read(answer.as_bytes()).line() == error(408, "request body took too long");
    // And so long the rest is waited for, before it is told.
    check(put, late, 10 + 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips() {
    let (folder, _) = beside(Cluster::empty());
    let (mut read, mut write) = connect(&folder).await.into_split();
    let head = "PUT /fleet/v1/units/a.service HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n";
    write.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let drips = tokio::spawn(async move {
        while write.write_all(b" ").await.is_ok() {
            sleep(Duration::from_secs(5)).await;
        }
    });
    let mut answer = vec![0; 12];
    read.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    assert_eq!(began.elapsed().as_secs(), 60 + 2);
    drips.abort();
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_read() {
    let cluster = Cluster::empty();
    let text = format!("[Service]\nExecStart={}\n", "x".repeat(1_000_000));
    cluster.store().create("long.service", &text, JobState::Inactive);
    let (folder, _) = beside(cluster);
    let ask = "GET /fleet/v1/units/long.service HTTP/1.1\r\nHost: x\r\n\r\n";
    for (waits, whole) in [(25, true), (35, false)] {
        let mut stream = connect(&folder).await;
        stream.write_all(ask.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        sleep(Duration::from_secs(waits)).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len() > 1_000_000, whole, "after {waits} s: {} bytes", answer.len());
    }
}

#[tokio::test(start_paused = true)]
async fn hundreds_at_once() {
    let (folder, address) = beside(Cluster::with_units());
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = connect(&folder).await;
        // Each is served once, and so holds its place.
        stream.write_all(UNITS.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 15]).await.unwrap();
        idle.push(stream);
    }
    let mut late = connect(&folder).await;
    late.write_all(UNITS.as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    timeout(Duration::from_secs(5), late.read_exact(&mut answer)).await.unwrap_err();
    // The other listener has places of its own.
    let mut remote = tokio::net::TcpStream::connect(address).await.unwrap();
    remote.write_all(UNITS.as_bytes()).await.unwrap();
    remote.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    idle.pop();
    late.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

#[test]
fn many_more_than_there_is_room_for() {
    let server = Server::start(Cluster::with_units());
    let whole = server.get("/fleet/v1/units").line();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_eq!(server.get("/fleet/v1/units").line(), whole);
                }
            });
        }
    });
}

#[test]
fn endless_heads() {
    let server = Server::start(Cluster::with_units());
    let check = |head: String, expect: &[u8]| {
        let mut stream = server.connect();
        // It is cut off in the middle: what then happens to the rest is no matter.
        drop(stream.write_all(head.as_bytes()));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert!(answer.starts_with(expect), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(server.get("/fleet/v1/units").code, 200);
    };
    check(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(1 << 20)), b"HTTP/1.1 431");
    check(format!("GET / HTTP/1.1\r\n{}", "X: a\r\n".repeat(1 << 17)), b"HTTP/1.1 431");
    check(format!("GET /{} HTTP/1.1\r\n", "a".repeat(1 << 20)), b"HTTP/1.1 4");
    check("NONSENSE\r\n\r\n".into(), b"HTTP/1.1 400");
    check("\0\u{1}\r\n\r\n".into(), b"HTTP/1.1 400");
}

const TOO_LARGE: &str = "request body is too large (max 67108864 bytes)";

#[test]
fn bodies_that_are_too_long() {
    let server = Server::start(Cluster::with_units());
    let head = "PUT /fleet/v1/units/a.service HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let announced = format!("{head}Content-Length: {}\r\n\r\n", 1_u64 << 40);
    assert_eq!(Said::read(&server.say(announced.as_bytes())).line(), error(413, TOO_LARGE));
    // One byte too much, in chunks: it is sent to its end, and then the answer is read.
    let mut stream = server.connect();
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = [b"100000\r\n", &vec![b' '; 1 << 20][..], b"\r\n"].concat();
    for _ in 0..64 {
        stream.write_all(&chunk).unwrap();
    }
    stream.write_all(b"1\r\n \r\n0\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(Said::read(&answer).line(), error(413, TOO_LARGE));
    // As long as may be.
    let body = format!("{}{{}}", " ".repeat((64 << 20) - 2));
    let longest = server.send("PUT /fleet/v1/units/a.service", &body);
    assert_eq!(longest.line(), error(409, "unit does not exist and options field empty"));
}

/// Together they get no more room than there is.
#[test]
fn many_long_bodies() {
    let server = Server::start(Cluster::with_units());
    let head = "PUT /fleet/v1/units/a.service HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 67108864\r\n\r\n";
    let mut senders = Vec::new();
    let piece = vec![b' '; 1 << 20];
    for _ in 0..4 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        for _ in 0..63 {
            stream.write_all(&piece).unwrap();
        }
        senders.push(stream);
    }
    let body = " ".repeat(60 << 20);
    let refused = server.send("PUT /fleet/v1/units/a.service", &body);
    assert_eq!(refused.line(), error(429, "too many large requests at once: try again later"));
    assert_eq!(server.send("PUT /fleet/v1/units/hello.service", r#"{"desiredState":"loaded"}"#).code, 204);
}

#[test]
fn one_request_after_the_other() {
    let server = Server::start(Cluster::with_units());
    let get = "GET /fleet/v1/units/hello.service HTTP/1.1\r\nHost: x\r\n\r\n";
    let one = server.say(get.as_bytes());
    assert_eq!(server.say(get.repeat(3).as_bytes()).len(), 3 * one.len());
}

/// The refusal of what is none comes after the whole answer, also where that is longer than the socket takes at once.
#[test]
fn nonsense_after_a_request() {
    let server = Server::start(Cluster::empty());
    let text = format!("[Service]\nExecStart={}\n", "x".repeat(1_000_000));
    server.cluster.store().create("long.service", &text, JobState::Inactive);
    let get = "GET /fleet/v1/units/long.service HTTP/1.1\r\nHost: x\r\n\r\n";
    let both = String::from_utf8(server.say(format!("{get}NONSENSE\r\n\r\n").as_bytes())).unwrap();
    let (first, _) = both.split_once("}HTTP/1.1 400").unwrap();
    assert!(first.starts_with("HTTP/1.1 200") && first.len() > 1_000_000, "{} bytes", first.len());
}

#[test]
fn a_body_that_ends_early() {
    let server = Server::start(Cluster::with_units());
    let head = "PATCH /fleet/v1/machines HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n[";
    assert_eq!(Said::read(&server.say(head.as_bytes())).line(), error(400, "request body ended early"));
}

/// Connections without a request do not keep it from ending; what was answered can be read to its end.
#[tokio::test(start_paused = true)]
async fn the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (stop, stopped) = oneshot::channel();
    let stopped = async { drop(stopped.await) };
    let (_, serving) = serving(folder.path(), &Arc::new(Cluster::with_units()), 100, stopped);
    let serving = tokio::spawn(serving);
    let mut idle = connect(&folder).await;
    idle.write_all(UNITS.as_bytes()).await.unwrap();
    idle.read_exact(&mut [0; 15]).await.unwrap();
    let began = Instant::now();
    stop.send(()).unwrap();
    serving.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let mut rest = String::new();
    idle.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("]}"), "{rest}");
    UnixStream::connect(folder.path().join("fleet.sock")).await.unwrap_err();
}
