//! Serves the API on a Unix socket and TCP, and sends raw requests.

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
/// Longer than any test step, even on a slow machine.
pub const TIMEOUT: Duration = Duration::from_secs(60);

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

/// Binds sockets; returns the TCP address and the future that serves until `stop`.
pub fn bind_and_serve(
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
        Self::with_page_size(cluster, 100)
    }

    pub fn with_page_size(cluster: Cluster, token_limit: u16) -> Self {
        let cluster = Arc::new(cluster);
        let folder = tempfile::tempdir().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let (address, bind_and_serve) = bind_and_serve(folder.path(), &cluster, token_limit, stopped);
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(2).enable_all().build().unwrap().block_on(bind_and_serve);
        });
        Self { cluster, folder, address, running: Some((stop, thread)) }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("fleet.sock")
    }

    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    }

    /// Sends bytes, closes the sending side, and returns the complete response.
    pub fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        response
    }

    /// Sends a request with a request line such as `GET /path`, additional headers, and a body.
    pub fn request(&self, line: &str, head: &[&str], body: &str) -> HttpResponse {
        let mut text = format!("{line} HTTP/1.1\r\nHost: domain-sock\r\n");
        head.iter().for_each(|line| text.push_str(&format!("{line}\r\n")));
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        HttpResponse::read(&self.exchange(format!("{text}\r\n{body}").as_bytes()))
    }

    pub fn get(&self, path: &str) -> HttpResponse {
        self.request(&format!("GET {path}"), &[], "")
    }

    pub fn send(&self, line: &str, body: &str) -> HttpResponse {
        self.request(line, &["Content-Type: application/json"], body)
    }

    /// Stops the server and waits for its thread.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Do not panic twice.
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// A parsed response.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    pub code: u16,
    pub head: Vec<(String, String)>,
    pub body: String,
}

impl HttpResponse {
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
        let mut response = HttpResponse { code, head, body: body.to_owned() };
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = decode_chunked(body);
        }
        response
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// `404 {"error":..}`
    pub fn line(&self) -> String {
        format!("{} {}", self.code, self.body).trim_end().to_owned()
    }
}

fn decode_chunked(body: &str) -> String {
    let (mut decoded, mut rest) = (String::new(), body);
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap_or_else(|| panic!("cut off: {rest:?}"));
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return decoded;
        }
        decoded.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").unwrap();
    }
}

pub fn error(code: u16, message: &str) -> String {
    format!("{code} {}", fleet_api::encode(&fleet_api::ErrorDocument::new(code, message)).unwrap())
}
