//! A log is read by another handle while it is written, and when it is not; nothing of it is changed.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use raft_log::{Entry, Log, LogId, Look, OpenError, Options, RealDisk};

/// Small, so that looking meets many segments being made.
const SEGMENT_BYTES: u64 = 64 << 10;
const LOOKS: usize = 60;
/// And until so many entries were there: several segments.
const ENTRIES: u64 = 1000;

fn disk(folder: &Path) -> RealDisk {
    RealDisk::at(folder).expect("a folder")
}

fn options() -> Options {
    let id = LogId::random().expect("random numbers");
    Options { segment_bytes: SEGMENT_BYTES, ..Options::new(id) }
}

fn entry(index: u64) -> Entry {
    let length = (index * 37 % 900) as usize;
    Entry { index, term: index / 10, payload: vec![index as u8; length].into() }
}

/// All entries of a look are as they were written; the index of the last one.
fn check(look: &Look<RealDisk>) -> u64 {
    let Some(last) = look.bounds().last else { return 0 };
    let mut next = 1;
    while next <= last {
        for found in look.read(next..last + 1, 1 << 20).expect("entries that were flushed") {
            assert_eq!(found, entry(next));
            next += 1;
        }
    }
    last
}

#[test]
fn whoever_looks_sees_all_that_was_flushed_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, mut flusher, _) = Log::open(disk(folder.path()), options()).expect("a new log");
    let (flushed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 1;
            while !done.load(Ordering::SeqCst) {
                log.append((next..next + 3).map(entry)).expect("room");
                next += 3;
                if flusher.flush().expect("a flush").maintain {
                    log.maintain().expect("maintenance");
                }
                flushed.store(next - 1, Ordering::SeqCst);
            }
        });
        let (mut looks, mut before) = (0, 0);
        while looks < LOOKS || before < ENTRIES {
            looks += 1;
            before = flushed.load(Ordering::SeqCst);
            // A segment that is made at that moment may be seen half: the next look sees it whole.
            let look = (0..20).find_map(|_| Look::at(disk(folder.path())).ok()).expect("a readable log");
            assert!(look.in_use());
            let last = check(&look);
            assert!(last >= before, "{before} were flushed, {last} are seen");
        }
        done.store(true, Ordering::SeqCst);
    });
}

fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let named = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read(entry.path()).expect("a file"))
    };
    files.map(named).collect()
}

#[test]
fn a_log_that_nobody_uses_is_held_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, mut flusher, _) = Log::open(disk(folder.path()), options()).expect("a new log");
    log.append((1..=300).map(entry)).expect("room");
    flusher.flush().expect("a flush");
    drop((log, flusher));
    let before = content(folder.path());
    let look = Look::at(disk(folder.path())).expect("a log");
    assert!(!look.in_use());
    assert_eq!(check(&look), 300);
    let refused = Log::open(disk(folder.path()), options()).err();
    assert!(matches!(refused, Some(OpenError::Locked { .. })), "{refused:?}");
    drop(look);
    assert_eq!(content(folder.path()), before);
    // What is damaged is not a log that grows.
    let name = before.keys().find(|name| name.ends_with(".log")).expect("a segment");
    let mut bytes = before[name].clone();
    bytes[512 * 3 + 100] ^= 1;
    std::fs::write(folder.path().join(name), bytes).expect("a file");
    let damaged = Look::at(disk(folder.path())).err();
    assert!(matches!(damaged, Some(OpenError::Corrupt(_))), "{damaged:?}");
}
