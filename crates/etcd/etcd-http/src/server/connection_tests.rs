//! Tests of deadlines, with paused time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{sleep, timeout};

use super::*;
use crate::body;
use crate::server::Never;

/// Responds with a large body, after reading the request.
#[derive(Default)]
struct Large {
    idle_limit: Option<Duration>,
}

const LARGE: usize = 1 << 20;

impl Handler for Large {
    type Chunks = Never;

    async fn handle(self: Arc<Self>, _: Peer, request: Request<Incoming>) -> Reply<Never> {
        let body = match body::read(request.into_body()).await {
            Ok(_) => Payload::from("x".repeat(LARGE)),
            Err(error) => Payload::from(error.to_string()),
        };
        Reply::Response(Response::new(body))
    }

    fn idle_limit(&self) -> Option<Duration> {
        self.idle_limit
    }
}

fn peer() -> Peer {
    Peer { address: "127.0.0.1:1".parse().unwrap(), secure: false }
}

/// A connection with small buffers to the client.
fn connect() -> DuplexStream {
    connect_to(Large::default())
}

fn connect_to(handler: Large) -> DuplexStream {
    let (client, server) = duplex(1 << 10);
    tokio::spawn(drive(ClientConnection::new(
        server,
        peer(),
        Arc::new(handler),
        Arc::new(Stop::default()),
        None,
    )));
    client
}

/// Time until the server closes the connection; at most an hour.
async fn closes_after(client: &mut DuplexStream) -> Duration {
    let first_byte = Instant::now();
    let mut rest = Vec::new();
    timeout(Duration::from_secs(3_600), client.read_to_end(&mut rest)).await.unwrap().unwrap();
    first_byte.elapsed()
}

fn is_about(found: Duration, expect: Duration) {
    let slack = Duration::from_millis(50);
    assert!(found >= expect && found < expect + slack, "{found:?}, not about {expect:?}");
}

#[tokio::test(start_paused = true)]
async fn a_head_times_out() {
    let mut client = connect();
    client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    is_about(closes_after(&mut client).await, limits::HEAD_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_trickling_head_times_out() {
    let mut client = connect();
    let first_byte = Instant::now();
    while client.write_all(b"G").await.is_ok() {
        sleep(Duration::from_secs(1)).await;
        assert!(first_byte.elapsed() < Duration::from_secs(3_600), "it goes on forever");
    }
    assert!(
        first_byte.elapsed() < limits::HEAD_TIMEOUT + Duration::from_secs(2),
        "{:?}",
        first_byte.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_head_times_out() {
    let mut client = connect();
    client.write_all(b"GET / HTTP/1.1\r\n\r\nGET / HT").await.unwrap();
    let mut response = vec![0; LARGE];
    client.read_exact(&mut response).await.unwrap();
    let took = closes_after(&mut client).await;
    assert!(took <= limits::HEAD_TIMEOUT + limits::IDLE_RELEASE_TIME + Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn idle_connections_stay() {
    let mut client = connect();
    sleep(Duration::from_secs(3_600)).await;
    let mut response = vec![0; LARGE];
    for _ in 0..3 {
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        // Head and body.
        client.read_exact(&mut response).await.unwrap();
        let mut head = response.split(|byte| *byte == b'\n').take_while(|line| line.len() > 1);
        assert!(head.next().unwrap().starts_with(b"HTTP/1.1 200"));
        let head_bytes = response.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        client.read_exact(&mut response[..head_bytes]).await.unwrap();
        // Long enough for hyper's state to be released and created again.
        sleep(limits::IDLE_RELEASE_TIME * 5).await;
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_where_their_number_is_small() {
    let limit = limits::IDLE_RELEASE_TIME * 7;
    for before in [Duration::ZERO, limit - limits::IDLE_RELEASE_TIME] {
        let mut client = connect_to(Large { idle_limit: Some(limit) });
        if !before.is_zero() {
            sleep(before).await;
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        }
        // Checked when an idle period ends.
        let took = closes_after(&mut client).await;
        assert!(took >= limit && took <= limit + limits::IDLE_RELEASE_TIME * 3, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_reader_times_out() {
    let mut client = connect();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    sleep(limits::WRITE_TIMEOUT + Duration::from_secs(1)).await;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() < LARGE, "all of it was sent");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_everything() {
    let mut client = connect();
    client.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut chunk = vec![0; 64 << 10];
    let mut count = 0;
    loop {
        sleep(limits::WRITE_TIMEOUT / 2).await;
        match client.read(&mut chunk).await.unwrap() {
            0 => break,
            length => count += length,
        }
    }
    assert!(count > LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_body_times_out() {
    let mut client = connect();
    client.write_all(b"PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello").await.unwrap();
    let first_byte = Instant::now();
    let mut head = vec![0; 15];
    client.read_exact(&mut head).await.unwrap();
    is_about(first_byte.elapsed(), limits::BODY_READ_TIMEOUT);
}

/// About the size of a member's watch.
struct Weight([u64; 16]);

impl crate::server::Chunks for Weight {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<crate::server::Chunk> {
        self.0[0] += 1;
        Poll::Pending
    }
}

struct Watches;

impl Handler for Watches {
    type Chunks = Weight;

    async fn handle(self: Arc<Self>, _: Peer, _: Request<Incoming>) -> Reply<Weight> {
        Reply::Stream(Response::new(()), Weight([0; 16]))
    }
}

/// With ten thousand waiting connections, each has a task and two boxes.
#[test]
fn a_waiting_connection_is_small() {
    use tokio::net::TcpStream;

    fn future<A, F>(_: fn(A) -> F) -> usize {
        size_of::<F>()
    }
    let task = future(drive::<TcpStream, Watches>);
    let boxes = size_of::<ClientConnection<TcpStream, Watches>>() + size_of::<ResponseStream<Weight>>();
    println!("task {task}, boxes {boxes}");
    assert!(task <= 400 && boxes <= 336, "task {task}, boxes {boxes}");
}

#[tokio::test(start_paused = true)]
async fn a_malformed_request_is_rejected_after_the_previous_response() {
    let mut client = connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\x01 no request\r\n\r\n").await.unwrap();
    let mut elapsed = Vec::new();
    timeout(Duration::from_secs(3_600), client.read_to_end(&mut elapsed)).await.unwrap().unwrap();
    let head = elapsed.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(elapsed.starts_with(b"HTTP/1.1 200"));
    let (response, refusal) = elapsed[head..].split_at(LARGE);
    assert!(response.iter().all(|byte| *byte == b'x'), "something stands in the answer's body");
    assert!(refusal.starts_with(b"HTTP/1.1 400"), "{:?}", String::from_utf8_lossy(refusal));
}
