//! Trees of maximum depth, and nodes that expire simultaneously.

use bytes::Bytes;
use etcd_api::{Action, ErrorCode, Key, MAX_KEY_LEVELS, Timestamp};
use etcd_store::{Change, Command, CommandError, Delete, Post, Put, Restore, Store};

fn put(path: &str, expiration: Option<u64>) -> Command {
    Command::Put(Put {
        key: Key::parse(path).unwrap(),
        value: Bytes::from_static(b"v"),
        dir: false,
        expiration: expiration.map(Timestamp::from_unix_nanos),
        prev_exist: None,
        prev_value: None,
        prev_index: None,
        refresh: false,
    })
}

/// The stack size of a runtime's threads.
const STACK_BYTES: usize = 2 << 20;

#[test]
fn the_deepest_tree_does_not_overflow_the_stack() {
    let deepest = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| {
        let path = "/a".repeat(MAX_KEY_LEVELS);
        let mut store = Store::new();
        assert!(store.apply(&put(&path, Some(5))).result.is_ok());
        let listing = store.get(&Key::root(), true).unwrap();
        let json = listing.to_json_line(Timestamp::from_unix_nanos(0));
        assert_eq!(json.windows(5).filter(|part| part == b"\"key\"").count(), MAX_KEY_LEVELS);
        drop(listing);
        let mut restore = Restore::new();
        for record in store.snapshot().records() {
            restore.add(record.table, record.key, &record.bytes.unwrap()).unwrap();
        }
        let mut restored = restore.finish().unwrap();
        assert_eq!(restored.next_expiration(), Some(Timestamp::from_unix_nanos(5)));
        let post = Post {
            key: Key::parse(&path).unwrap().parent().unwrap(),
            value: Bytes::new(),
            dir: true,
            expiration: None,
        };
        assert!(restored.apply(&Command::Post(post.clone())).result.is_ok());
        let too_deep = Post { key: Key::parse(&path).unwrap(), ..post };
        let outcome = restored.apply(&Command::Post(too_deep));
        assert!(
            matches!(outcome.result, Err(CommandError::Keys(error)) if error.code == ErrorCode::InvalidForm)
        );
        let delete = Delete {
            key: Key::parse("/a").unwrap(),
            dir: false,
            recursive: true,
            prev_value: None,
            prev_index: None,
        };
        assert!(restored.apply(&Command::Delete(delete)).result.is_ok());
        assert_eq!(restored.next_expiration(), None);
        assert_eq!(restored.get(&Key::root(), true).unwrap().node.nodes, []);
    });
    deepest.unwrap().join().unwrap();
}

#[test]
fn nodes_expire_by_time_then_key() {
    let mut store = Store::new();
    for (path, at) in [("/d/x", 3), ("/b", 2), ("/a", 3), ("/c", 3), ("/late", 9), ("/d/early", 1)] {
        store.apply(&put(path, Some(at)));
    }
    let directory =
        Put { dir: true, prev_exist: Some(true), value: Bytes::new(), ..as_put(put("/d", Some(3))) };
    store.apply(&Command::Put(directory));
    let before = store.index();
    let outcome = store.apply(&Command::Sync { now: Timestamp::from_unix_nanos(3) });
    let Ok(Change::Expired(events)) = &outcome.result else { panic!("{outcome:?}") };
    let removed: Vec<_> = events.iter().map(|event| (event.node.key.to_string(), event.index())).collect();
    let expect = ["/d/early", "/b", "/a", "/c", "/d"].map(str::to_owned).into_iter().zip(before + 1..);
    assert_eq!(removed, expect.collect::<Vec<_>>());
    assert!(events.iter().all(|event| event.action == Action::Expire));
    assert_eq!((outcome.index, store.index()), (before + 5, before + 5));
    assert!(events[4].node.dir && events[4].prev_node.as_ref().unwrap().dir);
    assert_eq!(store.next_expiration(), Some(Timestamp::from_unix_nanos(9)));
    assert_eq!(store.statistics().expire_count, 5);
    let nothing = store.apply(&Command::Sync { now: Timestamp::from_unix_nanos(8) });
    assert_eq!((nothing.result, nothing.index), (Ok(Change::Expired(Vec::new())), before + 5));
}

fn as_put(command: Command) -> Put {
    let Command::Put(put) = command else { panic!("{command:?}") };
    put
}
