//! Limits for slow, silent, too many or too large requests.
//!
//! With paused time, the clock advances only while all tasks are idle: deadlines are exact and take no real time.

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
use crate::server::{HttpResponse, Server, bind_and_serve, error};

/// Per listener.
const CONNECTIONS: usize = 256;
const UNITS: &str = "GET /fleet/v1/units HTTP/1.1\r\nHost: x\r\n\r\n";

/// Starts a server in the runtime of the test.
fn spawn_server(cluster: Cluster) -> (TempDir, std::net::SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let (address, bind_and_serve) =
        bind_and_serve(folder.path(), &Arc::new(cluster), 100, std::future::pending());
    tokio::spawn(bind_and_serve);
    (folder, address)
}

async fn connect(folder: &TempDir) -> UnixStream {
    UnixStream::connect(folder.path().join("fleet.sock")).await.unwrap()
}

/// Sends a request, then checks the response and the seconds until the disconnect.
async fn check(request: &str, expect: impl Fn(&str) -> bool, seconds: u64) {
    let (folder, _) = spawn_server(Cluster::with_units());
    let mut stream = connect(&folder).await;
    let started = Instant::now();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(expect(&answer), "{request:?}: {answer:?}");
    let took = started.elapsed();
    let near = Duration::from_secs(seconds)..Duration::from_secs(seconds + 1);
    assert!(near.contains(&took), "{request:?}: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn slow_clients_are_disconnected() {
    check("", str::is_empty, 30).await;
    check("GET /fleet/v1/uni", str::is_empty, 30).await;
    check("GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n", str::is_empty, 30).await;
    // After the response.
    check(UNITS, |answer| answer.ends_with("]}"), 30).await;
    let put = "PUT /fleet/v1/units/a.service HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let waiting = |answer: &str| {
        HttpResponse::read(answer.as_bytes()).line() == error(408, "request body took too long")
    };
    // The rest of the body is awaited before the response.
    check(put, waiting, 10 + 2).await;
}

#[tokio::test(start_paused = true)]
async fn slow_body_times_out() {
    let (folder, _) = spawn_server(Cluster::empty());
    let (mut read, mut write) = connect(&folder).await.into_split();
    let head = "PUT /fleet/v1/units/a.service HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n";
    write.write_all(head.as_bytes()).await.unwrap();
    let started = Instant::now();
    let drips = tokio::spawn(async move {
        while write.write_all(b" ").await.is_ok() {
            sleep(Duration::from_secs(5)).await;
        }
    });
    let mut answer = vec![0; 12];
    read.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    assert_eq!(started.elapsed().as_secs(), 60 + 2);
    drips.abort();
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_is_disconnected() {
    let cluster = Cluster::empty();
    let text = format!("[Service]\nExecStart={}\n", "x".repeat(1_000_000));
    cluster.store().create("long.service", &text, JobState::Inactive);
    let (folder, _) = spawn_server(cluster);
    let request = "GET /fleet/v1/units/long.service HTTP/1.1\r\nHost: x\r\n\r\n";
    for (waits, expected) in [(25, true), (35, false)] {
        let mut stream = connect(&folder).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        sleep(Duration::from_secs(waits)).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len() > 1_000_000, expected, "after {waits} s: {} bytes", answer.len());
    }
}

#[tokio::test(start_paused = true)]
async fn connections_are_limited_per_listener() {
    let (folder, address) = spawn_server(Cluster::with_units());
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = connect(&folder).await;
        // The response shows that the connection was accepted.
        stream.write_all(UNITS.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 15]).await.unwrap();
        idle.push(stream);
    }
    let mut waiting = connect(&folder).await;
    waiting.write_all(UNITS.as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    timeout(Duration::from_secs(5), waiting.read_exact(&mut answer)).await.unwrap_err();
    // The other listener has its own limit.
    let mut remote = tokio::net::TcpStream::connect(address).await.unwrap();
    remote.write_all(UNITS.as_bytes()).await.unwrap();
    remote.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    idle.pop();
    waiting.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

#[test]
fn more_requests_than_connections() {
    let server = Server::start(Cluster::with_units());
    let expected = server.get("/fleet/v1/units").line();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_eq!(server.get("/fleet/v1/units").line(), expected);
                }
            });
        }
    });
}

#[test]
fn oversized_and_invalid_heads() {
    let server = Server::start(Cluster::with_units());
    let check = |head: String, expect: &[u8]| {
        let mut stream = server.connect();
        // The server disconnects before the end, so the write may fail.
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
fn oversized_bodies() {
    let server = Server::start(Cluster::with_units());
    let head = "PUT /fleet/v1/units/a.service HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let announced = format!("{head}Content-Length: {}\r\n\r\n", 1_u64 << 40);
    assert_eq!(HttpResponse::read(&server.exchange(announced.as_bytes())).line(), error(413, TOO_LARGE));
    // One byte too many, in chunks; the response is read after the complete body is sent.
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
    assert_eq!(HttpResponse::read(&answer).line(), error(413, TOO_LARGE));
    // The maximum size.
    let body = format!("{}{{}}", " ".repeat((64 << 20) - 2));
    let largest = server.send("PUT /fleet/v1/units/a.service", &body);
    assert_eq!(largest.line(), error(409, "unit does not exist and options field empty"));
}

/// The memory budget is shared by all requests.
#[test]
fn memory_of_bodies_is_limited() {
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
fn pipelined_requests() {
    let server = Server::start(Cluster::with_units());
    let get = "GET /fleet/v1/units/hello.service HTTP/1.1\r\nHost: x\r\n\r\n";
    let one = server.exchange(get.as_bytes());
    assert_eq!(server.exchange(get.repeat(3).as_bytes()).len(), 3 * one.len());
}

/// The error follows the complete response, even if that exceeds the buffer of the socket.
#[test]
fn invalid_request_after_a_response() {
    let server = Server::start(Cluster::empty());
    let text = format!("[Service]\nExecStart={}\n", "x".repeat(1_000_000));
    server.cluster.store().create("long.service", &text, JobState::Inactive);
    let get = "GET /fleet/v1/units/long.service HTTP/1.1\r\nHost: x\r\n\r\n";
    let both = String::from_utf8(server.exchange(format!("{get}NONSENSE\r\n\r\n").as_bytes())).unwrap();
    let (first, _) = both.split_once("}HTTP/1.1 400").unwrap();
    assert!(first.starts_with("HTTP/1.1 200") && first.len() > 1_000_000, "{} bytes", first.len());
}

#[test]
fn truncated_body() {
    let server = Server::start(Cluster::with_units());
    let head = "PATCH /fleet/v1/machines HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n[";
    assert_eq!(
        HttpResponse::read(&server.exchange(head.as_bytes())).line(),
        error(400, "request body ended early")
    );
}

/// Idle connections do not delay the shutdown, and pending responses are completed.
#[tokio::test(start_paused = true)]
async fn shutdown_completes_responses() {
    let folder = tempfile::tempdir().unwrap();
    let (stop, stopped) = oneshot::channel();
    let stopped = async { drop(stopped.await) };
    let (_, bind_and_serve) = bind_and_serve(folder.path(), &Arc::new(Cluster::with_units()), 100, stopped);
    let bind_and_serve = tokio::spawn(bind_and_serve);
    let mut idle = connect(&folder).await;
    idle.write_all(UNITS.as_bytes()).await.unwrap();
    idle.read_exact(&mut [0; 15]).await.unwrap();
    let started = Instant::now();
    stop.send(()).unwrap();
    bind_and_serve.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let mut rest = String::new();
    idle.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("]}"), "{rest}");
    UnixStream::connect(folder.path().join("fleet.sock")).await.unwrap_err();
}
