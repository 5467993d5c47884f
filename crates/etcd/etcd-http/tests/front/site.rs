//! A front end on its own port, and a client that shows every byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use etcd_api::Member;
use etcd_http::server::{Handler, Listener, Running, serve};
use etcd_http::tls::ServerTls;
use etcd_http::{Cors, Front, Hosts, Local, Settings};
use tokio::runtime::Runtime;

/// Timeout of a request.
pub const TIMEOUT: Duration = Duration::from_secs(20);

pub const MEMBER_ID: u64 = 0xbdae_9bbc_11dd_390d;
pub const CLUSTER_ID: u64 = 0x7e27_6521_22e8_b2ae;

pub struct Site {
    pub runtime: Runtime,
    pub running: Option<Running>,
    pub address: SocketAddr,
    pub local: Local,
    pub front: Arc<Front<Local>>,
}

pub fn settings() -> Settings {
    Settings {
        server_version: "2.3.8".to_owned(),
        cors: Cors::default(),
        hosts: Hosts::default(),
        command_line: vec!["etcd".to_owned(), "-name".to_owned(), "n1".to_owned()],
        set_log_level: Some(Arc::new(|level| ["DEBUG", "INFO"].contains(&level))),
        registries: Vec::new(),
        secret: [3; 32],
    }
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Serves a handler on a free port.
pub fn start<H: Handler>(runtime: &Runtime, handler: Arc<H>, tls: Option<Arc<ServerTls>>) -> Running {
    let _inside = runtime.enter();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), tls).unwrap();
    serve(vec![listener], handler, 20_000).unwrap()
}

pub fn local() -> Local {
    Local::new(
        Member {
            id: MEMBER_ID,
            name: "n1".to_owned(),
            peer_urls: vec!["http://127.0.0.1:2380".to_owned()],
            client_urls: vec!["http://127.0.0.1:4001".to_owned(), "http://127.0.0.1:2379".to_owned()],
        },
        CLUSTER_ID,
    )
}

impl Site {
    pub fn start() -> Site {
        Site::with(settings(), None)
    }

    pub fn with(settings: Settings, tls: Option<Arc<ServerTls>>) -> Site {
        let (runtime, local) = (runtime(), local());
        {
            let _inside = runtime.enter();
            local.start_expiry();
        }
        let front = Arc::new(Front::new(local.clone(), settings).unwrap());
        let running = start(&runtime, Arc::clone(&front), tls);
        let address = running.addresses()[0];
        Site { runtime, running: Some(running), address, local, front }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Sends a request on a new connection.
    pub fn send_request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut client = self.connect();
        client.send(method, target, headers, body);
        client.response_to(method)
    }

    pub fn get(&self, target: &str) -> Response {
        self.send_request("GET", target, &[], "")
    }

    /// Sends a form, as curl's `-d` does.
    pub fn form(&self, method: &str, target: &str, form: &str) -> Response {
        self.send_request(method, target, &[FORM], form)
    }
}

pub const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// A complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub version: String,
    pub status: u16,
    /// Names as sent.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let certificates = self.headers.iter().find(|(one, _)| one.eq_ignore_ascii_case(name));
        certificates.map(|(_, value)| value.as_str())
    }

    pub fn index(&self) -> u64 {
        self.header("X-Etcd-Index").expect("X-Etcd-Index").parse().unwrap()
    }
}

pub struct Client<S = TcpStream> {
    pub stream: BufReader<S>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    pub fn tcp(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl<S: Read + Write> Client<S> {
    pub fn over(stream: S) -> Client<S> {
        Client { stream: BufReader::new(stream) }
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: etcd\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        self.write(text + "\r\n" + body);
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(line.ends_with("\r\n"), "a line ended early: {line:?}");
        line.trim_end().to_owned()
    }

    /// Reads status and headers.
    pub fn head(&mut self) -> Response {
        let first = self.line();
        let (version, rest) = first.split_once(' ').unwrap();
        let status = rest[..3].parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_owned(), value.to_owned()));
        }
        Response { version: version.to_owned(), status, headers, body: String::new() }
    }

    /// Reads a chunk; `None` at the end.
    pub fn chunk(&mut self) -> Option<String> {
        let length = usize::from_str_radix(&self.line(), 16).unwrap();
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        assert_eq!(self.line(), "");
        (length > 0).then(|| String::from_utf8(bytes).unwrap())
    }

    pub fn response_to(&mut self, method: &str) -> Response {
        let mut response = self.head();
        if method == "HEAD" || matches!(response.status, 100 | 204) {
            return response;
        }
        if response.header("Transfer-Encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                response.body += &chunk;
            }
        } else if let Some(length) = response.header("Content-Length") {
            let mut bytes = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut bytes).unwrap();
            response.body = String::from_utf8(bytes).unwrap();
        } else {
            response.body = self.rest();
        }
        response
    }

    /// Reads up to the end of the connection.
    pub fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}
