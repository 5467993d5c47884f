//! The peer protocol for the fuzzer: entry points and their properties. Not part of the public API.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fuzz target says so what does not hold"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use tokio::io::DuplexStream;

use crate::codec::{self, DecodeError, Reader};
use crate::peer::handshake::{Hello, Rejection, VERSIONS, Welcome, send_hello};
use crate::peer::network::accept_upgrade;
use crate::peer::server::{PeerService, PeerSession, ResponseFuture, serve_peer};
use crate::peer::{message, put_frame};
use crate::raft_types::{
    Batch, BatchId, Entry, LeaderId, LogId, Membership, Payload, PeerNode, SnapshotMeta, StoredMembership,
    Types, Vote,
};

const HELLO: Hello = Hello { versions: VERSIONS, cluster_id: 1, from: 2, to: 3, disk: 4 };

/// Runs the accepting side of a connection until it ends.
pub async fn serve(stream: DuplexStream) {
    if let Err(error) = serve_peer(Box::new(stream), Arc::new(FuzzService)).await {
        assert!(!error.to_string().is_empty());
    }
}

/// Runs the dialing side: the handshake, and the HTTP upgrade before it.
pub async fn call(mut stream: DuplexStream) {
    if send_hello(&mut stream, &HELLO).await.is_err() {
        return;
    }
    drop(accept_upgrade(stream).await);
}

struct FuzzService;

impl PeerService for FuzzService {
    fn cluster_id(&self) -> u64 {
        HELLO.cluster_id
    }

    fn admit(&self, hello: &Hello) -> Result<Welcome, Rejection> {
        let version = crate::peer::handshake::negotiate_version(hello.versions).ok_or(Rejection::Version)?;
        if hello.cluster_id == HELLO.cluster_id {
            Ok(Welcome { version, disk: 9 })
        } else {
            Err(Rejection::WrongCluster)
        }
    }

    fn open_session(&self, _: &Hello) -> Box<dyn PeerSession> {
        Box::new(FuzzService)
    }
}

impl PeerSession for FuzzService {
    fn should_close(&mut self) -> bool {
        false
    }

    fn handle(&mut self, kind: u8, contents: Bytes) -> ResponseFuture {
        message(kind, &contents);
        Box::pin(std::future::ready(Ok(contents)))
    }
}

/// What decodes must encode again to bytes that decode to the same value.
fn read_twice<T>(
    contents: &[u8],
    read: impl Fn(Bytes) -> Result<T, DecodeError>,
    write: impl Fn(&T) -> Bytes,
) -> Option<T> {
    let value = match read(Bytes::copy_from_slice(contents)) {
        Ok(value) => value,
        Err(error) => {
            assert!(error.left <= contents.len());
            return None;
        }
    };
    let written = write(&value);
    let Ok(again) = read(written.clone()) else { panic!("what was written cannot be read") };
    assert_eq!(write(&again), written, "it does not come back as itself");
    Some(value)
}

/// Decodes the contents of a message or response by its kind.
pub fn message(kind: u8, contents: &[u8]) {
    const RESPONSE: u8 = message::RESPONSE;
    match kind {
        message::APPEND => {
            if let Some(request) = read_twice(contents, message::read_append, message::append) {
                request.entries.iter().for_each(apply);
            }
        }
        message::VOTE | message::PRE_VOTE => {
            read_twice(contents, message::read_vote, message::vote);
        }
        message::TRANSFER => {
            read_twice(contents, message::read_transfer, message::transfer);
        }
        message::PROPOSE => {
            if let Some(request) = read_twice(contents, message::read_propose, message::propose) {
                commands(&request.batch);
            }
        }
        message::SNAPSHOT_BEGIN => {
            let write = |(vote, meta): &(Vote, SnapshotMeta)| message::snapshot_begin(vote, meta);
            read_twice(contents, message::read_snapshot_begin, write);
        }
        message::SNAPSHOT_CHUNK => records(contents),
        kind if kind == message::APPEND | RESPONSE => {
            read_twice(contents, message::read_append_response, message::append_response);
        }
        kind if kind == message::VOTE | RESPONSE => {
            read_twice(contents, message::read_vote_response, message::vote_response);
        }
        kind if kind == message::TRANSFER | RESPONSE => {
            read_twice(contents, message::read_transfer_response, message::transfer_response);
        }
        kind if kind == message::READ_INDEX | RESPONSE => {
            let write = |log_id: &Option<LogId>| message::read_index_response(log_id.as_ref());
            read_twice(contents, message::read_read_index_response, write);
        }
        kind if kind == message::SNAPSHOT_BEGIN | RESPONSE => {
            read_twice(contents, message::read_snapshot_response, message::snapshot_response);
        }
        _ => {}
    }
}

fn apply(entry: &Entry) {
    if let Payload::Normal(batch) = &entry.payload {
        commands(batch);
    }
}

/// Applies a batch from a leader as a member does.
fn commands(batch: &Batch) {
    let mut store = etcd_store::Store::new();
    for bytes in batch.commands() {
        if let Ok(command) = etcd_store::Command::decode(&mut &bytes[..]) {
            store.apply(&command);
        }
    }
}

/// Decodes a chunk of a snapshot.
fn records(contents: &[u8]) {
    let mut reader = Reader::new(Bytes::copy_from_slice(contents));
    while !reader.is_empty() {
        let (Ok(_key), Ok(_value)) = (reader.bytes(), reader.bytes()) else { return };
    }
}

/// A hello that is accepted.
pub fn hello() -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(b"KSPEERv1");
    out.put_u16(HELLO.versions.0);
    out.put_u16(HELLO.versions.1);
    for number in [HELLO.cluster_id, HELLO.from, HELLO.to] {
        out.put_u64(number);
    }
    out.put_u128(HELLO.disk);
    out.freeze()
}

/// Its response, followed by the HTTP request of an upgrade.
pub fn welcome() -> Bytes {
    let mut out = BytesMut::from(&b"KSPEERv1\0\0\0\x01"[..]);
    out.put_u64(HELLO.cluster_id);
    out.put_u128(9);
    out.put_slice(b"GET /raft HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: keelson-peer\r\n\r\n");
    out.freeze()
}

/// Appends a frame with a valid checksum.
pub fn frame(out: &mut BytesMut, kind: u8, number: u64, contents: &[u8]) {
    put_frame(out, kind, number, contents);
}

/// One sample for each kind of message and response.
pub fn samples() -> Vec<(u8, Bytes)> {
    let leader = LeaderId { term: 4, node_id: 5 };
    let vote = Vote { leader_id: leader, committed: true };
    let log_id = LogId { leader_id: leader, index: 6 };
    let node = PeerNode { peer_urls: vec!["http://127.0.0.1:7001".into()] };
    let members = Membership::new(
        vec![BTreeSet::from([1, 2]), BTreeSet::from([2])],
        BTreeMap::from([(1, node.clone()), (2, node)]),
    );
    let members = members.expect("a membership");
    let mut command = Vec::new();
    etcd_store::Command::RemoveMember { id: 5 }.encode(&mut command);
    let id = BatchId { origin: 1, incarnation: 2, sequence: 3 };
    let batch = Batch::new(id, [Bytes::from(command)].iter());
    let payloads = [Payload::Blank, Payload::Normal(batch.clone()), Payload::Membership(members.clone())];
    let entries = payloads.into_iter().map(|payload| Entry { log_id, payload }).collect();
    let append: AppendEntriesRequest<Types> =
        AppendEntriesRequest { vote, prev_log_id: Some(log_id), entries, leader_commit: Some(log_id) };
    let meta = SnapshotMeta {
        last_log_id: Some(log_id),
        last_membership: StoredMembership::new(Some(log_id), members),
    };
    let mut records = BytesMut::new();
    codec::put_bytes(&mut records, &[0; 9]);
    codec::put_bytes(&mut records, b"value");
    vec![
        (message::APPEND, message::append(&append)),
        (message::VOTE, message::vote(&VoteRequest::new(vote, Some(log_id)))),
        (message::TRANSFER, message::transfer(&TransferLeaderRequest::new(vote, 2, Some(log_id)))),
        (message::PROPOSE, message::propose(&message::Propose { leader, oldest: 3, batch })),
        (message::SNAPSHOT_BEGIN, message::snapshot_begin(&vote, &meta)),
        (message::SNAPSHOT_CHUNK, records.freeze()),
        (
            message::APPEND | message::RESPONSE,
            message::append_response(&AppendEntriesResponse::PartialSuccess(Some(log_id))),
        ),
        (
            message::VOTE | message::RESPONSE,
            message::vote_response(&VoteResponse::new(vote, Some(log_id), true)),
        ),
        (message::TRANSFER | message::RESPONSE, message::transfer_response(&Ok(()))),
        (message::READ_INDEX | message::RESPONSE, message::read_index_response(Some(&log_id))),
        (message::SNAPSHOT_BEGIN | message::RESPONSE, codec_vote(&vote)),
    ]
}

fn codec_vote(vote: &Vote) -> Bytes {
    let mut out = BytesMut::new();
    codec::put_vote(&mut out, vote);
    out.freeze()
}
