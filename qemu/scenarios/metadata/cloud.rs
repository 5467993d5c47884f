//! A cloud's network services on a cluster's LAN: HTTP at the link-local address, HTTPS and DNS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use machines::cluster::LAN_PREFIX;
use machines::lan_host::LanHost;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

use crate::failure::Failure;
use crate::scenario::Context;
use crate::scenarios::server::join_lan;

/// The address of metadata services.
pub const LINK_LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The address of Azure's fabric.
pub const FABRIC: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
/// Name of the services' port on the switch.
const PORT: &str = "cloud";
/// Last byte of the services' address on the LAN.
const HOST: u8 = 254;
/// Name of the service with a certificate.
pub const ENCRYPTED_NAME: &str = "metadata.packet.net";
/// Names at the link-local address.
const NAMES: [&str; 2] = ["metadata.google.internal", "metadata"];
/// Longest line of a request.
const LINE_MAX: u64 = 4096;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    fn read(stream: &mut impl Read) -> Option<Self> {
        // Byte by byte: what follows the body belongs to nobody.
        let mut reader = BufReader::with_capacity(1, stream.take(16 * LINE_MAX));
        let mut lines = reader.by_ref().lines().map_while(Result::ok);
        let line = lines.next()?;
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        let mut request = Self { method, path, headers: headers.collect(), body: String::new() };
        let length = request.header("content-length").and_then(|length| length.parse().ok());
        reader.take(length.unwrap_or(0)).read_to_string(&mut request.body).ok()?;
        Some(request)
    }

    /// `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }
}

/// Status line without its version, headers with their line ends, and the body.
pub struct Response(pub &'static str, pub String, pub Vec<u8>);

impl Response {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self("200 OK", String::new(), body.into())
    }

    pub fn status(status: &'static str) -> Self {
        // The body must not be taken for the item.
        Self(status, String::new(), format!("<html>{status}</html>").into_bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let Self(status, headers, body) = self;
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }
}

/// The response to a request; `None` is bytes that are no HTTP.
pub type Respond = Box<dyn FnMut(&Request) -> Option<Response> + Send>;

struct State {
    respond: Respond,
    requests: Vec<String>,
}

type Shared = Arc<Mutex<State>>;

/// The services, until the process exits.
pub struct Cloud {
    host: LanHost,
    on_lan: Ipv4Addr,
    state: Shared,
}

impl Cloud {
    /// Joins the LAN of the first machine. Only DNS is served before [`Self::listen`].
    pub fn join(context: &Context<'_>) -> Result<Self, Failure> {
        let [a, b, c, _] = context.machine(1).node()?.address.octets();
        let on_lan = Ipv4Addr::new(a, b, c, HOST);
        let host = join_lan(context, PORT, &[(on_lan, LAN_PREFIX), (LINK_LOCAL, 32), (FABRIC, 32)])?;
        let names = host.bind((LINK_LOCAL, 53)).map_err(failed)?;
        std::thread::spawn(move || serve_names(&names, on_lan));
        let respond: Respond = Box::new(|_| Some(Response::status("404 Not Found")));
        let state = Arc::new(Mutex::new(State { respond, requests: Vec::new() }));
        Ok(Self { host, on_lan, state })
    }

    /// Serves HTTP, and HTTPS for [`ENCRYPTED_NAME`]; returns the certificate to trust.
    pub fn listen(&self) -> Result<String, Failure> {
        let plain = self.host.listen((LINK_LOCAL, 80)).map_err(failed)?;
        let fabric = self.host.listen((FABRIC, 80)).map_err(failed)?;
        let encrypted = self.host.listen((self.on_lan, 443)).map_err(failed)?;
        let (config, certificate) = certified().map_err(failed)?;
        for (listener, config) in [(plain, None), (fabric, None), (encrypted, Some(config))] {
            let state = Arc::clone(&self.state);
            std::thread::spawn(move || serve(&listener, config.as_ref(), &state));
        }
        Ok(certificate)
    }

    /// Sets the service, and forgets the requests to the former one.
    pub fn become_service(&self, respond: Respond) {
        *lock(&self.state) = State { respond, requests: Vec::new() };
    }

    /// Method, path and body of each request.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state).requests.clone()
    }
}

fn lock(state: &Shared) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(source: impl Into<io::Error>) -> Failure {
    Failure::Disk { path: "the network of the metadata services".into(), source: source.into() }
}

fn certified() -> io::Result<(Arc<ServerConfig>, String)> {
    let pair =
        rcgen::generate_simple_self_signed(vec![ENCRYPTED_NAME.to_owned()]).map_err(io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![pair.cert.der().clone()], key))
        .map_err(io::Error::other)?;
    Ok((Arc::new(config), pair.cert.pem()))
}

fn serve(listener: &TcpListener, config: Option<&Arc<ServerConfig>>, state: &Shared) {
    for stream in listener.incoming().map_while(Result::ok) {
        let (state, config) = (Arc::clone(state), config.cloned());
        // A machine whose power is cut leaves connections without an end.
        std::thread::spawn(move || drop(answer(stream, config, &state)));
    }
}

fn answer(mut stream: TcpStream, config: Option<Arc<ServerConfig>>, state: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    let Some(config) = config else { return exchange(&mut stream, state) };
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    exchange(&mut stream, state)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn exchange(stream: &mut (impl Read + Write), state: &Shared) -> io::Result<()> {
    let Some(request) = Request::read(stream) else { return Ok(()) };
    let response = {
        let mut state = lock(state);
        let Request { method, path, body, .. } = &request;
        state.requests.push(format!("{method} {path} {body}").trim_end().to_owned());
        (state.respond)(&request)
    };
    let garbage = b"\0\xff not HTTP \r\n\r\n";
    stream.write_all(&response.map_or(garbage.to_vec(), |response| response.bytes()))
}

/// Answers queries for addresses until the socket fails.
fn serve_names(socket: &UdpSocket, on_lan: Ipv4Addr) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let Some(reply) = buffer.get(..length).and_then(|query| reply(query, on_lan)) else { continue };
        // The machine may have lost its power meanwhile.
        drop(socket.send_to(&reply, from));
    }
}

fn reply(query: &[u8], on_lan: Ipv4Addr) -> Option<Vec<u8>> {
    let mut reply = Packet::parse(query).ok()?.into_reply();
    reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    let question = reply.questions.first()?.clone();
    let name = question.qname.to_string().to_ascii_lowercase();
    let address = match &*name {
        ENCRYPTED_NAME => Some(on_lan),
        name => NAMES.contains(&name).then_some(LINK_LOCAL),
    };
    match address {
        None => *reply.rcode_mut() = RCODE::NameError,
        Some(address) if question.qtype == QTYPE::TYPE(TYPE::A) => {
            let data = RData::A(A { address: address.into() });
            reply.answers.push(ResourceRecord::new(question.qname, CLASS::IN, 60, data));
        }
        // It has no other records.
        Some(_) => {}
    }
    reply.build_bytes_vec().ok()
}
