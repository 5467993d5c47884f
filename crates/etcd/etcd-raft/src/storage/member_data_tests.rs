use bytes::Bytes;
use etcd_api::Key;
use etcd_store::{Command, Put};

use super::*;
use crate::raft_types::{Batch, BatchId, Entry};

fn put(key: &str) -> Bytes {
    let key = Key::parse(key).unwrap();
    let put = Put {
        key,
        value: Bytes::from_static(b"1"),
        dir: false,
        expiration: None,
        prev_exist: None,
        prev_value: None,
        prev_index: None,
        refresh: false,
    };
    let mut out = Vec::new();
    Command::Put(put).encode(&mut out);
    out.into()
}

fn append(location: &DataLocation, term: u64, commands: impl IntoIterator<Item = (u64, Bytes)>) {
    let options = raft_log::Options {
        segment_bytes: COPIED_LOG_SEGMENT_BYTES,
        cache_bytes: LOG_CACHE_BYTES,
        new_id: raft_log::LogId::random().unwrap(),
    };
    let (log, mut flusher, _) = Log::open(Arc::new(RealDisk::at(&location.log()).unwrap()), options).unwrap();
    for (index, command) in commands {
        let id = BatchId { origin: 1, incarnation: 1, sequence: index };
        let payload = Payload::Normal(Batch::new(id, [&command].into_iter()));
        let log_id = LogId { leader_id: LeaderId { term, node_id: 1 }, index };
        let payload = codec::entry_record(&Entry { log_id, payload });
        log.append([raft_log::Entry { index, term, payload }]).unwrap();
    }
    flusher.flush().unwrap();
}

/// No member can apply such an entry or any later one. The entries before it can be recovered.
#[test]
fn a_log_with_an_entry_that_cannot_be_read_is_copied_up_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let location = DataLocation { folder: folder.path().join("member"), log: None };
    let last = LogId { leader_id: LeaderId { term: 1, node_id: 1 }, index: 4 };
    let identity = Identity { cluster_id: 1, member_id: 1, disk: 1 };
    let begun = MemberData { identity, store: Store::new(), in_use: false, last };
    begun.write(&location).unwrap();
    let unreadable = Bytes::from_static(b"\xff");
    append(&location, 1, [(5, put("/a")), (6, put("/b")), (7, unreadable), (8, put("/c"))]);
    assert!(matches!(MemberData::read(&location, 0), Err(DataError::Command(7, _))));
    let keys = |entry| MemberData::read_up_to(&location, entry).map(|copy| copy.store.key_count());
    assert_eq!((keys(6).unwrap(), keys(5).unwrap(), keys(4).unwrap()), (2, 1, 0));
    assert!(matches!(keys(7), Err(DataError::Command(7, _))));
    assert!(matches!(keys(3), Err(DataError::Beyond { has: 4, wanted: 3 })));
    // The result is ordinary member data.
    let backup = DataLocation { folder: folder.path().join("backup"), log: None };
    MemberData::read_up_to(&location, 6).unwrap().write(&backup).unwrap();
    assert_eq!(MemberData::read(&backup, 0).unwrap().store.key_count(), 2);
}

/// A checkpoint may be ahead of the log on disk, whose end may then stem from a failed leader.
#[test]
fn what_contradicts_the_checkpoint_is_not_copied() {
    let keys = |checkpoint: LogId| {
        let folder = tempfile::tempdir().unwrap();
        let location = DataLocation { folder: folder.path().join("member"), log: None };
        let identity = Identity { cluster_id: 1, member_id: 1, disk: 1 };
        let state = MemberData { identity, store: Store::new(), in_use: false, last: checkpoint };
        create_folder(&location.folder).unwrap();
        identity::open_or_create(&location.folder, identity.cluster_id, identity.member_id).unwrap();
        state.write_state(&location.folder.join(STATE), identity.member_id).unwrap();
        append(&location, 4, (0..4).map(|index| (index, put(&format!("/{index}")))));
        let copy = MemberData::read(&location, 0).unwrap();
        (copy.store.key_count(), copy.last.index)
    };
    let at = |term, index| LogId { leader_id: LeaderId { term, node_id: 1 }, index };
    assert_eq!(keys(at(5, 2)), (0, 2));
    assert_eq!(keys(at(4, 2)), (1, 3));
    assert_eq!(keys(at(5, 9)), (0, 9));
}
