//! Segment files with corruption, or with valid checksums over arbitrary contents.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use raft_log::simulated::SimulatedDisk;
use raft_log::{Bounds, Entry, Flusher, Log, LogId, OpenError, Options, Purged, Recovered, StateKey, fuzz};

use crate::input::Input;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "log",
    about: "a log opens with what it once held, or is refused with the reason and not touched",
    run,
    seeds,
};

const DAMAGED: u8 = 0;
const FORGED: u8 = 1;

type Opened = (Log, Flusher, Recovered);

/// Byte 0: corruption of a real log's files, or files with valid checksums over the rest.
fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if input.byte() % 2 == DAMAGED { damaged(input) } else { forged(input.rest()) }
}

fn open(disk: &SimulatedDisk) -> Result<Opened, OpenError> {
    let options = Options { segment_bytes: 4096, cache_bytes: 600, ..Options::new(LogId([7; 16])) };
    Log::open(Arc::new(disk.clone()), options)
}

/// The observable state of a log; reading it must succeed.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    bounds: Bounds,
    entries: Vec<Entry>,
    states: Vec<(StateKey, Bytes)>,
}

impl Contents {
    fn of(log: &Log) -> Contents {
        let bounds = log.bounds();
        let mut entries: Vec<Entry> = Vec::new();
        if let (Some(first), Some(last)) = (bounds.first, bounds.last) {
            let mut next = first;
            while next <= last {
                let read = log.read(next..last + 1, 700).expect("what is within the bounds can be read");
                for entry in &read {
                    assert_eq!(entry.index, next, "entries follow each other");
                    next += 1;
                }
                assert!(!read.is_empty(), "a read within the bounds gives something");
                entries.extend(read);
            }
        }
        Contents { bounds, entries, states: log.states().into_iter().collect() }
    }
}

struct Base {
    disk: SimulatedDisk,
    names: Vec<String>,
    /// Its contents after each step.
    history: Vec<Contents>,
}

/// A log with every kind of record, over several segments.
fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let disk = SimulatedDisk::new();
        let (log, mut flusher, _) = open(&disk).expect("a new log");
        let mut history = vec![Contents::of(&log)];
        let mut index = 0;
        for round in 0..9_u64 {
            for length in [round * 60, 300, 0] {
                let payload = Bytes::from(vec![round as u8 + 1; length as usize]);
                log.append([Entry { index, term: round, payload }]).expect("an entry");
                history.push(Contents::of(&log));
                index += 1;
            }
            log.set_state(StateKey::new(1), Bytes::from(vec![round as u8; 20])).expect("a state");
            history.push(Contents::of(&log));
            if round == 4 {
                index -= 1;
                log.truncate_from(index).expect("a truncation");
                history.push(Contents::of(&log));
            }
            if round == 5 {
                let note = Bytes::from_static(b"note");
                log.purge_to(Purged { index: 2, term: 0, note }).expect("a purge");
                history.push(Contents::of(&log));
            }
            flusher.flush().expect("a flush");
        }
        let names = disk.names().into_iter().filter(|name| name.ends_with(".log")).collect();
        drop((log, flusher));
        Base { disk, names, history }
    })
}

/// Repeated: file, offset, length, bytes.
fn damaged(mut input: Input<'_>) {
    let base = base();
    let mut disk = base.disk.with_content("other", Vec::new());
    while !input.is_empty() {
        let name = &base.names[usize::from(input.byte()) % base.names.len()];
        let mut bytes = disk.content(name).expect("its bytes");
        let (at, length) = (usize::from(input.short()) % 4097, input.byte());
        match length {
            0xff => bytes.truncate(at),
            0xfe => bytes.copy_within(0..at, 4096 - at),
            0xfd => bytes[at..].fill(0),
            length => {
                let patch = input.bytes(usize::from(length).min(bytes.len().saturating_sub(at)));
                bytes[at..at + patch.len()].copy_from_slice(patch);
            }
        }
        if bytes.len() < 4096 {
            bytes.resize(bytes.len(), 0);
            disk = disk.with_content(name, bytes);
            break;
        }
        disk = disk.with_content(name, bytes);
    }
    let before: Vec<_> = base.names.iter().map(|name| disk.content(name)).collect();
    match open(&disk) {
        Ok((log, _, _)) => {
            let held = Contents::of(&log);
            assert!(base.history.contains(&held), "it never held {held:?}");
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let after: Vec<_> = base.names.iter().map(|name| disk.content(name)).collect();
            assert!(before == after, "what is refused is not touched");
        }
    }
}

/// Not corrupt, but arbitrary: it opens and works, or is rejected.
fn forged(bytes: &[u8]) {
    let mut disk = SimulatedDisk::new();
    for (name, content) in fuzz::segments(bytes) {
        disk = disk.with_content(&name, content);
    }
    let Ok((log, mut flusher, _)) = open(&disk) else { return };
    let held = Contents::of(&log);
    let next = match (held.bounds.last, &held.bounds.purged) {
        (Some(last), _) => last.checked_add(1),
        (None, Some(purged)) => purged.index.checked_add(1),
        (None, None) => None,
    };
    if let Some(index) = next {
        // An entry that cannot be appended is rejected.
        let entry = Entry { index, term: 1, payload: Bytes::from_static(b"more") };
        if log.append([entry]).is_ok() {
            flusher.flush().expect("a flush on a disk that works");
        }
    }
    let held = Contents::of(&log);
    drop((log, flusher));
    let (log, _, _) = open(&disk).expect("what opened and was written to opens again");
    assert_eq!(Contents::of(&log), held, "what was flushed is there");
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![DAMAGED], vec![DAMAGED, 0, 0, 2, 1, 0xaa], vec![DAMAGED, 1, 0, 2, 0xff]];
    seeds.push(vec![DAMAGED, 2, 0, 4, 0xfd]);
    seeds.extend(fuzz::samples().into_iter().map(|sample| [&[FORGED], &sample[..]].concat()));
    seeds
}
