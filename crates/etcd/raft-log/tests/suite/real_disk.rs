//! The log on a real disk: concurrent threads, a second opener and killed processes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use raft_log::{
    Entry, FlushError, Flusher, Log, LogId, OpenError, Options, Preallocation, Purged, ReadError, RealDisk,
};

use crate::oracle::LogContents;

/// Set for the child that appends until it is killed.
const FOLDER: &str = "RAFT_LOG_TEST_FOLDER";
const SEGMENT_BYTES: u64 = 64 << 10;
const KILLS: usize = 12;
/// Acknowledgements before a kill.
const ACKNOWLEDGED: u64 = 40;

fn open(folder: &Path, cache_bytes: usize) -> Result<(Log, Flusher), OpenError> {
    let id = LogId::random().expect("random numbers");
    let options = Options { segment_bytes: SEGMENT_BYTES, cache_bytes, ..Options::new(id) };
    let disk = RealDisk::at(folder).expect("a folder").with_preallocation(Preallocation::Fill);
    Log::open(Arc::new(disk), options).map(|(log, flusher, _)| (log, flusher))
}

fn entry(index: u64) -> Entry {
    let length = (index * 37 % 900) as usize;
    Entry { index, term: index / 10, payload: vec![index as u8; length].into() }
}

#[test]
fn appending_reading_and_maintenance_run_during_a_flush() {
    const ENTRIES: u64 = 4000;
    let folder = tempfile::tempdir().expect("a folder");
    // Without a cache, entries are read from disk while the adjacent sector is written.
    let (log, mut flusher) = open(folder.path(), 0).expect("a new log");
    let (done, flushed, reads) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut maintain = log.clone();
            loop {
                let last = done.load(Ordering::SeqCst);
                let report = flusher.flush().expect("a flush");
                flushed.store(report.through.0, Ordering::SeqCst);
                if report.maintain {
                    maintain = maintain.clone();
                    maintain.maintain().expect("maintenance");
                }
                if last {
                    break;
                }
            }
        });
        let reader = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let bounds = log.bounds();
                let (Some(first), Some(last)) = (bounds.first, bounds.last) else { continue };
                let start = last.saturating_sub(reads.load(Ordering::SeqCst) % 60).max(first);
                match log.read(start..last + 1, 5000) {
                    Ok(entries) => {
                        for (index, read) in (start..).zip(entries) {
                            assert_eq!(read, entry(index));
                        }
                    }
                    Err(ReadError::Purged { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                reads.fetch_add(1, Ordering::SeqCst);
            }
        });
        for index in 0..ENTRIES {
            log.append([entry(index)]).expect("an entry");
            if index % 500 == 499 {
                let note = bytes::Bytes::new();
                log.purge_to(Purged { index: index - 250, term: 1, note }).expect("a purge");
                // Otherwise appending might finish before anything is read.
                let before = reads.load(Ordering::SeqCst);
                while reads.load(Ordering::SeqCst) == before && !reader.is_finished() {
                    thread::yield_now();
                }
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(flushed.load(Ordering::SeqCst), ENTRIES + ENTRIES / 500);
    let contents = LogContents::of(&log);
    drop((log, flusher));
    let segments = std::fs::read_dir(folder.path()).expect("a listing").count();
    assert!(segments < 20, "purged segments are gone: {segments} files");
    let (log, _flusher) = open(folder.path(), 0).expect("reopened");
    assert_eq!(LogContents::of(&log), contents);
}

#[test]
fn a_second_opener_is_rejected() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = open(folder.path(), 0).expect("a new log");
    let error = open(folder.path(), 0).map(|_| ()).expect_err("in use");
    assert!(error.to_string().contains("is in use by another process"), "{error}");
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    drop(opened);
    assert!(open(folder.path(), 0).is_ok());
}

/// The killed process: appends and flushes forever, and prints what is acknowledged.
#[test]
#[ignore = "started by a_killed_process_loses_nothing_that_it_acknowledged"]
fn child_that_appends_until_it_is_killed() {
    let folder = std::env::var_os(FOLDER).expect(FOLDER);
    let (log, mut flusher) = open(Path::new(&folder), 10_000).expect("a log");
    let mut next = log.bounds().last.map_or(0, |last| last + 1);
    loop {
        let count = next % 7 + 1;
        log.append((next..next + count).map(entry)).expect("entries");
        match flusher.flush() {
            Ok(report) if report.maintain => log.maintain().expect("maintenance"),
            Ok(_) | Err(FlushError::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        next += count;
        println!("acknowledged {}", next - 1);
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let program = std::env::current_exe().expect("this test's program");
    let mut before = 0;
    for round in 0..KILLS {
        let mut child = Command::new(&program)
            .args(["--ignored", "--exact", "real_disk::child_that_appends_until_it_is_killed", "--nocapture"])
            .env(FOLDER, &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut acknowledged = None;
        let mut count = 0;
        // It is killed while writing; lines printed until then count.
        for line in lines.map_while(Result::ok) {
            let Some((_, number)) = line.split_once("acknowledged ") else { continue };
            acknowledged = number.parse::<u64>().ok();
            count += 1;
            if count == ACKNOWLEDGED + round as u64 * 3 {
                child.kill().expect("it runs");
            }
        }
        child.wait().expect("it ended");
        let acknowledged = acknowledged.expect("it said something");
        assert!(acknowledged > before, "{acknowledged} after {before}");
        let (log, _flusher) = open(&path, 0).expect("opens");
        let contents = LogContents::of(&log);
        assert!(contents.last() >= Some(acknowledged), "{:?} of {acknowledged}", contents.last());
        for (index, (term, payload)) in contents.entries {
            assert_eq!(Entry { index, term, payload }, entry(index));
        }
        before = acknowledged;
    }
}
