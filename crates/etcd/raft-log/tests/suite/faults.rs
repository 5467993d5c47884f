//! Full disks, failing syncs, a second opener.

use bytes::Bytes;
use raft_log::simulated::{Fate, SimulatedDisk};
use raft_log::{AppendError, Entry, FlushError, MaintainError, OpenError, Purged, StateKey};

use crate::oracle::{LogContents, SEGMENT_BYTES, open};

fn entry(index: u64) -> Entry {
    Entry { index, term: 1, payload: vec![index as u8; 500].into() }
}

/// Raft relies on it: it must send heartbeats while a disk is slow.
#[test]
fn appending_never_touches_the_disk() {
    let disk = SimulatedDisk::new();
    let (log, mut flusher, _) = open(&disk).expect("a new log");
    let steps = disk.steps();
    log.append((0..40).map(entry)).expect("five segments");
    log.set_state(StateKey::new(0), Bytes::from_static(b"vote")).expect("a state");
    log.purge_to(Purged { index: 3, term: 1, note: Bytes::new() }).expect("a purge");
    assert_eq!(disk.steps(), steps);
    flusher.flush().expect("a flush makes them");
    let contents = LogContents::of(&log);
    let (log, _, _) = open(&disk.crash(disk.steps(), Fate::Lost)).expect("opens");
    assert_eq!(LogContents::of(&log), contents);
}

#[test]
fn a_flush_without_space_for_a_segment_is_retried() {
    let disk = SimulatedDisk::new();
    disk.set_space(Some(2 * SEGMENT_BYTES + 100));
    let (log, mut flusher, _) = open(&disk).expect("a new log");
    log.maintain().expect("one in reserve");
    // The current segment and the reserve can be filled although the disk is full.
    let mut index = 0;
    let (error, flushed) = loop {
        let flushed = LogContents::of(&log);
        log.append([entry(index), entry(index + 1)]).expect("memory takes it");
        index += 2;
        if let Err(error) = flusher.flush() {
            break (error, flushed);
        }
        match log.maintain() {
            Ok(()) | Err(MaintainError::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert!(matches!(error, FlushError::Full { .. }), "{error}");
    assert!(index >= 10, "the reserve was used: {index}");
    assert!(matches!(flusher.flush(), Err(FlushError::Full { .. })));
    let (after, _, _) = open(&disk.crash(disk.steps(), Fate::Lost)).expect("opens");
    for (index, entry) in flushed.entries {
        assert_eq!(LogContents::of(&after).entries.get(&index), Some(&entry));
    }

    disk.set_space(Some(SEGMENT_BYTES));
    flusher.flush().expect("there is room again");
    let contents = LogContents::of(&log);
    let after = disk.crash(disk.steps(), Fate::Lost);
    let (log, _, _) = open(&after).expect("opens");
    assert_eq!(LogContents::of(&log), contents);
}

#[test]
fn a_purge_frees_space() {
    let disk = SimulatedDisk::new();
    disk.set_space(Some(2 * SEGMENT_BYTES));
    let (log, mut flusher, _) = open(&disk).expect("a new log");
    let mut index = 0;
    while log.maintain().is_ok() {
        log.append([entry(index)]).expect("memory takes it");
        index += 1;
        flusher.flush().expect("a flush");
    }
    log.purge_to(Purged { index: index - 2, term: 1, note: Bytes::new() }).expect("memory takes it");
    assert!(flusher.flush().expect("room for a small record").maintain);
    log.maintain().expect("the first segment goes, and makes room for the next");
    log.append([entry(index)]).expect("memory takes it");
    flusher.flush().expect("a flush");
    assert_eq!((log.bounds().first, log.bounds().last), (Some(index - 1), Some(index)));
}

#[test]
fn states_survive_the_purge_of_their_segment() {
    let disk = SimulatedDisk::new();
    let (log, mut flusher, _) = open(&disk).expect("a new log");
    log.set_state(StateKey::new(2), Bytes::from_static(b"vote")).expect("a state");
    let first = disk.names();
    for index in 0..40 {
        log.append([entry(index)]).expect("an entry");
    }
    log.purge_to(Purged { index: 38, term: 1, note: Bytes::new() }).expect("a purge");
    flusher.flush().expect("a flush");
    log.maintain().expect("maintenance");
    assert!(first.iter().all(|name| !disk.names().contains(name)), "{first:?} of {:?}", disk.names());
    let contents = LogContents::of(&log);
    let (log, _, _) = open(&disk.crash(disk.steps(), Fate::Lost)).expect("opens");
    assert_eq!(LogContents::of(&log), contents);
    assert_eq!(log.states()[&StateKey::new(2)], "vote");
}

#[test]
fn a_write_without_space_is_retried() {
    let disk = SimulatedDisk::new();
    let (log, mut flusher, _) = open(&disk).expect("a new log");
    log.append((0..3).map(entry)).expect("entries");
    disk.set_full_writes(true);
    for _ in 0..2 {
        assert!(matches!(flusher.flush(), Err(FlushError::Full { .. })));
    }
    log.append([entry(3)]).expect("memory still takes it");
    log.set_state(StateKey::new(0), Bytes::from_static(b"vote")).expect("a state");
    let (steps, contents) = (disk.steps(), LogContents::of(&log));
    for fate in (0..50).map(Fate::Mixed) {
        let (log, _, _) = open(&disk.crash(steps, fate)).expect("half a write is a torn tail");
        assert!(log.bounds().last.is_none_or(|last| last < 3));
    }
    disk.set_full_writes(false);
    assert_eq!(flusher.flush().expect("now").through.0, 5);
    let (log, _, _) = open(&disk.crash(disk.steps(), Fate::Lost)).expect("opens");
    assert_eq!(LogContents::of(&log), contents);
}

/// Fails each sync of a run in turn: the log reports it and nothing works afterwards.
#[test]
fn a_failed_sync_is_permanent() {
    let mut failures = 0;
    for sync in 0..40 {
        let disk = SimulatedDisk::new();
        let (log, mut flusher, _) = open(&disk).expect("a new log");
        disk.fail_sync_after(sync);
        let mut flushed = 0;
        let failed = loop {
            let Ok(_) = log.append((flushed..flushed + 4).map(entry)) else { break false };
            match flusher.flush() {
                Ok(_) => flushed += 4,
                Err(FlushError::Failed(failed)) => {
                    assert!(failed.to_string().contains("stopped after a failure while"), "{failed}");
                    break true;
                }
                Err(error) => panic!("{error}"),
            }
            if flushed > 60 {
                break false;
            }
        };
        if failed {
            failures += 1;
            assert!(matches!(flusher.flush(), Err(FlushError::Failed(_))), "never again");
            assert!(matches!(log.append([entry(flushed + 4)]), Err(AppendError::Failed(_))));
            assert!(matches!(log.maintain(), Err(MaintainError::Failed(_))));
        }
        for seed in 0..20 {
            let (log, _, _) = open(&disk.crash(disk.steps(), Fate::Mixed(seed))).expect("opens");
            assert!(log.bounds().last.map_or(0, |last| last + 1) >= flushed, "sync {sync}, seed {seed}");
        }
    }
    assert!(failures > 10, "{failures}");
}

/// The kernel drops data that it cannot write and reports the error once. Data read afterwards may not be on disk, so
/// opening rewrites it.
#[test]
fn opening_rewrites_what_a_failed_sync_may_have_dropped() {
    let disk = SimulatedDisk::new();
    let (log, mut flusher, _) = open(&disk).expect("a new log");
    log.append([entry(0)]).expect("an entry");
    disk.fail_sync_after(0);
    assert!(flusher.flush().is_err());
    drop((log, flusher));
    let (log, flusher, _) = open(&disk).expect("opens, from the kernel's memory");
    let seen = LogContents::of(&log);
    drop((log, flusher));
    let (log, _, _) = open(&disk.crash(disk.steps(), Fate::Lost)).expect("opens");
    assert_eq!(LogContents::of(&log), seen, "what was served stays");
}

#[test]
fn a_second_opener_is_rejected_and_changes_nothing() {
    let disk = SimulatedDisk::new();
    let (log, flusher, _) = open(&disk).expect("a new log");
    let steps = disk.steps();
    let error = open(&disk).map(|opened| opened.2).expect_err("in use");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert_eq!(disk.steps(), steps);
    drop(log);
    assert!(open(&disk).is_err(), "the flusher is a handle too");
    drop(flusher);
    assert!(open(&disk).is_ok());
}

#[test]
fn non_contiguous_entries_are_rejected() {
    let disk = SimulatedDisk::new();
    let (log, _flusher, _) = open(&disk).expect("a new log");
    log.append([entry(7)]).expect("a new log starts anywhere");
    for wrong in [6, 7, 9] {
        assert!(matches!(log.append([entry(wrong)]), Err(AppendError::Gap { expected: 8, .. })), "{wrong}");
    }
    assert!(log.append([entry(8), entry(10)]).is_err());
    assert_eq!(log.bounds().last, Some(7), "all or nothing");
    let long = Entry { payload: vec![0; SEGMENT_BYTES as usize].into(), ..entry(8) };
    assert!(matches!(log.append([long]), Err(AppendError::TooLong { .. })));
    log.purge_to(Purged { index: 20, term: 1, note: Bytes::new() }).expect("beyond the last one");
    assert!(matches!(log.truncate_from(20), Err(AppendError::Purged { .. })));
    assert!(matches!(log.append([entry(8)]), Err(AppendError::Gap { expected: 21, .. })));
    assert!(log.read(7..8, 100).is_err());
    assert_eq!(log.read(21..30, 100).expect("nothing there yet"), []);
    log.append([entry(21)]).expect("it goes on behind the purge");
}
