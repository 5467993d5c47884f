//! The trace: a line for each event, and a digest of all lines. It contains nothing that differs between two runs of
//! a seed.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Lines shown when a seed fails.
const HIGHLIGHTED: usize = 40;

/// The virtual time of the simulation.
#[derive(Default)]
pub struct Moments {
    millis: AtomicU64,
    within: AtomicU64,
}

impl Moments {
    pub fn millis(&self) -> u64 {
        self.millis.load(Ordering::Relaxed)
    }

    pub fn advance(&self) {
        self.millis.fetch_add(1, Ordering::Relaxed);
        self.within.store(0, Ordering::Relaxed);
    }

    /// Nanoseconds, strictly increasing.
    pub fn next(&self) -> u64 {
        self.millis() * 1_000_000 + self.within.fetch_add(1, Ordering::Relaxed)
    }
}

#[derive(Default)]
pub struct Trace {
    pub moments: Moments,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    digest: DefaultHasher,
    lines: u64,
    file: Option<BufWriter<File>>,
    last: VecDeque<String>,
}

impl Trace {
    pub fn to(path: Option<&Path>) -> Self {
        let file = path.map(|path| BufWriter::new(File::create(path).unwrap()));
        let written = Written { file, ..Written::default() };
        Self { written: Mutex::new(written), ..Self::default() }
    }

    /// Adds a line to the digest and the file.
    pub fn note(&self, event: fmt::Arguments<'_>) {
        let line = format!("{:>9} {event}", self.moments.millis());
        self.written.lock().add(&line);
    }

    /// As `note`; the line is also shown if the seed fails.
    pub fn highlight(&self, event: fmt::Arguments<'_>) {
        let line = format!("{:>9} {event}", self.moments.millis());
        let mut written = self.written.lock();
        written.add(&line);
        if written.last.len() == HIGHLIGHTED {
            written.last.pop_front();
        }
        written.last.push_back(line);
    }

    /// The digest and the number of lines.
    pub fn finish(&self) -> (u64, u64) {
        let mut written = self.written.lock();
        if let Some(file) = &mut written.file {
            file.flush().unwrap();
        }
        (written.digest.finish(), written.lines)
    }

    pub fn last(&self) -> String {
        self.written.lock().last.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Written {
    fn add(&mut self, line: &str) {
        self.digest.write(line.as_bytes());
        self.digest.write_u8(b'\n');
        self.lines += 1;
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}").unwrap();
        }
    }
}
