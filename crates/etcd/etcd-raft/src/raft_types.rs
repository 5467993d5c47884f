//! The types that openraft is instantiated with. Commands stay encoded in the log and on the wire. A batch is decoded
//! before it enters the log and when it is applied.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use etcd_store::{Command, DecodeError};

/// A member's peer URLs in raft's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerNode {
    pub peer_urls: Vec<String>,
}

/// The origin of a batch: only this process resolves its callers when the batch is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchId {
    pub origin: u64,
    /// Random for each start, so that a restarted member does not resolve batches of its predecessor.
    pub incarnation: u64,
    pub sequence: u64,
}

/// The encoded commands of one member in one log entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch(Bytes);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a log entry's batch is damaged at byte {0}")]
pub struct MalformedBatch(pub usize);

const BATCH_VERSION: u8 = 1;
const BATCH_HEADER_BYTES: usize = 1 + 3 * 8 + 4;

impl Batch {
    pub fn new<'a>(id: BatchId, commands: impl ExactSizeIterator<Item = &'a Bytes> + Clone) -> Self {
        let size = commands.clone().map(|command| 4 + command.len()).sum::<usize>();
        let mut bytes = BytesMut::with_capacity(BATCH_HEADER_BYTES + size);
        bytes.put_u8(BATCH_VERSION);
        bytes.put_u64(id.origin);
        bytes.put_u64(id.incarnation);
        bytes.put_u64(id.sequence);
        bytes.put_u32(commands.len() as u32);
        for command in commands {
            bytes.put_u32(command.len() as u32);
            bytes.put_slice(command);
        }
        Self(bytes.freeze())
    }

    /// Validates bytes from the log or the wire.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, MalformedBatch> {
        if bytes.len() < BATCH_HEADER_BYTES || bytes[0] != BATCH_VERSION {
            return Err(MalformedBatch(0));
        }
        let batch = Self(bytes);
        let mut at = BATCH_HEADER_BYTES;
        for _ in 0..batch.count() {
            let Some(length) = batch.0.get(at..at + 4) else {
                return Err(MalformedBatch(at));
            };
            let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
            at = at.saturating_add(4 + length);
            if at > batch.0.len() {
                return Err(MalformedBatch(batch.0.len()));
            }
        }
        if at == batch.0.len() { Ok(batch) } else { Err(MalformedBatch(at)) }
    }

    fn number(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_be_bytes(bytes)
    }

    pub fn id(&self) -> BatchId {
        BatchId { origin: self.number(1), incarnation: self.number(9), sequence: self.number(17) }
    }

    fn count(&self) -> u32 {
        u32::from_be_bytes([self.0[25], self.0[26], self.0[27], self.0[28]])
    }

    /// The encoded commands, which share the batch's memory.
    pub fn commands(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut at = BATCH_HEADER_BYTES;
        (0..self.count()).map(move |_| {
            let head = &self.0[at..at + 4];
            let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            at += 4 + length;
            self.0.slice(at - length..at)
        })
    }

    /// The decoded commands. A batch that cannot be decoded must not enter the log: no member could apply it or any
    /// later entry.
    pub fn decode(&self) -> Result<Vec<Command>, DecodeError> {
        self.commands().map(|bytes| Command::decode(&mut &bytes[..])).collect()
    }

    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id();
        write!(formatter, "batch {:x}/{:x}/{}", id.origin, id.incarnation, id.sequence)
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

openraft::declare_raft_types!(
    pub Types:
        D = Batch,
        R = (),
        NodeId = u64,
        Node = PeerNode,
        AsyncRuntime = crate::runtime::Runtime,
);

pub type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
pub type LogId = openraft::alias::LogIdOf<Types>;
pub type Vote = openraft::alias::VoteOf<Types>;
pub type Entry = openraft::alias::EntryOf<Types>;
pub type Payload = openraft::EntryPayload<Batch, u64, PeerNode>;
pub type Membership = openraft::Membership<u64, PeerNode>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: BatchId = BatchId { origin: 7, incarnation: 8, sequence: 9 };

    #[test]
    fn batches_round_trip() {
        let commands = [Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"three")];
        let batch = Batch::new(ID, commands.iter());
        let again = Batch::from_bytes(batch.bytes().clone()).unwrap();
        assert_eq!(again.id(), ID);
        assert_eq!(again.commands().collect::<Vec<_>>(), commands);
    }

    #[test]
    fn truncated_and_extended_batches_are_rejected() {
        let commands = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        let bytes = Batch::new(ID, commands.iter()).bytes().clone();
        for length in 0..bytes.len() {
            assert!(Batch::from_bytes(bytes.slice(..length)).is_err(), "cut at {length}");
        }
        let mut more = BytesMut::from(&bytes[..]);
        more.put_u8(0);
        assert!(Batch::from_bytes(more.freeze()).is_err());
    }
}
