//! The handshake of a peer connection: cluster, caller, callee, disk and protocol versions.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::codec::Reader;

/// The supported protocol versions. Two members use the highest common one.
pub const VERSIONS: (u16, u16) = (1, DISK_RECORDS_VERSION);
/// The first version with disk records in the state and `message::DISK_REJECTED`.
pub const DISK_RECORDS_VERSION: u16 = 2;

const MAGIC: u64 = u64::from_be_bytes(*b"KSPEERv1");
const HELLO_BYTES: usize = 8 + 4 + 8 + 8 + 8 + 16;
const RESPONSE_BYTES: usize = 8 + 4 + 8 + 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    pub versions: (u16, u16),
    pub cluster_id: u64,
    pub from: u64,
    pub to: u64,
    /// Identifies the caller's data directory. A lost directory is recreated with another id.
    pub disk: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("it belongs to another cluster")]
    WrongCluster,
    #[error("it is another member than the one that was called")]
    WrongMember,
    #[error("this member was removed from the cluster for good")]
    Removed,
    #[error(
        "this member's data is not what the cluster knows it with: \
         remove the member and add it again"
    )]
    WrongDisk,
    #[error("no common version of the peer protocol")]
    Version,
    #[error("refused for an unknown reason")]
    Unknown,
}

impl Rejection {
    fn code(self) -> u16 {
        match self {
            Rejection::WrongCluster => 1,
            Rejection::WrongMember => 2,
            Rejection::Removed => 3,
            Rejection::WrongDisk => 4,
            Rejection::Version => 5,
            Rejection::Unknown => u16::MAX,
        }
    }

    fn from_code(code: u16) -> Self {
        [Self::WrongCluster, Self::WrongMember, Self::Removed, Self::WrongDisk, Self::Version]
            .into_iter()
            .find(|refused| refused.code() == code)
            .unwrap_or(Self::Unknown)
    }
}

/// The accepting member's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    pub version: u16,
    pub disk: u128,
}

#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("the connection broke during the greeting")]
    Io(#[from] std::io::Error),
    #[error("what came is no greeting of a member")]
    NotAMember,
    #[error(transparent)]
    Rejection(#[from] Rejection),
}

pub fn negotiate_version(theirs: (u16, u16)) -> Option<u16> {
    let highest = VERSIONS.1.min(theirs.1);
    (highest >= VERSIONS.0.max(theirs.0)).then_some(highest)
}

pub async fn send_hello<S>(stream: &mut S, hello: &Hello) -> Result<Welcome, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let mut out = BytesMut::with_capacity(HELLO_BYTES);
    out.put_u64(MAGIC);
    out.put_u16(hello.versions.0);
    out.put_u16(hello.versions.1);
    out.put_u64(hello.cluster_id);
    out.put_u64(hello.from);
    out.put_u64(hello.to);
    out.put_u128(hello.disk);
    stream.write_all(&out).await?;
    stream.flush().await?;
    let mut response = vec![0; RESPONSE_BYTES];
    stream.read_exact(&mut response).await?;
    let mut reader = Reader::new(Bytes::from(response));
    let malformed = |_| HandshakeError::NotAMember;
    if reader.u64().map_err(malformed)? != MAGIC {
        return Err(HandshakeError::NotAMember);
    }
    let codes = reader.u32().map_err(malformed)?;
    let (refused, version) = ((codes >> 16) as u16, codes as u16);
    if refused != 0 {
        return Err(Rejection::from_code(refused).into());
    }
    reader.u64().map_err(malformed)?;
    Ok(Welcome { version, disk: reader.u128().map_err(malformed)? })
}

pub async fn receive_hello<S>(stream: &mut S) -> Result<Hello, HandshakeError>
where
    S: AsyncRead + Unpin + ?Sized,
{
    let mut bytes = vec![0; HELLO_BYTES];
    stream.read_exact(&mut bytes).await?;
    let mut reader = Reader::new(Bytes::from(bytes));
    let malformed = |_| HandshakeError::NotAMember;
    if reader.u64().map_err(malformed)? != MAGIC {
        return Err(HandshakeError::NotAMember);
    }
    let versions = reader.u32().map_err(malformed)?;
    Ok(Hello {
        versions: ((versions >> 16) as u16, versions as u16),
        cluster_id: reader.u64().map_err(malformed)?,
        from: reader.u64().map_err(malformed)?,
        to: reader.u64().map_err(malformed)?,
        disk: reader.u128().map_err(malformed)?,
    })
}

pub async fn respond_hello<S>(
    stream: &mut S,
    cluster_id: u64,
    response: Result<Welcome, Rejection>,
) -> std::io::Result<()>
where
    S: AsyncWrite + Unpin + ?Sized,
{
    let mut out = BytesMut::with_capacity(RESPONSE_BYTES);
    out.put_u64(MAGIC);
    out.put_u16(response.err().map_or(0, Rejection::code));
    out.put_u16(response.map_or(0, |welcome| welcome.version));
    out.put_u64(cluster_id);
    out.put_u128(response.map_or(0, |welcome| welcome.disk));
    stream.write_all(&out).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Hello = Hello { versions: VERSIONS, cluster_id: 1, from: 2, to: 3, disk: 4 };

    async fn handshake(response: Result<Welcome, Rejection>) -> Result<Welcome, HandshakeError> {
        let (mut near, mut far) = tokio::io::duplex(256);
        let called = async {
            assert_eq!(receive_hello(&mut far).await.unwrap(), HELLO);
            respond_hello(&mut far, 1, response).await.unwrap();
        };
        tokio::join!(send_hello(&mut near, &HELLO), called).0
    }

    #[tokio::test]
    async fn welcome_and_rejections_round_trip() {
        let welcome = Welcome { version: 1, disk: 9 };
        assert_eq!(handshake(Ok(welcome)).await.unwrap(), welcome);
        for code in 1..=5 {
            let refused = Rejection::from_code(code);
            assert_ne!(refused, Rejection::Unknown);
            assert!(
                matches!(handshake(Err(refused)).await, Err(HandshakeError::Rejection(r)) if r == refused)
            );
        }
    }

    #[tokio::test]
    async fn another_protocol_is_rejected() {
        let (mut near, mut far) = tokio::io::duplex(256);
        near.write_all(&[b'G'; HELLO_BYTES]).await.unwrap();
        assert!(matches!(receive_hello(&mut far).await, Err(HandshakeError::NotAMember)));
    }

    #[test]
    fn the_highest_common_version_is_chosen() {
        assert_eq!(negotiate_version((1, 1)), Some(1));
        assert_eq!(negotiate_version((1, 9)), Some(2));
        assert_eq!(negotiate_version((2, 9)), Some(2));
        assert_eq!(negotiate_version((3, 9)), None);
    }
}
