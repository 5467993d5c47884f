//! A DNS server of a few records, over UDP and TCP as real ones, for tests on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use simple_dns::rdata::{A, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord};

/// What one may send over UDP to who did not ask for more.
const DATAGRAM: usize = 512;

/// What is said to one question.
pub enum Says {
    /// Priority, weight, port, target.
    Services(Vec<(u16, u16, u16, String)>),
    #[allow(dead_code, reason = "not every test that has this kit asks for addresses")]
    Address(Ipv4Addr),
    Code(RCODE),
    /// Nothing at all.
    Silence,
}

pub struct Zone {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answers = Arc<dyn Fn(&str, &str) -> Says + Send + Sync>;

impl Zone {
    /// Serves until the test's process ends. Names come to `answers` without a dot at their end, with the type that is
    /// asked for, as `SRV`.
    pub fn serve(at: &str, answers: impl Fn(&str, &str) -> Says + Send + Sync + 'static) -> Zone {
        // A port that is free for both: the second is tried until it fits the first.
        let (udp, tcp) = (0..50)
            .find_map(|_| {
                let udp = UdpSocket::bind(at).unwrap();
                let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
                Some((udp, tcp))
            })
            .unwrap();
        let zone = Zone { address: udp.local_addr().unwrap(), asked: Arc::default() };
        let answers: Answers = Arc::new(answers);
        let both = [Arc::clone(&zone.asked), Arc::clone(&zone.asked)];
        let [over_udp, over_tcp] = both.map(|asked| (asked, Arc::clone(&answers)));
        thread::spawn(move || datagrams(&udp, &over_udp.0, &over_udp.1));
        thread::spawn(move || {
            for stream in tcp.incoming() {
                stream_of(stream.unwrap(), &over_tcp.0, &over_tcp.1);
            }
        });
        zone
    }

    /// The questions until now: `udp SRV _etcd-server._tcp.example.test`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn datagrams(socket: &UdpSocket, asked: &Mutex<Vec<String>>, answers: &Answers) {
    let mut buffer = [0; 4096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let question = &buffer[..length];
        let Some(mut bytes) = answer("udp", question, asked, answers) else { continue };
        if bytes.len() > DATAGRAM {
            let mut short = Packet::parse(question).unwrap().into_reply();
            short.set_flags(PacketFlag::TRUNCATION);
            bytes = short.build_bytes_vec().unwrap();
        }
        socket.send_to(&bytes, from).unwrap();
    }
}

/// One question of one connection.
fn stream_of(mut stream: TcpStream, asked: &Mutex<Vec<String>>, answers: &Answers) {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question).unwrap();
    let Some(bytes) = answer("tcp", &question, asked, answers) else { return };
    stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&bytes).unwrap();
}

fn answer(way: &str, question: &[u8], asked: &Mutex<Vec<String>>, answers: &Answers) -> Option<Vec<u8>> {
    let mut out = Packet::parse(question).unwrap().into_reply();
    out.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    let query = out.questions[0].clone();
    let text = query.qname.to_string();
    let kind = match query.qtype {
        QTYPE::TYPE(kind) => format!("{kind:?}"),
        other => format!("{other:?}"),
    };
    asked.lock().unwrap().push(format!("{way} {kind} {text}"));
    let record = |data| ResourceRecord::new(query.qname.clone(), CLASS::IN, 60, data);
    let said = answers(&text, &kind);
    match &said {
        Says::Services(services) => {
            for (priority, weight, port, target) in services {
                let target = Name::new(target.trim_end_matches('.')).unwrap();
                let srv = SRV { priority: *priority, weight: *weight, port: *port, target };
                out.answers.push(record(RData::SRV(srv)));
            }
        }
        Says::Address(address) => out.answers.push(record(RData::A(A { address: (*address).into() }))),
        Says::Code(code) => *out.rcode_mut() = *code,
        Says::Silence => return None,
    }
    Some(out.build_bytes_vec().unwrap())
}
