#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use bytes::Bytes;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const HEADER_TIMEOUT: Duration = Duration::from_millis(200);

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

/// Each response takes `delay`.
async fn start(connections: usize, grace: Duration, delay: Duration) -> Server {
    start_with(connections, Excess::Close, grace, delay).await
}

async fn start_with(connections: usize, excess: Excess, grace: Duration, delay: Duration) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, shutdown) = oneshot::channel();
    let shutdown = async { shutdown.await.unwrap() };
    let ended = tokio::spawn(serve(
        listener,
        Limits { connections, excess, grace },
        shutdown,
        move |stream, _, shutdown| async move {
            serve_requests(stream, &http1(HEADER_TIMEOUT), shutdown, |_| async move {
                tokio::time::sleep(delay).await;
                Response::new(Full::new(Bytes::from_static(b"here")))
            })
            .await;
        },
    ));
    Server { address, stop, ended }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // Returns what was read before an error, too.
    let read = stream.read_to_end(&mut text).await;
    format!(
        "{}{}",
        String::from_utf8_lossy(&text),
        read.map_or_else(|error| error.to_string(), |_| String::new())
    )
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let server = start(1, Duration::from_secs(5), Duration::ZERO).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(REQUEST).await.unwrap();
    let mut head = [0; 12];
    first.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert!(!read_all(&mut second).await.contains("200"));
    drop(first);
    // The permit is released as soon as the server has noticed the close.
    for _ in 0..50 {
        let mut third = TcpStream::connect(server.address).await.unwrap();
        if third.write_all(REQUEST).await.is_ok() && third.read_exact(&mut head).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no place became free");
}

#[tokio::test]
async fn a_missing_header_times_out() {
    let server = start(4, Duration::from_secs(5), Duration::ZERO).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let ended = tokio::time::timeout(20 * HEADER_TIMEOUT, read_all(&mut slow)).await;
    assert!(!ended.unwrap().contains("200"));
}

#[tokio::test]
async fn shutdown_completes_responses_in_progress() {
    let server = start(4, Duration::from_secs(20), Duration::from_millis(300)).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    assert!(read_all(&mut client).await.ends_with("here"));
    server.ended.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "still listening");
}

#[tokio::test]
async fn connections_beyond_the_grace_period_are_closed() {
    let server = start(4, Duration::from_millis(100), Duration::from_secs(60)).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    server.ended.await.unwrap();
    assert!(!read_all(&mut client).await.contains("200"));
}

#[tokio::test]
async fn connections_beyond_the_limit_may_wait() {
    let server = start_with(1, Excess::Wait, Duration::from_secs(5), Duration::ZERO).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(REQUEST).await.unwrap();
    let mut head = [0; 12];
    first.read_exact(&mut head).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(REQUEST).await.unwrap();
    // The first connection ends by its header timeout at the latest.
    let mut head = [0; 12];
    let waited = tokio::time::timeout(HEADER_TIMEOUT / 4, second.read_exact(&mut head)).await;
    assert!(waited.is_err(), "served beside the first");
    drop(first);
    second.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    server.stop.send(()).unwrap();
    server.ended.await.unwrap();
}
