//! A query to one server: over UDP, and over TCP if the response is truncated.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, SimpleDnsError, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Maximum size of a datagram without EDNS (RFC 1035, 4.2.1).
const DATAGRAM_MAX: usize = 512;
/// The TC bit in the third byte of a message.
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

/// Why one server's response is unusable.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum QueryError {
    #[error("it is no name of DNS")]
    Name(#[source] SimpleDnsError),
    #[error("the server cannot be asked")]
    Network(#[from] io::Error),
    #[error("malformed response")]
    Answer(#[source] SimpleDnsError),
    #[error("response to another question")]
    OtherQuestion,
    #[error("response code {0:?}")]
    Code(RCODE),
}

/// The SRV records of `name`; none if the name does not exist or has none.
pub(crate) async fn query(server: SocketAddr, name: &str) -> Result<Vec<Record>, QueryError> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::from)?;
    let name = Name::new(name).map_err(QueryError::Name)?;
    let question = Question::new(name, QTYPE::TYPE(TYPE::SRV), QCLASS::CLASS(CLASS::IN), false);
    let mut query = Packet::new_query(u16::from_be_bytes(id));
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    query.questions.push(question);
    let bytes = query.build_bytes_vec().map_err(QueryError::Name)?;
    let mut response = query_udp(server, &bytes).await?;
    if response.get(2).is_some_and(|flags| flags & TRUNCATED != 0) {
        response = query_tcp(server, &bytes).await?;
    }
    records(&query, &response)
}

/// Datagrams with another id or question are ignored, since anybody can send them.
async fn query_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut response = vec![0; DATAGRAM_MAX];
    loop {
        let length = socket.recv(&mut response).await?;
        if response[..length].starts_with(&query[..2]) {
            response.truncate(length);
            return Ok(response);
        }
    }
}

/// Each message follows its length.
async fn query_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut response = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut response).await?;
    Ok(response)
}

fn records(query: &Packet<'_>, response: &[u8]) -> Result<Vec<Record>, QueryError> {
    let response = Packet::parse(response).map_err(QueryError::Answer)?;
    let same = |(queried_name, answered): (&Question<'_>, &Question<'_>)| {
        queried_name.qname == answered.qname
            && queried_name.qtype == answered.qtype
            && queried_name.qclass == answered.qclass
    };
    let questions = query.questions.len() == response.questions.len()
        && query.questions.iter().zip(&response.questions).all(same);
    if response.id() != query.id() || !response.has_flags(PacketFlag::RESPONSE) || !questions {
        return Err(QueryError::OtherQuestion);
    }
    match response.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        other => return Err(QueryError::Code(other)),
    }
    let lookup_text = response.answers.iter().filter_map(|record| match &record.rdata {
        RData::SRV(srv) => Some(Record {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.as_bytes().map(<[u8]>::to_vec).collect(),
        }),
        // A CNAME of the name.
        _ => None,
    });
    Ok(lookup_text.collect())
}
