//! Damage is detected, located and never served.

use std::sync::Arc;

use proptest::prelude::*;
use raft_log::simulated::SimulatedDisk;
use raft_log::{LogId, OpenError, ReadError};

use crate::oracle::{LogContents, Operation, TestLog, open};

fn filled() -> TestLog {
    let mut operations = vec![Operation::State(1, 30)];
    for round in 0..5 {
        operations.push(Operation::Append(vec![round * 90, 700, 20, 0]));
        operations.push(Operation::Flush);
    }
    let mut run = TestLog::with(SimulatedDisk::new(), &operations);
    run.close();
    run
}

fn segments(disk: &SimulatedDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.ends_with(".log")).collect()
}

#[test]
fn every_flipped_bit_of_flushed_data_is_located() {
    let run = filled();
    let names = segments(&run.disk);
    assert!(names.len() > 1, "more than one segment is tried: {names:?}");
    let (mut found, mut harmless) = (0, 0);
    for name in &names {
        let whole = run.disk.content(name).expect("its bytes");
        // Every byte, with a different bit each time.
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            let disk = run.disk.with_content(name, flipped.clone());
            match open(&disk) {
                Err(OpenError::Corrupt(corruption)) => {
                    assert_eq!(&corruption.file, name);
                    assert!(corruption.offset / 512 == at as u64 / 512, "byte {at}: {corruption}");
                    found += 1;
                }
                Err(OpenError::UnknownVersion { .. }) if (8..12).contains(&at) => found += 1,
                Err(OpenError::Foreign { .. }) => panic!("byte {at}: the header's checksum comes first"),
                Err(other) => panic!("byte {at} of {name}: {other}"),
                Ok((log, _, _)) => {
                    // Nothing is ever written past the end of a sealed segment. The last segment is checked
                    // completely.
                    assert_ne!(Some(name), names.last(), "byte {at}");
                    assert_eq!(LogContents::of(&log), run.now());
                    assert!(whole[at / 512 * 512..][..512].iter().all(|byte| *byte == 0), "byte {at}");
                    harmless += 1;
                }
            }
            if disk.steps() > 0 {
                assert!(open(&disk).is_ok(), "only what opened was written to");
            } else {
                assert_eq!(disk.content(name), Some(flipped), "nothing is touched");
            }
        }
    }
    assert!(found > 10 * harmless / 5 && found > 0, "{found} found, {harmless} behind the ends");
}

#[test]
fn a_sector_lost_before_the_last_flush_is_located() {
    let run = filled();
    let names = segments(&run.disk);
    for name in &names {
        let whole = run.disk.content(name).expect("its bytes");
        let used: Vec<_> = whole.chunks(512).map(|sector| sector.iter().any(|byte| *byte != 0)).collect();
        // The last flush has at most these sectors; the sector before them was acknowledged.
        let last_used = used.iter().rposition(|used| *used).expect("a used sector");
        let acknowledged =
            if Some(name) == names.last() { last_used.saturating_sub(3) } else { last_used + 1 };
        for number in 1..acknowledged {
            let mut lost = whole.clone();
            lost[number * 512..(number + 1) * 512].fill(0);
            match open(&run.disk.with_content(name, lost)) {
                Err(OpenError::Corrupt(corruption)) => {
                    assert_eq!((&corruption.file, corruption.offset / 512), (name, number as u64));
                }
                other => panic!("{name}, sector {number}: {:?}", other.map(|opened| opened.2)),
            }
        }
    }
}

#[test]
fn later_damage_is_detected_by_reads() {
    let run = filled();
    let name = segments(&run.disk)[0].clone();
    let (log, _flusher, _) = open(&run.disk).expect("whole");
    let mut bytes = run.disk.content(&name).expect("its bytes");
    bytes[600] ^= 4;
    run.disk.overwrite(&name, &bytes);
    match log.read(0..100, usize::MAX) {
        Err(ReadError::Corrupt(corruption)) => {
            assert_eq!((corruption.file.as_str(), corruption.offset), (name.as_str(), 512));
        }
        other => panic!("{other:?}"),
    }
    let bounds = log.bounds();
    let last = bounds.last.expect("entries");
    assert_eq!(log.read(last..last + 1, 0).expect("the rest can be read").len(), 1);
}

#[test]
fn foreign_and_missing_segments_are_located() {
    let run = filled();
    let names = segments(&run.disk);
    let gap = run.disk.without(&names[1]);
    if names.len() > 2 {
        assert!(matches!(open(&gap), Err(OpenError::Missing { expected, .. }) if expected == names[1]));
    }
    let start = run.disk.without(&names[0]);
    assert!(matches!(open(&start), Err(OpenError::Missing { .. })));

    let other = SimulatedDisk::new();
    let options = raft_log::Options {
        segment_bytes: crate::oracle::SEGMENT_BYTES,
        ..raft_log::Options::new(LogId([8; 16]))
    };
    let (log, mut flusher, _) = raft_log::Log::open(Arc::new(other.clone()), options).expect("a new log");
    for index in 0..20 {
        let payload = vec![3; 400].into();
        log.append([raft_log::Entry { index, term: 1, payload }]).expect("an entry");
    }
    flusher.flush().expect("a flush");
    let mixed = run.disk.with_content(&names[1], other.content(&names[1]).expect("its bytes"));
    assert!(matches!(open(&mixed), Err(OpenError::Foreign { .. })));
}

#[test]
fn an_unknown_version_is_rejected() {
    let run = filled();
    let name = segments(&run.disk).pop().expect("a segment");
    let mut bytes = run.disk.content(&name).expect("its bytes");
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let disk = run.disk.with_content(&name, bytes);
    let error = open(&disk).map(|opened| opened.2).expect_err("version 2");
    assert_eq!(error.to_string(), format!("{name} has format version 2, supported is 1"));
    assert_eq!(disk.steps(), 0);
}

#[derive(Clone, Debug)]
enum Garbage {
    /// Replaces the file.
    Whole(Vec<u8>),
    /// Overwrites a part of the file.
    Patch(usize, Vec<u8>),
    /// Copies sectors to another position.
    Move(usize, usize, usize),
    Cut(usize),
}

fn garbage() -> impl Strategy<Value = Garbage> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..9000).prop_map(Garbage::Whole),
        (0_usize..4096, prop::collection::vec(any::<u8>(), 1..600))
            .prop_map(|(at, bytes)| Garbage::Patch(at, bytes)),
        (0_usize..8, 0_usize..8, 1_usize..8).prop_map(|(from, to, count)| Garbage::Move(from, to, count)),
        (0_usize..4096).prop_map(Garbage::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a segment contains, the result is an error or a state from the history; never a panic or more memory
    /// than the file's size.
    #[test]
    fn garbage_is_never_served(garbage in garbage(), which in 0_usize..3) {
        let run = filled();
        let names = segments(&run.disk);
        let name = &names[which % names.len()];
        let mut bytes = run.disk.content(name).expect("its bytes");
        match garbage {
            Garbage::Whole(whole) => bytes = whole,
            Garbage::Patch(at, patch) => {
                let end = (at + patch.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&patch[..end - at]);
            }
            Garbage::Move(from, to, count) => {
                let end = (from.max(to) + count).min(8) - from.max(to);
                bytes.copy_within(from * 512..(from + end) * 512, to * 512);
            }
            Garbage::Cut(length) => bytes.truncate(length),
        }
        if let Ok((log, _, _)) = open(&run.disk.with_content(name, bytes)) {
            let contents = LogContents::of(&log);
            prop_assert!(run.history.contains(&contents), "never was: {contents:?}");
        }
    }
}
