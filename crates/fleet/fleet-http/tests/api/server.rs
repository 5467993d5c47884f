//! The API on a unix socket and on TCP, in threads of its own, and requests byte by byte.

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fleet_http::{Listener, Settings, serve};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::cluster::Cluster;

pub const VERSION: &str = "1.0.0";
/// Longer than anything here takes, on a slow machine too.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    pub cluster: Arc<Cluster>,
    pub folder: TempDir,
    pub address: SocketAddr,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

pub fn settings(folder: &Path, token_limit: u16) -> Settings {
    let mut settings = Settings::new(VERSION, token_limit);
    settings.programs.systemctl = folder.join("systemctl");
    settings.programs.journalctl = folder.join("journalctl");
    settings
}

/// Sockets, and the future that serves on them until `stop`.
pub fn serving(
    folder: &Path,
    cluster: &Arc<Cluster>,
    token_limit: u16,
    stop: impl Future<Output = ()> + Send + 'static,
) -> (SocketAddr, impl Future<Output = ()> + Send + 'static) {
    let unix = UnixListener::bind(folder.join("fleet.sock")).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let listeners = vec![Listener::from(unix), Listener::from(tcp)];
    (address, serve(listeners, cluster.clone(), settings(folder, token_limit), stop))
}

impl Server {
    pub fn start(cluster: Cluster) -> Self {
        Self::with_pages_of(cluster, 100)
    }

    pub fn with_pages_of(cluster: Cluster, token_limit: u16) -> Self {
        let cluster = Arc::new(cluster);
        let folder = tempfile::tempdir().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let (address, serving) = serving(folder.path(), &cluster, token_limit, stopped);
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(2).enable_all().build().unwrap().block_on(serving);
        });
        Self { cluster, folder, address, running: Some((stop, thread)) }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("fleet.sock")
    }

    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// All that it says to these bytes, after which nothing more is sent.
    pub fn say(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        said
    }

    /// `GET /path`, further head lines, and a body.
    pub fn ask(&self, line: &str, head: &[&str], body: &str) -> Said {
        let mut text = format!("{line} HTTP/1.1\r\nHost: domain-sock\r\n");
        head.iter().for_each(|line| text.push_str(&format!("{line}\r\n")));
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        Said::read(&self.say(format!("{text}\r\n{body}").as_bytes()))
    }

    pub fn get(&self, path: &str) -> Said {
        self.ask(&format!("GET {path}"), &[], "")
    }

    pub fn send(&self, line: &str, body: &str) -> Said {
        self.ask(line, &["Content-Type: application/json"], body)
    }

    /// Ends it, and waits until it has.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After a failed test there is nothing to add.
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Said {
    pub code: u16,
    head: Vec<(String, String)>,
    pub body: String,
}

impl Said {
    pub fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let (first, head) = head.split_once("\r\n").unwrap();
        let code = first.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_lowercase(), value.to_owned())
        };
        let head: Vec<_> = head.split("\r\n").map(pair).collect();
        let mut said = Said { code, head, body: body.to_owned() };
        if said.header("transfer-encoding") == Some("chunked") {
            said.body = unchunked(body);
        }
        said
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `404 {"error":..}`
    pub fn line(&self) -> String {
        format!("{} {}", self.code, self.body).trim_end().to_owned()
    }
}

fn unchunked(body: &str) -> String {
    let (mut whole, mut rest) = (String::new(), body);
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap_or_else(|| panic!("cut off: {rest:?}"));
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").unwrap();
    }
}

pub fn error(code: u16, message: &str) -> String {
    format!("{code} {}", fleet_api::encode(&fleet_api::ErrorDocument::new(code, message)).unwrap())
}
