//! An HTTP server with scripted responses that records its requests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const MIB: usize = 1 << 20;

#[derive(Debug, Clone)]
pub struct RecordedRequest {
    pub method: String,
    pub path: String,
    headers: Vec<String>,
    pub body: String,
}

impl RecordedRequest {
    fn read(stream: &mut impl Read) -> Option<Self> {
        let mut reader = BufReader::with_capacity(1, stream);
        let mut lines = reader.by_ref().lines().map_while(Result::ok);
        let line = lines.next()?;
        let mut fields = line.split(' ').map(str::to_owned);
        let (method, path) = (fields.next()?, fields.next()?);
        let headers = lines.take_while(|line| !line.is_empty()).collect();
        let mut request = Self { method, path, headers, body: String::new() };
        let length = request.header("content-length").and_then(|length| length.parse().ok());
        reader.take(length.unwrap_or(0)).read_to_string(&mut request.body).ok()?;
        Some(request)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.headers.iter().filter_map(|line| line.split_once(": "));
        headers.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// The server's reaction to a request.
#[derive(Debug, Clone)]
pub enum Response {
    Bytes(Vec<u8>),
    /// Closes the connection without a response.
    Close,
    /// Keeps the connection open without a response.
    Silent,
    OneBytePerSecond,
    /// Sends 1 GiB.
    Endless,
}

impl Response {
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::status("200 OK", body)
    }

    pub fn not_found() -> Self {
        // The body must not be taken for the item.
        Self::status("404 Not Found", "<html>no such thing</html>")
    }

    /// `status` may be followed by headers.
    pub fn status(status: &str, body: impl AsRef<[u8]>) -> Self {
        Self::Bytes(response(status, body))
    }

    pub fn redirect(to: &str) -> Self {
        Self::Bytes(redirect(to))
    }

    /// Write errors are ignored: the client hangs up at its limit.
    fn send(self, stream: &mut TcpStream) {
        match self {
            Self::Bytes(bytes) => stream.write_all(&bytes).unwrap_or(()),
            Self::Close => {}
            Self::Silent => drop(stream.read_to_end(&mut Vec::new())),
            Self::OneBytePerSecond => {
                let response = response("200 OK", "x".repeat(1000));
                for byte in response.chunks(1) {
                    if stream.write_all(byte).is_err() {
                        break;
                    }
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            Self::Endless => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1024 * MIB);
                stream.write_all(head.as_bytes()).unwrap_or(());
                let part = vec![b'#'; MIB];
                for _ in 0..1024 {
                    if stream.write_all(&part).is_err() {
                        break;
                    }
                }
            }
        }
    }
}

pub fn response(status: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub fn redirect(to: &str) -> Vec<u8> {
    response(&format!("302 Found\r\nLocation: {to}"), "")
}

pub struct Server {
    pub address: String,
    request: Arc<Mutex<Vec<RecordedRequest>>>,
}

impl Server {
    /// Sends the responses in order and repeats the last one.
    pub fn start(responses: Vec<Vec<u8>>) -> Self {
        let number = Mutex::new(0);
        Self::with_handler(move |_| {
            let mut number = number.lock().unwrap();
            let response = responses[(*number).min(responses.len() - 1)].clone();
            *number += 1;
            Response::Bytes(response)
        })
    }

    /// Serves the pages by path.
    pub fn pages(pages: &[(&str, &str)]) -> Self {
        let pages: BTreeMap<String, String> =
            pages.iter().map(|(path, page)| ((*path).to_owned(), (*page).to_owned())).collect();
        Self::with_handler(move |request| match pages.get(&request.path) {
            Some(page) if request.method == "GET" => Response::ok(page),
            _ => Response::not_found(),
        })
    }

    pub fn with_handler(responses: impl Fn(&RecordedRequest) -> Response + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", responses)
    }

    pub fn at(
        address: &str,
        responses: impl Fn(&RecordedRequest) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let request = Arc::new(Mutex::new(Vec::new()));
        let log = request.clone();
        let responses = Arc::new(responses);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (responses, log) = (responses.clone(), log.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &*responses, &log));
            }
        });
        Self { address, request }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The request line of each request.
    pub fn request_lines(&self) -> Vec<String> {
        let lines = self.requests();
        lines.iter().map(|request| format!("{} {} HTTP/1.1", request.method, request.path)).collect()
    }

    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.request.lock().unwrap().clone()
    }
}

/// One request per connection; CONNECT is answered, and the tunnelled request handled here.
fn serve(
    mut stream: TcpStream,
    responses: &dyn Fn(&RecordedRequest) -> Response,
    log: &Mutex<Vec<RecordedRequest>>,
) {
    while let Some(request) = RecordedRequest::read(&mut stream) {
        log.lock().unwrap().push(request.clone());
        if request.method != "CONNECT" {
            return responses(&request).send(&mut stream);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    }
}

/// Serves sequential TLS requests; returns the port and the certificate to trust.
pub fn encrypted(responses: impl Fn(&RecordedRequest) -> Vec<u8> + Send + 'static) -> (u16, String) {
    let certified_key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(certified_key.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified_key.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            let Some(request) = RecordedRequest::read(&mut stream) else { continue };
            stream.write_all(&responses(&request)).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
    });
    (port, certified_key.cert.pem())
}
