//! A simple model of a log, and random operations.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use raft_log::simulated::SimulatedDisk;
use raft_log::{Entry, Flusher, Log, LogId, OpenError, Options, Purged, Recovered, StateKey};

pub const SEGMENT_BYTES: u64 = 4096;

#[derive(Clone, Debug)]
pub enum Operation {
    /// Entries with payloads of these lengths.
    Append(Vec<usize>),
    State(u8, usize),
    /// Removes this many from the end.
    Truncate(u64),
    /// Purges this many from the start, possibly beyond the last one.
    Purge(u64),
    Flush,
    Maintain,
    Reopen,
}

pub fn operations(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    let length = prop_oneof![4 => 0_usize..80, 3 => 80_usize..700, 1 => 700_usize..2200];
    let one = prop_oneof![
        6 => prop::collection::vec(length, 1..5).prop_map(Operation::Append),
        2 => (0_u8..3, 0_usize..40).prop_map(|(key, length)| Operation::State(key, length)),
        1 => (1_u64..6).prop_map(Operation::Truncate),
        1 => (1_u64..9).prop_map(Operation::Purge),
        5 => Just(Operation::Flush),
        2 => Just(Operation::Maintain),
        1 => Just(Operation::Reopen),
    ];
    prop::collection::vec(one, 1..most)
}

/// The visible contents of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogContents {
    pub entries: BTreeMap<u64, (u64, Bytes)>,
    pub states: BTreeMap<StateKey, Bytes>,
    pub purged: Option<Purged>,
}

impl LogContents {
    pub fn of(log: &Log) -> Self {
        let bounds = log.bounds();
        let mut contents = Self { states: log.states(), purged: bounds.purged, ..Self::default() };
        if let (Some(first), Some(last)) = (bounds.first, bounds.last) {
            let mut next = first;
            while next <= last {
                let entries = log.read(next..last + 1, 700).expect("what is within the bounds can be read");
                assert!(!entries.is_empty());
                for entry in entries {
                    assert_eq!(entry.index, next);
                    contents.entries.insert(next, (entry.term, entry.payload));
                    next += 1;
                }
            }
        }
        contents
    }

    pub fn last(&self) -> Option<u64> {
        self.entries.keys().last().copied().or(self.purged.as_ref().map(|purged| purged.index))
    }
}

/// A log on a simulated disk, with its contents after each record.
pub struct TestLog {
    pub disk: SimulatedDisk,
    log: Option<(Log, Flusher)>,
    /// `history[n]`: after n records.
    pub history: Vec<LogContents>,
    /// The number of disk steps when each record was appended.
    appended: Vec<usize>,
    /// Disk steps, and the number of records flushed by then.
    flushed: Vec<(usize, usize)>,
    /// Records before the log was last opened: its tickets start again.
    before: usize,
}

pub fn open(disk: &SimulatedDisk) -> Result<(Log, Flusher, Recovered), OpenError> {
    // A small cache, so that most entries are read from segments.
    let options = Options { segment_bytes: SEGMENT_BYTES, cache_bytes: 600, ..Options::new(LogId([7; 16])) };
    Log::open(Arc::new(disk.clone()), options)
}

impl TestLog {
    pub fn new(disk: SimulatedDisk) -> Self {
        let (log, flusher, _) = open(&disk).expect("a new log");
        Self {
            disk,
            log: Some((log, flusher)),
            history: vec![LogContents::default()],
            appended: Vec::new(),
            flushed: vec![(0, 0)],
            before: 0,
        }
    }

    pub fn with(disk: SimulatedDisk, operations: &[Operation]) -> Self {
        let mut run = Self::new(disk);
        operations.iter().for_each(|operation| run.apply(operation));
        run
    }

    pub fn log(&self) -> &Log {
        &self.log.as_ref().expect("open").0
    }

    pub fn now(&self) -> LogContents {
        self.history.last().cloned().expect("there is always a state")
    }

    /// Closes the log, so that its disk can be opened again.
    pub fn close(&mut self) {
        self.log = None;
    }

    pub fn flush(&mut self) {
        let (_, flusher) = self.log.as_mut().expect("open");
        let through = flusher.flush().expect("a flush").through.0 as usize;
        assert_eq!(self.before + through, self.history.len() - 1, "a flush covers all that was appended");
        self.flushed.push((self.disk.steps(), self.before + through));
    }

    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(lengths) => self.append(lengths),
            Operation::State(key, length) => {
                let (key, value) = (StateKey::for_test(*key), self.bytes(*length));
                self.log().set_state(key, value.clone()).expect("a state");
                let mut contents = self.now();
                contents.states.insert(key, value);
                self.record(contents);
            }
            Operation::Truncate(count) => self.truncate(*count),
            Operation::Purge(count) => self.purge(*count),
            Operation::Flush => self.flush(),
            Operation::Maintain => self.log().maintain().expect("maintenance"),
            Operation::Reopen => {
                self.flush();
                self.close();
                let (log, flusher, recovered) = open(&self.disk).expect("reopened");
                assert_eq!(recovered.truncated_bytes, 0);
                assert_eq!(LogContents::of(&log), self.now());
                self.before = self.history.len() - 1;
                self.log = Some((log, flusher));
            }
        }
        assert_eq!(LogContents::of(self.log()), self.now(), "what was appended is seen at once");
    }

    fn append(&mut self, lengths: &[usize]) {
        let mut contents = self.now();
        let mut entries = Vec::new();
        let first = contents.last().map_or(0, |last| last + 1);
        for (index, length) in (first..).zip(lengths) {
            let (term, payload) = (self.history.len() as u64, self.bytes(*length));
            entries.push(Entry { index, term, payload: payload.clone() });
            contents.entries.insert(index, (term, payload));
            self.record(contents.clone());
        }
        self.log().append(entries).expect("entries that follow");
    }

    fn truncate(&mut self, count: u64) {
        let mut contents = self.now();
        let (Some(first), Some(last)) =
            (contents.entries.keys().next().copied(), contents.entries.keys().last().copied())
        else {
            return;
        };
        let from = first.max((last + 1).saturating_sub(count));
        self.log().truncate_from(from).expect("a truncation");
        contents.entries.split_off(&from);
        self.record(contents);
    }

    fn purge(&mut self, count: u64) {
        let mut contents = self.now();
        let first = contents.entries.keys().next().copied();
        let first = first.or(contents.last().map(|last| last + 1)).unwrap_or(0);
        let purged = Purged { index: first + count - 1, term: count, note: self.bytes(9) };
        self.log().purge_to(purged.clone()).expect("a purge");
        contents.entries = contents.entries.split_off(&(purged.index + 1));
        contents.purged = Some(purged);
        self.record(contents);
    }

    fn record(&mut self, contents: LogContents) {
        self.history.push(contents);
        self.appended.push(self.disk.steps());
    }

    /// Unique bytes, some of them zero as after a torn write.
    fn bytes(&self, length: usize) -> Bytes {
        let number = self.history.len() as u32;
        let bytes = (0..length as u32).map(|at| if at % 700 > 100 { 0 } else { (number * 31 + at) as u8 });
        bytes.collect()
    }

    /// The states of the history that a crash after this many steps may leave.
    pub fn allowed(&self, steps: usize) -> RangeInclusive<usize> {
        let flushed = self.flushed.iter().rev().find(|(done, _)| *done <= steps);
        let appended = self.appended.partition_point(|done| *done < steps);
        flushed.map_or(0, |(_, records)| *records)..=appended
    }
}

/// For keys generated by a strategy.
trait ForTest {
    fn for_test(key: u8) -> Self;
}

impl ForTest for StateKey {
    fn for_test(key: u8) -> Self {
        [StateKey::new(0), StateKey::new(1), StateKey::new(2)][usize::from(key)]
    }
}
