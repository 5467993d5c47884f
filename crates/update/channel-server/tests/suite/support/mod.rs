//! A channel server on loopback, an HTTP client, and a release as `keelson release` writes it.

pub mod images;
pub mod repository;
pub mod roots;
pub mod targets;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use channel_server::{ADMIN_TOKEN, Settings, VIEWER_TOKEN};
use minisign::KeyPair;
use release::{Blob, Digest, Image, Images, Payload, Release, SCHEMA, SEGMENTS, Verity, Version};
use rollout::App;
use serde_json::Value;
use sha2::Digest as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub const APP: &str = "{e96281a6-d1af-4bde-9a0a-97b76e56dc57}";

pub struct Server {
    pub data: PathBuf,
    address: SocketAddr,
    handle: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    _own: Option<TempDir>,
}

pub struct HttpReply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl HttpReply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Server {
    pub fn start() -> Self {
        let own = tempfile::tempdir().unwrap();
        let mut server = Self::open(own.path());
        server._own = Some(own);
        server
    }

    pub fn open(data: &Path) -> Self {
        Self::open_with(data, None)
    }

    /// `key`: the online key.
    pub fn open_with(data: &Path, key: Option<PathBuf>) -> Self {
        let (address_sender, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let folder = data.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let app = App { id: APP.into(), name: "Keelson".into(), product_id: Some("keelson".into()) };
                let settings = Settings { data: folder, public_url: None, key, app };
                let server = Arc::new(channel_server::Server::open(settings).await.unwrap());
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                address_sender.send(listener.local_addr().unwrap()).unwrap();
                // Dropping the sender stops the server, too.
                channel_server::serve(server, listener, async { stopped.await.unwrap_or(()) }).await;
            });
        });
        Self {
            data: data.to_owned(),
            address: address.recv().unwrap(),
            handle: Some((stop, thread)),
            _own: None,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn admin(&self) -> String {
        std::fs::read_to_string(self.data.join(ADMIN_TOKEN)).unwrap().trim().to_owned()
    }

    pub fn viewer(&self) -> String {
        std::fs::read_to_string(self.data.join(VIEWER_TOKEN)).unwrap().trim().to_owned()
    }

    pub fn raw(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> HttpReply {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The server may close the connection before it has read a rejected body.
        stream.write_all(body).ok();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).ok();
        let end =
            all.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {all:?}"));
        let head = String::from_utf8_lossy(&all[..end]).into_owned();
        let mut body = all.split_off(end + 4);
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        HttpReply { status: head[9..12].parse().unwrap(), head, body }
    }

    pub fn as_admin(&self, method: &str, path: &str, body: &str) -> HttpReply {
        self.raw(method, path, &format!("Authorization: Bearer {}\r\n", self.admin()), body.as_bytes())
    }

    /// Sends an administrator's request that succeeds.
    pub fn admin_json(&self, method: &str, path: &str, body: &str) -> Value {
        let reply = self.as_admin(method, path, body);
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
        reply.json()
    }

    pub fn upload(&self, folder: &Path, version: &str) {
        let names = ["release.json", "usr.full", "usr.full.index"];
        for name in names {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            let path = format!("/api/apps/keelson/uploads/amd64/{version}/{name}");
            let reply =
                self.raw("PUT", &path, &format!("Authorization: Bearer {}\r\n", self.admin()), &bytes);
            assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        }
    }

    /// Lists, uploads and publishes a version. `keys`: the release key of the newest root, or of the first one that this
    /// publishes.
    pub fn publish(&self, version: &str, channel: &str, keys: &KeyPair) {
        let folder = tempfile::tempdir().unwrap();
        write_release(folder.path(), version);
        targets::ensure_root(self, keys);
        targets::list(self, folder.path(), keys);
        self.upload(folder.path(), version);
        let body = format!("{{\"version\":\"{version}\",\"arch\":\"amd64\",\"channel\":\"{channel}\"}}");
        self.admin_json("POST", "/api/apps/keelson/packages", &body);
    }

    pub fn omaha(&self, app: omaha::App) -> omaha::Response {
        self.omaha_with(app, |_| String::new())
    }

    /// `header`: further headers for a body.
    pub fn omaha_with(&self, app: omaha::App, header: impl Fn(&[u8]) -> String) -> omaha::Response {
        let request = omaha::Request { apps: vec![app], ..omaha::Request::default() }.write();
        let headers = format!("Content-Type: text/xml\r\n{}", header(request.as_bytes()));
        let reply = self.raw("POST", "/v1/update/", &headers, request.as_bytes());
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/xml")));
        omaha::Response::read(&reply.body).unwrap()
    }

    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.handle.take() {
            drop(stop);
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let Ok(size) = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16) else { break };
        if size == 0 || rest.len() < end + 2 + size {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[(end + 4 + size).min(rest.len())..];
    }
    body
}

pub fn machine(id: &str, version: &str, track: &str) -> omaha::App {
    omaha::App {
        app_id: APP.into(),
        machine_id: id.into(),
        version: version.into(),
        track: track.into(),
        board: "amd64-usr".into(),
        boot_id: format!("{{boot of {version}}}"),
        ping: true,
        update_check: true,
        events: vec![omaha::Event::rebooted("")],
        ..omaha::App::default()
    }
}

pub fn payload(version: &str) -> Vec<u8> {
    format!("the payload of {version}\n").repeat(20_000).into_bytes()
}

fn blob(name: &str, bytes: &[u8]) -> Blob {
    Blob {
        url: name.parse().unwrap(),
        size: bytes.len() as u64,
        sha256: Digest(sha2::Sha256::digest(bytes).into()),
    }
}

/// Writes `release.json` and the files it lists.
pub fn write_release(folder: &Path, version: &str) {
    let (full, index) = (payload(version), format!("index of {version}").into_bytes());
    let image = |number: u8| Image { size: 4096, sha256: Digest([number; 32]) };
    let release = Release {
        schema: SCHEMA,
        appid: APP.into(),
        board: "amd64-usr".into(),
        channels: vec!["alpha".into(), "beta".into()],
        version: version.parse::<Version>().unwrap(),
        epoch: 1,
        build_time: 1000,
        expires: 4_000_000_000,
        min_from: None,
        images: Images {
            usr: image(1),
            verity: Verity {
                root_hash: Digest([2; 32]),
                salt: Digest([3; 32]),
                uuid: "00112233-4455-6677-8899-aabbccddeeff".into(),
            },
            uki: image(4),
        },
        full: Payload {
            blob: blob("usr.full", &full),
            index: blob("usr.full.index", &index),
            algo: SEGMENTS.into(),
        },
        deltas: Vec::new(),
        notes_url: None,
    };
    let bytes = release.to_bytes().unwrap();
    for (name, bytes) in [("release.json", &*bytes), ("usr.full", &*full), ("usr.full.index", &*index)] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

pub fn keys() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}
