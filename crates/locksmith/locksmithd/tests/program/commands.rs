//! locksmithctl's commands and their exact output.

use crate::store::{METADATA, SEMAPHORE, Store, ctl};

#[test]
fn lock_commands() {
    let store = Store::start();
    let logs = |arguments: &[&str], expect: &str| assert_eq!(store.ctl(arguments), expect, "{arguments:?}");
    let stored = |expect: &str| assert_eq!(store.get(SEMAPHORE).as_deref(), Some(expect));
    logs(&["status"], "Available: 1\nMax: 1\n");
    stored(r#"{"semaphore":1,"max":1,"holders":null}"#);
    logs(&["lock", "b"], "");
    stored(r#"{"semaphore":0,"max":1,"holders":["b"]}"#);
    logs(&["lock", "b"], "err| Error locking: semaphore is at 0\nexit Some(1)\n");
    logs(&["set-max", "3"], "Old-Max: 1\nMax: 3\n");
    logs(&["lock", "b"], "err| Error locking: holder exists\nexit Some(1)\n");
    logs(&["lock", "a"], "");
    logs(&["status"], "Available: 1\nMax: 3\n\nMACHINE ID\na\nb\n");
    logs(&["set-max", "1"], "Old-Max: 3\nMax: 1\n");
    logs(&["status"], "Available: -1\nMax: 1\n\nMACHINE ID\na\nb\n");
    logs(&["unlock", "x"], "err| Error unlocking: holder does not exist\nexit Some(1)\n");
    logs(&["unlock", "a"], "");
    logs(&["unlock", "b"], "");
    stored(r#"{"semaphore":1,"max":1,"holders":[]}"#);
    assert_eq!(store.get(METADATA).as_deref(), Some("{}"));
    logs(&["-group", "web servers", "lock", "x"], "");
    assert_eq!(
        store.get("/coreos.com/updateengine/rebootlock/groups/web+servers/semaphore").as_deref(),
        Some(r#"{"semaphore":0,"max":1,"holders":["x"]}"#)
    );
    logs(&["set-max"], "err| New maximum value must be set.\nexit Some(1)\n");
    logs(&["set-max", "x"], "err| Invalid maximum value: x\nexit Some(1)\n");
    logs(&["set-max", "-1"], "err| Invalid maximum value: -1\nexit Some(1)\n");
    logs(&["set-max", "0"], "Old-Max: 1\nMax: 0\nerr| WARNING: with a maximum of 0 no machine reboots\n");
    logs(
        &["bogus"],
        "locksmithctl: unknown subcommand: \"bogus\"\nRun 'locksmithctl help' for usage.\nexit Some(2)\n",
    );
    assert_eq!(ctl(&["-version"]), "locksmithctl version 0.6.2\n");
    for arguments in [&["help"][..], &[]] {
        let page = ctl(arguments);
        for part in ["NAME:", "USAGE:", "VERSION:", "COMMANDS:", "GLOBAL OPTIONS:"] {
            assert!(page.contains(&format!("{part}\n")), "{page}");
        }
    }
}

#[test]
fn unreachable_store() {
    let output = ctl(&["-endpoint", "http://127.0.0.1:1", "status"]);
    assert_eq!(
        output,
        "err| Error initializing etcd client: client: etcd cluster is unavailable or misconfigured; \
         error #0: dial tcp 127.0.0.1:1: connect: connection refused\nexit Some(1)\n"
    );
    let output = ctl(&["-etcd-keyfile", "/x", "status"]);
    assert_eq!(
        output,
        "err| Error initializing etcd client: -etcd-keyfile: it needs -etcd-cafile too\nexit Some(1)\n"
    );
}

#[test]
fn foreign_values_are_not_overwritten() {
    let store = Store::start();
    store.set(SEMAPHORE, "5");
    let output = store.ctl(&["lock", "a"]);
    assert!(output.starts_with(&format!("err| Error locking: {SEMAPHORE}: ")), "{output}");
    assert_eq!(store.get(SEMAPHORE).as_deref(), Some("5"));
    // Invalid metadata must not prevent locking.
    store.set(SEMAPHORE, r#"{"semaphore":1,"max":1,"holders":["b","a"]}"#);
    store.set(METADATA, "nonsense");
    assert_eq!(store.ctl(&["unlock", "b"]), "");
    assert_eq!(store.get(SEMAPHORE).as_deref(), Some(r#"{"semaphore":2,"max":1,"holders":["a"]}"#));
}

/// Concurrent compare-and-swaps: the loser retries.
#[test]
fn concurrent_commands() {
    let store = Store::start();
    store.ctl(&["set-max", "6"]);
    std::thread::scope(|scope| {
        let store = &store;
        let all: Vec<_> =
            (0..6).map(|number| scope.spawn(move || store.ctl(&["lock", &format!("m{number}")]))).collect();
        for request in all {
            assert_eq!(request.join().unwrap(), "");
        }
    });
    assert_eq!(store.ctl(&["status"]), "Available: 0\nMax: 6\n\nMACHINE ID\nm0\nm1\nm2\nm3\nm4\nm5\n");
    let notes = store.get(METADATA).unwrap();
    assert!((0..6).all(|number| notes.contains(&format!("\"m{number}\""))), "{notes}");
}
