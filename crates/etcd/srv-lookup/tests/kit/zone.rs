//! A DNS server with a few records, over UDP and TCP, for tests on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use simple_dns::rdata::{A, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord};

/// Maximum size of a UDP response without EDNS.
const MAX_DATAGRAM: usize = 512;

/// The reply to one query.
pub enum DnsReply {
    /// Priority, weight, port, target.
    Services(Vec<(u16, u16, u16, String)>),
    #[allow(dead_code, reason = "not every test that has this kit asks for addresses")]
    Address(Ipv4Addr),
    Code(RCODE),
    /// No response.
    Silence,
}

pub struct Zone {
    pub address: SocketAddr,
    queries: Arc<Mutex<Vec<String>>>,
}

type Resolve = Arc<dyn Fn(&str, &str) -> DnsReply + Send + Sync>;

impl Zone {
    /// Serves until the test process exits. `resolve` maps a name without its final dot and a query type such as
    /// `SRV` to a reply.
    pub fn serve(at: &str, resolve: impl Fn(&str, &str) -> DnsReply + Send + Sync + 'static) -> Zone {
        // Retries until the same port is free for both.
        let (udp, tcp) = (0..50)
            .find_map(|_| {
                let udp = UdpSocket::bind(at).unwrap();
                let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
                Some((udp, tcp))
            })
            .unwrap();
        let zone = Zone { address: udp.local_addr().unwrap(), queries: Arc::default() };
        let resolve: Resolve = Arc::new(resolve);
        let both = [Arc::clone(&zone.queries), Arc::clone(&zone.queries)];
        let [over_udp, over_tcp] = both.map(|queries| (queries, Arc::clone(&resolve)));
        thread::spawn(move || serve_udp(&udp, &over_udp.0, &over_udp.1));
        thread::spawn(move || {
            for stream in tcp.incoming() {
                serve_tcp(stream.unwrap(), &over_tcp.0, &over_tcp.1);
            }
        });
        zone
    }

    /// The queries so far, as `udp SRV _etcd-server._tcp.example.test`.
    pub fn queries(&self) -> Vec<String> {
        self.queries.lock().unwrap().clone()
    }
}

fn serve_udp(socket: &UdpSocket, queries: &Mutex<Vec<String>>, resolve: &Resolve) {
    let mut buffer = [0; 4096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let question = &buffer[..length];
        let Some(mut bytes) = response("udp", question, queries, resolve) else { continue };
        if bytes.len() > MAX_DATAGRAM {
            let mut truncated = Packet::parse(question).unwrap().into_reply();
            truncated.set_flags(PacketFlag::TRUNCATION);
            bytes = truncated.build_bytes_vec().unwrap();
        }
        socket.send_to(&bytes, from).unwrap();
    }
}

/// Responds to one query per connection.
fn serve_tcp(mut stream: TcpStream, queries: &Mutex<Vec<String>>, resolve: &Resolve) {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question).unwrap();
    let Some(bytes) = response("tcp", &question, queries, resolve) else { return };
    stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&bytes).unwrap();
}

fn response(
    transport: &str,
    question: &[u8],
    queries: &Mutex<Vec<String>>,
    resolve: &Resolve,
) -> Option<Vec<u8>> {
    let mut out = Packet::parse(question).unwrap().into_reply();
    out.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    let query = out.questions[0].clone();
    let text = query.qname.to_string();
    let kind = match query.qtype {
        QTYPE::TYPE(kind) => format!("{kind:?}"),
        other => format!("{other:?}"),
    };
    queries.lock().unwrap().push(format!("{transport} {kind} {text}"));
    let record = |data| ResourceRecord::new(query.qname.clone(), CLASS::IN, 60, data);
    let reply = resolve(&text, &kind);
    match &reply {
        DnsReply::Services(services) => {
            for (priority, weight, port, target) in services {
                let target = Name::new(target.trim_end_matches('.')).unwrap();
                let srv = SRV { priority: *priority, weight: *weight, port: *port, target };
                out.answers.push(record(RData::SRV(srv)));
            }
        }
        DnsReply::Address(address) => out.answers.push(record(RData::A(A { address: (*address).into() }))),
        DnsReply::Code(code) => *out.rcode_mut() = *code,
        DnsReply::Silence => return None,
    }
    Some(out.build_bytes_vec().unwrap())
}
