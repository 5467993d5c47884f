//! The messages of the peer protocol, as contents of frames. Entries are encoded as in the log and copied once.

use bytes::{BufMut, Bytes, BytesMut};
use etcd_api::Timestamp;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::codec::{self, DecodeError, Reader};
use crate::raft_types::{Batch, LeaderId, LogId, SnapshotMeta, Types, Vote};
use crate::time::cluster_time::{ReportedTime, TimeReport};

pub const APPEND: u8 = 1;
pub const VOTE: u8 = 2;
pub const PRE_VOTE: u8 = 3;
pub const TRANSFER: u8 = 4;
pub const PROPOSE: u8 = 5;
pub const READ_INDEX: u8 = 6;
pub const PING: u8 = 7;
pub const SNAPSHOT_BEGIN: u8 = 8;
pub const SNAPSHOT_CHUNK: u8 = 9;
pub const SNAPSHOT_END: u8 = 10;
/// The caller rejects this member's disk; the last frame of a connection. Since version 2.
pub const DISK_REJECTED: u8 = 11;
/// The kind of a response is that of its request with this bit set.
pub const RESPONSE: u8 = 0x80;
/// The request failed; the contents are an error message for the log.
pub const FAILED: u8 = 0xff;

type Decoded<T> = Result<T, DecodeError>;

fn malformed<T>(what: &'static str) -> Decoded<T> {
    Err(DecodeError { what, left: 0 })
}

/// The response to a ping. It is empty in version 1 and a byte of flags in early version 2. New fields are appended,
/// and older members ignore them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// Whether the member's disk has free space, as far as reported.
    pub has_disk_space: bool,
    pub time: TimeReport,
}

pub fn pong(pong: &Pong) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    let space = if pong.has_disk_space { 0 } else { NO_DISK_SPACE };
    match pong.time {
        TimeReport::Unsupported => out.put_u8(space),
        TimeReport::Unknown => out.put_u8(space | REPORTS_TIME),
        TimeReport::Known(reported) => {
            out.put_u8(space | REPORTS_TIME | if reported.leads { LEADS } else { 0 });
            out.put_u64(reported.now.unix_nanos());
        }
    }
    out.freeze()
}

/// Decodes a pong of any version.
pub fn read_pong(contents: &[u8]) -> Pong {
    let Some((flags, rest)) = contents.split_first() else {
        return Pong { has_disk_space: true, time: TimeReport::Unsupported };
    };
    let time = match rest.first_chunk() {
        _ if flags & REPORTS_TIME == 0 => TimeReport::Unsupported,
        None => TimeReport::Unknown,
        Some(nanos) => TimeReport::Known(ReportedTime {
            now: Timestamp::from_unix_nanos(u64::from_be_bytes(*nanos)),
            leads: flags & LEADS != 0,
        }),
    };
    Pong { has_disk_space: flags & NO_DISK_SPACE == 0, time }
}

const NO_DISK_SPACE: u8 = 1;
const LEADS: u8 = 2;
const REPORTS_TIME: u8 = 4;

pub fn disk_rejected(disk: u128) -> Bytes {
    Bytes::copy_from_slice(&disk.to_be_bytes())
}

pub fn read_disk_rejected(contents: Bytes) -> Decoded<u128> {
    Reader::new(contents).u128()
}

pub fn append(request: &AppendEntriesRequest<Types>) -> Bytes {
    let payloads = request.entries.iter().map(|entry| match &entry.payload {
        openraft::EntryPayload::Normal(batch) => 32 + batch.bytes().len(),
        _ => 256,
    });
    let mut out = BytesMut::with_capacity(96 + payloads.sum::<usize>());
    codec::put_vote(&mut out, &request.vote);
    codec::put_optional_log_id(&mut out, request.prev_log_id.as_ref());
    codec::put_optional_log_id(&mut out, request.leader_commit.as_ref());
    out.put_u32(request.entries.len() as u32);
    for entry in &request.entries {
        out.put_u64(entry.log_id.index);
        let at = out.len();
        out.put_u32(0);
        codec::put_entry(&mut out, entry);
        let length = (out.len() - at - 4) as u32;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    out.freeze()
}

pub fn read_append(contents: Bytes) -> Decoded<AppendEntriesRequest<Types>> {
    let mut reader = Reader::new(contents);
    let vote = reader.vote()?;
    let prev_log_id = reader.optional_log_id()?;
    let leader_commit = reader.optional_log_id()?;
    let mut entries = Vec::new();
    for _ in 0..reader.u32()? {
        let index = reader.u64()?;
        entries.push(Reader::new(reader.bytes()?).entry(index)?);
    }
    reader.end()?;
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

pub fn append_response(response: &AppendEntriesResponse<Types>) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    match response {
        AppendEntriesResponse::Success => out.put_u8(0),
        AppendEntriesResponse::PartialSuccess(log_id) => {
            out.put_u8(1);
            codec::put_optional_log_id(&mut out, log_id.as_ref());
        }
        AppendEntriesResponse::Conflict => out.put_u8(2),
        AppendEntriesResponse::HigherVote(vote) => {
            out.put_u8(3);
            codec::put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub fn read_append_response(contents: Bytes) -> Decoded<AppendEntriesResponse<Types>> {
    let mut reader = Reader::new(contents);
    match reader.u8()? {
        0 => Ok(AppendEntriesResponse::Success),
        1 => Ok(AppendEntriesResponse::PartialSuccess(reader.optional_log_id()?)),
        2 => Ok(AppendEntriesResponse::Conflict),
        3 => Ok(AppendEntriesResponse::HigherVote(reader.vote()?)),
        _ => malformed("append answer"),
    }
}

pub fn vote(request: &VoteRequest<Types>) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    codec::put_vote(&mut out, &request.vote);
    codec::put_optional_log_id(&mut out, request.last_log_id.as_ref());
    out.put_u8(request.leadership_transfer.into());
    out.freeze()
}

pub fn read_vote(contents: Bytes) -> Decoded<VoteRequest<Types>> {
    let mut reader = Reader::new(contents);
    let mut request = VoteRequest::new(reader.vote()?, reader.optional_log_id()?);
    request.leadership_transfer = reader.flag()?;
    Ok(request)
}

pub fn vote_response(response: &VoteResponse<Types>) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    codec::put_vote(&mut out, &response.vote);
    codec::put_optional_log_id(&mut out, response.last_log_id.as_ref());
    out.put_u8(response.vote_granted.into());
    out.freeze()
}

pub fn read_vote_response(contents: Bytes) -> Decoded<VoteResponse<Types>> {
    let mut reader = Reader::new(contents);
    let (vote, last_log_id) = (reader.vote()?, reader.optional_log_id()?);
    Ok(VoteResponse::new(vote, last_log_id, reader.flag()?))
}

pub fn transfer(request: &TransferLeaderRequest<Types>) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    codec::put_vote(&mut out, request.from_leader());
    out.put_u64(*request.to_node_id());
    codec::put_optional_log_id(&mut out, request.last_log_id());
    out.freeze()
}

pub fn read_transfer(contents: Bytes) -> Decoded<TransferLeaderRequest<Types>> {
    let mut reader = Reader::new(contents);
    let (from, to) = (reader.vote()?, reader.u64()?);
    Ok(TransferLeaderRequest::new(from, to, reader.optional_log_id()?))
}

pub fn transfer_response(response: &TransferLeaderResponse<Types>) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    match response {
        Ok(()) => out.put_u8(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.put_u8(1);
            codec::put_vote(&mut out, expected);
            codec::put_vote(&mut out, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.put_u8(2);
            codec::put_optional_log_id(&mut out, expected.as_ref());
            codec::put_optional_log_id(&mut out, actual.as_ref());
        }
    }
    out.freeze()
}

pub fn read_transfer_response(contents: Bytes) -> Decoded<TransferLeaderResponse<Types>> {
    let mut reader = Reader::new(contents);
    match reader.u8()? {
        0 => Ok(Ok(())),
        1 => Ok(Err(TransferLeaderError::VoteChanged { expected: reader.vote()?, actual: reader.vote()? })),
        2 => Ok(Err(TransferLeaderError::LogNotFlushed {
            expected: reader.optional_log_id()?,
            actual: reader.optional_log_id()?,
        })),
        _ => malformed("transfer answer"),
    }
}

/// A batch for exactly this leadership.
pub struct Propose {
    pub leader: LeaderId,
    /// The first sequence number that the origin still waits for. The leader forgets all lower ones.
    pub oldest: u64,
    pub batch: Batch,
}

pub fn propose(request: &Propose) -> Bytes {
    let mut out = BytesMut::with_capacity(32 + request.batch.bytes().len());
    codec::put_leader_id(&mut out, &request.leader);
    out.put_u64(request.oldest);
    out.put_slice(request.batch.bytes());
    out.freeze()
}

pub fn read_propose(contents: Bytes) -> Decoded<Propose> {
    let mut reader = Reader::new(contents);
    let (leader, oldest) = (reader.leader_id()?, reader.u64()?);
    match Batch::from_bytes(reader.rest()) {
        Ok(batch) => Ok(Propose { leader, oldest, batch }),
        Err(_) => malformed("batch"),
    }
}

/// The log index that a quorum read must wait for; none if this member is not the leader.
pub fn read_index_response(log_id: Option<&LogId>) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    codec::put_optional_log_id(&mut out, log_id);
    out.freeze()
}

pub fn read_read_index_response(contents: Bytes) -> Decoded<Option<LogId>> {
    Reader::new(contents).optional_log_id()
}

pub fn snapshot_begin(vote: &Vote, meta: &SnapshotMeta) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    codec::put_vote(&mut out, vote);
    codec::put_snapshot_meta(&mut out, meta);
    out.freeze()
}

pub fn read_snapshot_begin(contents: Bytes) -> Decoded<(Vote, SnapshotMeta)> {
    let mut reader = Reader::new(contents);
    Ok((reader.vote()?, reader.snapshot_meta()?))
}

pub fn snapshot_response(response: &SnapshotResponse<Types>) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    codec::put_vote(&mut out, &response.vote);
    out.freeze()
}

pub fn read_snapshot_response(contents: Bytes) -> Decoded<SnapshotResponse<Types>> {
    Ok(SnapshotResponse::new(Reader::new(contents).vote()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pongs_round_trip_and_older_versions_are_understood() {
        for has_disk_space in [true, false] {
            let now = Timestamp::from_unix_nanos(u64::MAX - 1);
            let known = |leads| TimeReport::Known(ReportedTime { now, leads });
            let times = [TimeReport::Unsupported, TimeReport::Unknown, known(true), known(false)];
            for response in times.map(|time| Pong { has_disk_space, time }) {
                let bytes = pong(&response);
                assert_eq!(read_pong(&bytes), response);
                // Older members read only the first byte.
                assert_eq!(bytes[0] & NO_DISK_SPACE == 0, has_disk_space);
            }
            let older = [if has_disk_space { 0 } else { NO_DISK_SPACE }];
            assert_eq!(read_pong(&older), Pong { has_disk_space, time: TimeReport::Unsupported });
        }
        // Version 1 sends no contents.
        assert_eq!(read_pong(&[]), Pong { has_disk_space: true, time: TimeReport::Unsupported });
    }
}
