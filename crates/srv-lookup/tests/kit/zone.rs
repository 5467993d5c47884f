//! A DNS server of a few records, over UDP and TCP as real ones, for tests on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// What one may send over UDP to who did not ask for more.
const DATAGRAM: usize = 512;

/// What is said to one question.
pub enum Says {
    /// Priority, weight, port, target.
    Services(Vec<(u16, u16, u16, String)>),
    #[allow(dead_code, reason = "not every test that has this kit asks for addresses")]
    Address(Ipv4Addr),
    Code(ResponseCode),
    /// Nothing at all.
    Silence,
}

pub struct Zone {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answers = Arc<dyn Fn(&str, RecordType) -> Says + Send + Sync>;

impl Zone {
    /// Serves until the test's process ends. Names come to `answers` without a dot at their end.
    pub fn serve(at: &str, answers: impl Fn(&str, RecordType) -> Says + Send + Sync + 'static) -> Zone {
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
        let Some(answer) = answer("udp", &buffer[..length], asked, answers) else { continue };
        let bytes = match answer.to_vec().unwrap() {
            bytes if bytes.len() > DATAGRAM => answer.truncate().to_vec().unwrap(),
            bytes => bytes,
        };
        socket.send_to(&bytes, from).unwrap();
    }
}

/// One question of one connection.
fn stream_of(mut stream: TcpStream, asked: &Mutex<Vec<String>>, answers: &Answers) {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question).unwrap();
    let Some(answer) = answer("tcp", &question, asked, answers) else { return };
    let bytes = answer.to_vec().unwrap();
    stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&bytes).unwrap();
}

fn answer(way: &str, question: &[u8], asked: &Mutex<Vec<String>>, answers: &Answers) -> Option<Message> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let text = query.name().to_ascii();
    let text = text.trim_end_matches('.');
    asked.lock().unwrap().push(format!("{way} {} {text}", query.query_type()));
    let mut out = Message::response(question.metadata.id, OpCode::Query);
    out.metadata.recursion_desired = question.metadata.recursion_desired;
    out.metadata.recursion_available = true;
    out.add_query(query.clone());
    let record = |data| Record::from_rdata(query.name().clone(), 60, data);
    match answers(text, query.query_type()) {
        Says::Services(services) => {
            for (priority, weight, port, target) in services {
                let labels = target.split('.').filter(|label| !label.is_empty());
                let target = Name::from_labels(labels.map(str::as_bytes)).unwrap();
                out.add_answer(record(RData::SRV(SRV::new(priority, weight, port, target))));
            }
        }
        Says::Address(address) => {
            out.add_answer(record(RData::A(A(address))));
        }
        Says::Code(code) => out.metadata.response_code = code,
        Says::Silence => return None,
    }
    Some(out)
}
