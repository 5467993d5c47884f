//! Responses of a server, or an impostor, to our client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use etcd_client::{Client, Config, Endpoint, GetOptions, SetOptions, WatchOptions};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::input::Input;
use crate::target::Target;

pub const TARGET: Target =
    Target { name: "client", about: "the client gives an answer or an error, in time", run, seeds };

const PATIENCE: Duration = Duration::from_secs(20);
/// A watch reconnects forever after its response ends.
const WATCH_TIME: Duration = Duration::from_millis(5);
const CALLS: u8 = 12;
/// Selects the last call, the watch, as a stream.
const STREAM: u8 = 143;

struct Server {
    address: SocketAddr,
    answers: Sender<Vec<u8>>,
}

/// Byte 0 selects the call. The rest is the response, on the loopback.
fn run(bytes: &[u8]) {
    static SETTING: OnceLock<(Server, Runtime)> = OnceLock::new();
    let (server, runtime) = SETTING.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        (serve(), runtime.expect("a runtime"))
    });
    let mut input = Input::new(bytes);
    let call = input.byte();
    server.answers.send(without_redirects(input.rest())).expect("the server lives");
    let result = runtime.block_on(async { timeout(PATIENCE, ask(server.address, call)).await });
    result.expect("it ends");
}

/// Prevents redirects to other hosts: a URL without `://` is invalid.
fn without_redirects(answer: &[u8]) -> Vec<u8> {
    let mut answer = answer.to_vec();
    while let Some(at) = answer.windows(3).position(|three| three == b"://") {
        answer[at] = b'_';
    }
    answer
}

/// Answers every connection with the newest response, and closes it.
fn serve() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (answers, newest) = channel::<Vec<u8>>();
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            answer = newest.try_iter().last().unwrap_or(answer);
            // The client may disconnect before the end.
            drop(answer_one(&mut stream, &answer));
        }
    });
    Server { address, answers }
}

fn answer_one(stream: &mut TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&piece[..count]),
        }
    }
    stream.write_all(answer)
}

async fn ask(address: SocketAddr, call: u8) {
    let endpoint: Endpoint = address.to_string().parse().expect("an endpoint");
    let config = Config {
        request_timeout: Duration::from_secs(2),
        total_timeout: Duration::from_secs(3),
        ..Config::new(vec![endpoint.clone()])
    };
    let client = Client::new(config).expect("a client");
    match call % CALLS {
        0 => drop(client.get("/a", GetOptions::default()).await.map(|answer| answer.node())),
        1 => drop(client.set("/a", "v", &SetOptions::default()).await),
        2 => drop(client.members().await),
        3 => drop(client.sync().await),
        4 => drop(client.version().await),
        5 => drop(client.health(&endpoint).await),
        6 => drop((client.self_statistics().await, client.leader_statistics().await)),
        7 => drop(client.store_statistics().await),
        8 => drop((client.users().await, client.roles().await)),
        9 => drop((client.user("a").await, client.role("a").await, client.auth_enabled().await)),
        10 => drop((client.machines().await, client.leader().await, client.cluster_id().await)),
        _ => {
            let how = WatchOptions { recursive: true, stream: call >= STREAM, after: None };
            let mut watcher = client.watch("/a", how);
            let mut last = 0;
            while let Ok(Ok(answer)) = timeout(WATCH_TIME, watcher.next()).await {
                if last == 3 {
                    break;
                }
                last += 1;
                drop(answer.node());
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let node = r#"{"key":"/a","value":"v","expiration":"2026-11-20T06:46:49.487435821Z","ttl":5,"modifiedIndex":7,"createdIndex":7}"#;
    let event = format!(r#"{{"action":"set","node":{node},"prevNode":{node}}}"#);
    let tree = format!(r#"{{"action":"get","node":{{"key":"/","dir":true,"nodes":[{node}]}}}}"#);
    let error = r#"{"errorCode":401,"message":"cleared","cause":"x","index":9}"#;
    let members =
        r#"{"members":[{"id":"7","name":"a","peerURLs":["http://a:1"],"clientURLs":["http://a:2"]}]}"#;
    let bodies = [
        (0, 200, event.as_str()),
        (0, 404, error),
        (1, 201, &tree),
        (2, 200, members),
        (3, 200, members),
        (4, 200, r#"{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}"#),
        (5, 503, r#"{"health":"false"}"#),
        (
            6,
            200,
            r#"{"name":"a","id":"7","state":"StateLeader","startTime":"2026-11-20T06:46:49Z","leaderInfo":{"leader":"7","uptime":"1s"}}"#,
        ),
        (7, 200, r#"{"getsSuccess":1}"#),
        (8, 200, r#"{"users":[{"user":"root","roles":[{"role":"r"}]}]}"#),
        (9, 200, r#"{"role":"r","permissions":{"kv":{"read":["/"],"write":null}}}"#),
        (10, 200, "http_//a:1, http_//b:2"),
        (11, 200, &event),
    ];
    let with_length = bodies.iter().map(|(call, status, body)| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nX-Etcd-Index: 7\r\nContent-Length: {length}\r\n\r\n");
        [&[*call], head.as_bytes(), body.as_bytes()].concat()
    });
    let two = format!("{event}\n");
    let chunk = format!("{:x}\r\n{two}\r\n", two.len());
    let stream = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    let stream = [&[STREAM], stream.as_bytes()].concat();
    let redirect = [&[0][..], b"HTTP/1.1 307 X\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"].concat();
    with_length.chain([stream, redirect]).collect()
}
