//! The client HTTP server, from the bytes of a connection to the bytes of its responses.

use std::sync::Arc;
use std::time::Duration;

use etcd_api::Member;
use etcd_http::server::fuzz::serve_pipe;
use etcd_http::{Cors, Front, Hosts, Local, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{sleep, timeout};

use crate::input::Input;
use crate::responses::{self, RequestTraits};
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "http",
    about: "the clients' front ends the connection in time, and what it wrote is whole answers",
    run,
    seeds,
};

/// Longer than all of the server's deadlines together; on a paused clock.
const PATIENCE: Duration = Duration::from_secs(3_600);
const PIECES: [usize; 4] = [1 << 20, 1, 7, 1_000];
const PIPES: [usize; 4] = [1 << 16, 1, 64, 4_000];

/// One byte selects how the client sends and reads, and whether it shuts down its side or waits for the server.
fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mode = input.byte();
    let (piece, pipe) = (PIECES[usize::from(mode & 3)], PIPES[usize::from(mode >> 2 & 3)]);
    let (slow_reader, waits_for_close) = (mode & 0x10 != 0, mode & 0x20 != 0);
    let sent = input.rest();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let answer = runtime.expect("a runtime").block_on(async {
        let (client, server) = duplex(pipe);
        let served = tokio::spawn(serve_pipe(server, http_server()));
        let received = timeout(PATIENCE, exchange(client, sent, piece, slow_reader, waits_for_close)).await;
        let received = received.expect("the connection ends");
        timeout(PATIENCE, served).await.expect("the server lets go of it").expect("it does not panic");
        received
    });
    let holds = |word: &[u8]| sent.windows(word.len()).any(|window| window == word);
    let requests = RequestTraits {
        head_only: holds(b"HEAD") || holds(b"CONNECT"),
        streamed: holds(b"wait") || holds(b"watch") || holds(b"%"),
        slow_reader: pipe < PIPES[0],
    };
    if let Err(why) = responses::check(&answer, requests) {
        panic!("{why}");
    }
}

fn http_server() -> Arc<Front<Local>> {
    let urls = |port: u16| vec![format!("http://127.0.0.1:{port}")];
    let member = Member { id: 7, name: "local".into(), peer_urls: urls(2380), client_urls: urls(2379) };
    let settings = Settings {
        server_version: "2.3.8".into(),
        cors: Cors::new(vec!["http://a".into()]),
        hosts: Hosts::default(),
        command_line: Vec::new(),
        set_log_level: None,
        registries: Vec::new(),
        secret: [0; 32],
    };
    Arc::new(Front::new(Local::new(member, 8), settings).expect("metrics of its own"))
}

async fn exchange(
    stream: DuplexStream,
    sent: &[u8],
    piece: usize,
    slow_reader: bool,
    waits_for_close: bool,
) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        for part in sent.chunks(piece) {
            // The server may have closed the connection.
            if writer.write_all(part).await.is_err() {
                return;
            }
            if slow_reader {
                sleep(Duration::from_millis(300)).await;
            }
        }
        if waits_for_close {
            sleep(PATIENCE / 4).await;
        }
        writer.shutdown().await.expect("a pipe can be closed");
    };
    let read = async {
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).await.expect("a pipe can be read");
        answer
    };
    tokio::join!(write, read).1
}

fn seeds() -> Vec<Vec<u8>> {
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let put = |target: &str, body: &str| {
        format!("PUT {target} HTTP/1.1\r\nHost: a\r\n{form}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let json = |method: &str, target: &str, body: &str| {
        let length = body.len();
        let kind = "Content-Type: application/json";
        format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let mut texts = vec![
        [put("/v2/keys/a/b", "value=x&ttl=5"), get("/v2/keys/a?recursive=true&sorted=true&quorum=true")]
            .concat(),
        [put("/v2/keys/a?prevExist=false", "value=x"), put("/v2/keys/a?prevValue=x&prevIndex=4", "value=y")]
            .concat(),
        [put("/v2/keys/a", "value=x"), get("/v2/keys/a?wait=true&waitIndex=1"), get("/version")].concat(),
        get("/v2/keys/?wait=true&recursive=true&stream=true"),
        format!(
            "POST /v2/keys/q HTTP/1.1\r\n{form}Transfer-Encoding: chunked\r\n\r\n7\r\nvalue=x\r\n0\r\n\r\n"
        ),
        "DELETE /v2/keys/a?recursive=true&dir=true HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
        "HEAD /v2/keys/a HTTP/1.1\r\n\r\nOPTIONS * HTTP/1.1\r\nOrigin: http://a\r\n\r\n".to_owned(),
        "GET /v2/keys/a HTTP/1.0\r\n\r\n".to_owned(),
        "GET /v2//keys/../a?x HTTP/1.1\r\n\r\nTRACE / HTTP/1.1\r\n\r\n".to_owned(),
        format!("PUT /v2/keys/e HTTP/1.1\r\n{form}Expect: 100-continue\r\nContent-Length: 7\r\n\r\nvalue=x"),
        json("POST", "/v2/members", r#"{"peerURLs":["http://10.0.0.10:2380"]}"#),
        json("PUT", "/v2/members/7", r#"{"peerURLs":["http://10.0.0.10:2380"]}"#),
        json("PUT", "/v2/auth/roles/r", r#"{"role":"r","permissions":{"kv":{"read":["/*"],"write":[]}}}"#),
        json("PUT", "/v2/auth/roles/r", r#"{"role":"r","grant":{"kv":{"read":["/x"]}}}"#),
        json("PUT", "/config/local/log", r#"{"Level":"DEBUG"}"#),
        put("/v1/keys/a", "value=x&prevValue=y"),
        put("/v2/keys/%C3%A9%2F%00", "value=%zz;&ttl=-1"),
        "GET /v2/keys/a HTTP/1.1\r\nAuthorization: Basic cm9vdDpy\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost".to_owned(),
    ];
    let paths = ["/v2/members", "/v2/members/leader", "/v2/machines", "/v2/stats/self", "/v2/stats/store"];
    texts.push(paths.map(&get).concat());
    let more = ["/v2/stats/leader", "/health", "/metrics", "/debug/vars", "/v1/watch/a", "/v2/auth/users"];
    texts.push(more.map(&get).concat());
    let mode = [0, 0x20, 0x01 | 0x10, 0x06, 0x0b];
    let sent = |(number, text): (usize, String)| [&[mode[number % mode.len()]], text.as_bytes()].concat();
    texts.into_iter().enumerate().map(sent).collect()
}
