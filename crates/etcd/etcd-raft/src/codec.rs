//! The encoding of raft's values in the log, in checkpoints and on the wire: big-endian, length-prefixed. Lengths and
//! counts are validated before use.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::raft_types::{
    Batch, Entry, LeaderId, LogId, Membership, Payload, PeerNode, SnapshotMeta, StoredMembership, Vote,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}, {left} bytes before its end")]
pub struct DecodeError {
    pub what: &'static str,
    pub left: usize,
}

/// Decodes values from the front of a message. Byte strings share its memory.
pub struct Reader {
    bytes: Bytes,
}

type Decoded<T> = Result<T, DecodeError>;

impl Reader {
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    fn require(&self, count: usize, what: &'static str) -> Decoded<()> {
        if self.bytes.len() < count { Err(self.malformed(what)) } else { Ok(()) }
    }

    fn malformed(&self, what: &'static str) -> DecodeError {
        DecodeError { what, left: self.bytes.len() }
    }

    pub fn u8(&mut self) -> Decoded<u8> {
        self.require(1, "byte")?;
        Ok(self.bytes.get_u8())
    }

    pub fn u32(&mut self) -> Decoded<u32> {
        self.require(4, "u32")?;
        Ok(self.bytes.get_u32())
    }

    pub fn u64(&mut self) -> Decoded<u64> {
        self.require(8, "u64")?;
        Ok(self.bytes.get_u64())
    }

    pub fn u128(&mut self) -> Decoded<u128> {
        self.require(16, "u128")?;
        Ok(self.bytes.get_u128())
    }

    pub fn flag(&mut self) -> Decoded<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed("flag")),
        }
    }

    pub fn bytes(&mut self) -> Decoded<Bytes> {
        let length = self.u32()? as usize;
        self.require(length, "bytes")?;
        Ok(self.bytes.split_to(length))
    }

    pub fn string(&mut self) -> Decoded<String> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.malformed("text"))
    }

    pub fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn end(&self) -> Decoded<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.malformed("end")) }
    }

    pub fn leader_id(&mut self) -> Decoded<LeaderId> {
        Ok(LeaderId { term: self.u64()?, node_id: self.u64()? })
    }

    pub fn vote(&mut self) -> Decoded<Vote> {
        Ok(Vote { leader_id: self.leader_id()?, committed: self.flag()? })
    }

    pub fn log_id(&mut self) -> Decoded<LogId> {
        Ok(LogId { leader_id: self.leader_id()?, index: self.u64()? })
    }

    pub fn optional_log_id(&mut self) -> Decoded<Option<LogId>> {
        if self.flag()? { self.log_id().map(Some) } else { Ok(None) }
    }

    pub fn strings(&mut self) -> Decoded<Vec<String>> {
        (0..self.u32()?).map(|_| self.string()).collect()
    }

    pub fn membership(&mut self) -> Decoded<Membership> {
        let mut configs = Vec::new();
        for _ in 0..self.u32()? {
            let ids = (0..self.u32()?).map(|_| self.u64()).collect::<Decoded<BTreeSet<u64>>>()?;
            configs.push(ids);
        }
        let mut nodes = BTreeMap::new();
        for _ in 0..self.u32()? {
            nodes.insert(self.u64()?, PeerNode { peer_urls: self.strings()? });
        }
        Membership::new(configs, nodes).map_err(|_| self.malformed("membership"))
    }

    pub fn stored_membership(&mut self) -> Decoded<StoredMembership> {
        let log_id = self.optional_log_id()?;
        if self.flag()? {
            Ok(StoredMembership::new(log_id, self.membership()?))
        } else {
            Ok(StoredMembership::new(log_id, Membership::default()))
        }
    }

    pub fn snapshot_meta(&mut self) -> Decoded<SnapshotMeta> {
        Ok(SnapshotMeta { last_log_id: self.optional_log_id()?, last_membership: self.stored_membership()? })
    }

    /// Decodes an entry's record, which holds everything but the index.
    pub fn entry(&mut self, index: u64) -> Decoded<Entry> {
        let log_id = LogId { leader_id: self.leader_id()?, index };
        let payload = match self.u8()? {
            BLANK => Payload::Blank,
            NORMAL => {
                let bytes = self.rest();
                Payload::Normal(Batch::from_bytes(bytes).map_err(|_| self.malformed("batch"))?)
            }
            MEMBERSHIP => Payload::Membership(self.membership()?),
            _ => return Err(self.malformed("entry kind")),
        };
        self.end()?;
        Ok(Entry { log_id, payload })
    }
}

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

pub fn put_leader_id(out: &mut BytesMut, id: &LeaderId) {
    out.put_u64(id.term);
    out.put_u64(id.node_id);
}

pub fn put_vote(out: &mut BytesMut, vote: &Vote) {
    put_leader_id(out, &vote.leader_id);
    out.put_u8(vote.committed.into());
}

pub fn put_log_id(out: &mut BytesMut, id: &LogId) {
    put_leader_id(out, &id.leader_id);
    out.put_u64(id.index);
}

pub fn put_optional_log_id(out: &mut BytesMut, id: Option<&LogId>) {
    out.put_u8(id.is_some().into());
    if let Some(id) = id {
        put_log_id(out, id);
    }
}

pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

pub fn put_strings(out: &mut BytesMut, strings: &[String]) {
    out.put_u32(strings.len() as u32);
    for text in strings {
        put_bytes(out, text.as_bytes());
    }
}

pub fn put_membership(out: &mut BytesMut, membership: &Membership) {
    let configs = membership.get_joint_config();
    out.put_u32(configs.len() as u32);
    for config in configs {
        out.put_u32(config.len() as u32);
        for id in config {
            out.put_u64(*id);
        }
    }
    out.put_u32(membership.nodes().count() as u32);
    for (id, node) in membership.nodes() {
        out.put_u64(*id);
        put_strings(out, &node.peer_urls);
    }
}

pub fn put_stored_membership(out: &mut BytesMut, stored: &StoredMembership) {
    put_optional_log_id(out, stored.log_id().as_ref());
    let present = !stored.membership().get_joint_config().is_empty();
    out.put_u8(present.into());
    if present {
        put_membership(out, stored.membership());
    }
}

pub fn put_snapshot_meta(out: &mut BytesMut, meta: &SnapshotMeta) {
    put_optional_log_id(out, meta.last_log_id.as_ref());
    put_stored_membership(out, &meta.last_membership);
}

/// Appends an entry's record, without its index.
pub fn put_entry(out: &mut BytesMut, entry: &Entry) {
    put_leader_id(out, &entry.log_id.leader_id);
    match &entry.payload {
        Payload::Blank => out.put_u8(BLANK),
        Payload::Normal(batch) => {
            out.put_u8(NORMAL);
            out.put_slice(batch.bytes());
        }
        Payload::Membership(membership) => {
            out.put_u8(MEMBERSHIP);
            put_membership(out, membership);
        }
    }
}

pub fn entry_record(entry: &Entry) -> Bytes {
    let size = match &entry.payload {
        Payload::Normal(batch) => 17 + batch.bytes().len(),
        Payload::Blank | Payload::Membership(_) => 256,
    };
    let mut out = BytesMut::with_capacity(size);
    put_entry(&mut out, entry);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft_types::BatchId;

    fn entries() -> Vec<Entry> {
        let node = PeerNode { peer_urls: vec!["http://127.0.0.1:7001".into()] };
        let configs = vec![BTreeSet::from([1, 2]), BTreeSet::from([2])];
        let nodes = BTreeMap::from([(1, node.clone()), (2, node.clone()), (3, node)]);
        let id = BatchId { origin: 1, incarnation: 2, sequence: 3 };
        let commands = [Bytes::from_static(b"command")];
        [
            Payload::Blank,
            Payload::Normal(Batch::new(id, commands.iter())),
            Payload::Membership(Membership::new(configs, nodes).unwrap()),
        ]
        .into_iter()
        .map(|payload| {
            let leader_id = LeaderId { term: 4, node_id: 5 };
            Entry { log_id: LogId { leader_id, index: 6 }, payload }
        })
        .collect()
    }

    #[test]
    fn entries_round_trip_and_truncated_ones_are_rejected() {
        for entry in entries() {
            let record = entry_record(&entry);
            let again = Reader::new(record.clone()).entry(6).unwrap();
            assert_eq!(entry_record(&again), record);
            assert_eq!(again.log_id, entry.log_id);
            for length in 0..record.len() {
                let cut = Reader::new(record.slice(..length)).entry(6);
                assert!(cut.is_err(), "{:?} cut at {length}", entry.payload);
            }
        }
    }
}
