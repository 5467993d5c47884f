//! One question to one server: a datagram, and a stream where the answer is too long for one.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, SimpleDnsError, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Bytes of a datagram: no server may send more to who does not offer more (RFC 1035, 4.2.1).
const DATAGRAM_MAX: usize = 512;
/// In the third byte of a message: what was too long is left out.
const TRUNCATED: u8 = 0x02;

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// The labels of the target.
    pub target: Vec<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("it is no name of DNS")]
    Name(#[source] SimpleDnsError),
    #[error("the server cannot be asked")]
    Network(#[from] io::Error),
    #[error("the server's answer cannot be read")]
    Answer(#[source] SimpleDnsError),
    #[error("the server's answer is to another question")]
    OtherQuestion,
    #[error("the server answers {0:?}")]
    Code(RCODE),
}

/// The SRV records of `name`, none where there is no such name or it has none.
pub(crate) async fn ask(server: SocketAddr, name: &str) -> Result<Vec<Record>, QueryError> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::from)?;
    let name = Name::new(name).map_err(QueryError::Name)?;
    let question = Question::new(name, QTYPE::TYPE(TYPE::SRV), QCLASS::CLASS(CLASS::IN), false);
    let mut query = Packet::new_query(u16::from_be_bytes(id));
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    query.questions.push(question);
    let bytes = query.build_bytes_vec().map_err(QueryError::Name)?;
    let mut answer = by_datagram(server, &bytes).await?;
    if answer.get(2).is_some_and(|flags| flags & TRUNCATED != 0) {
        answer = by_stream(server, &bytes).await?;
    }
    records(&query, &answer)
}

/// Datagrams that answer another question are passed over: anybody can send one.
async fn by_datagram(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; DATAGRAM_MAX];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answer[..length].starts_with(&query[..2]) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

/// Each message comes behind its length.
async fn by_stream(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn records(query: &Packet<'_>, answer: &[u8]) -> Result<Vec<Record>, QueryError> {
    let answer = Packet::parse(answer).map_err(QueryError::Answer)?;
    let same = |(asked, answered): (&Question<'_>, &Question<'_>)| {
        asked.qname == answered.qname && asked.qtype == answered.qtype && asked.qclass == answered.qclass
    };
    let questions = query.questions.len() == answer.questions.len()
        && query.questions.iter().zip(&answer.questions).all(same);
    if answer.id() != query.id() || !answer.has_flags(PacketFlag::RESPONSE) || !questions {
        return Err(QueryError::OtherQuestion);
    }
    match answer.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        other => return Err(QueryError::Code(other)),
    }
    let found = answer.answers.iter().filter_map(|record| match &record.rdata {
        RData::SRV(srv) => Some(Record {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.as_bytes().map(<[u8]>::to_vec).collect(),
        }),
        // An alias on the way.
        _ => None,
    });
    Ok(found.collect())
}
