//! The first words on a peer connection: who calls whom, in which cluster, with which disk, in
//! which versions of the protocol. It must never let through what the answer would refuse.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::codec::Reader;

/// Versions of the protocol that this program speaks; two members take the highest both know.
pub const VERSIONS: (u16, u16) = (1, VERSION_OF_DISKS);
/// From here on a member knows the disks that the state records, and what `message::OTHER_DISK` is.
pub const VERSION_OF_DISKS: u16 = 2;

const MAGIC: u64 = u64::from_be_bytes(*b"KSPEERv1");
const HELLO_BYTES: usize = 8 + 4 + 8 + 8 + 8 + 16;
const ANSWER_BYTES: usize = 8 + 4 + 8 + 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    pub versions: (u16, u16),
    pub cluster_id: u64,
    pub from: u64,
    pub to: u64,
    /// Names the caller's data directory; one that lost it comes with another.
    pub disk: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it belongs to another cluster")]
    OtherCluster,
    #[error("it is another member than the one that was called")]
    OtherMember,
    #[error("this member was removed from the cluster for good")]
    Removed,
    #[error(
        "this member's data is not what the cluster knows it with: \
         remove the member and add it again"
    )]
    OtherDisk,
    #[error("there is no version of the protocol that both members speak")]
    Version,
    #[error("it refuses for a reason that this version does not know")]
    Unknown,
}

impl Refused {
    fn code(self) -> u16 {
        match self {
            Refused::OtherCluster => 1,
            Refused::OtherMember => 2,
            Refused::Removed => 3,
            Refused::OtherDisk => 4,
            Refused::Version => 5,
            Refused::Unknown => u16::MAX,
        }
    }

    fn from_code(code: u16) -> Self {
        [Self::OtherCluster, Self::OtherMember, Self::Removed, Self::OtherDisk, Self::Version]
            .into_iter()
            .find(|refused| refused.code() == code)
            .unwrap_or(Self::Unknown)
    }
}

/// What the called member says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    pub version: u16,
    pub disk: u128,
}

#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    #[error("the connection broke during the greeting")]
    Io(#[from] std::io::Error),
    #[error("what came is no greeting of a member")]
    NotAMember,
    #[error(transparent)]
    Refused(#[from] Refused),
}

pub fn common_version(theirs: (u16, u16)) -> Option<u16> {
    let highest = VERSIONS.1.min(theirs.1);
    (highest >= VERSIONS.0.max(theirs.0)).then_some(highest)
}

pub async fn say_hello<S>(stream: &mut S, hello: &Hello) -> Result<Welcome, HelloError>
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
    let mut answer = vec![0; ANSWER_BYTES];
    stream.read_exact(&mut answer).await?;
    let mut reader = Reader::new(Bytes::from(answer));
    let malformed = |_| HelloError::NotAMember;
    if reader.u64().map_err(malformed)? != MAGIC {
        return Err(HelloError::NotAMember);
    }
    let codes = reader.u32().map_err(malformed)?;
    let (refused, version) = ((codes >> 16) as u16, codes as u16);
    if refused != 0 {
        return Err(Refused::from_code(refused).into());
    }
    reader.u64().map_err(malformed)?;
    Ok(Welcome { version, disk: reader.u128().map_err(malformed)? })
}

pub async fn hear_hello<S>(stream: &mut S) -> Result<Hello, HelloError>
where
    S: AsyncRead + Unpin + ?Sized,
{
    let mut bytes = vec![0; HELLO_BYTES];
    stream.read_exact(&mut bytes).await?;
    let mut reader = Reader::new(Bytes::from(bytes));
    let malformed = |_| HelloError::NotAMember;
    if reader.u64().map_err(malformed)? != MAGIC {
        return Err(HelloError::NotAMember);
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

pub async fn answer_hello<S>(
    stream: &mut S,
    cluster_id: u64,
    answer: Result<Welcome, Refused>,
) -> std::io::Result<()>
where
    S: AsyncWrite + Unpin + ?Sized,
{
    let mut out = BytesMut::with_capacity(ANSWER_BYTES);
    out.put_u64(MAGIC);
    out.put_u16(answer.err().map_or(0, Refused::code));
    out.put_u16(answer.map_or(0, |welcome| welcome.version));
    out.put_u64(cluster_id);
    out.put_u128(answer.map_or(0, |welcome| welcome.disk));
    stream.write_all(&out).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Hello = Hello { versions: VERSIONS, cluster_id: 1, from: 2, to: 3, disk: 4 };

    async fn greet(answer: Result<Welcome, Refused>) -> Result<Welcome, HelloError> {
        let (mut near, mut far) = tokio::io::duplex(256);
        let called = async {
            assert_eq!(hear_hello(&mut far).await.unwrap(), HELLO);
            answer_hello(&mut far, 1, answer).await.unwrap();
        };
        tokio::join!(say_hello(&mut near, &HELLO), called).0
    }

    #[tokio::test]
    async fn a_welcome_and_every_refusal_come_through() {
        let welcome = Welcome { version: 1, disk: 9 };
        assert_eq!(greet(Ok(welcome)).await.unwrap(), welcome);
        for code in 1..=5 {
            let refused = Refused::from_code(code);
            assert_ne!(refused, Refused::Unknown);
            assert!(matches!(greet(Err(refused)).await, Err(HelloError::Refused(r)) if r == refused));
        }
    }

    #[tokio::test]
    async fn a_stranger_is_noticed() {
        let (mut near, mut far) = tokio::io::duplex(256);
        near.write_all(&[b'G'; HELLO_BYTES]).await.unwrap();
        assert!(matches!(hear_hello(&mut far).await, Err(HelloError::NotAMember)));
    }

    #[test]
    fn neighbouring_versions_find_each_other() {
        assert_eq!(common_version((1, 1)), Some(1));
        assert_eq!(common_version((1, 9)), Some(2));
        assert_eq!(common_version((2, 9)), Some(2));
        assert_eq!(common_version((3, 9)), None);
    }
}
