//! Reading a log with another handle, while it is written and while it is not in use.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use raft_log::disk::{Disk, DiskFile, DiskLock};
use raft_log::{Entry, Log, LogId, OpenError, Options, ReadOnlyLog, RealDisk};

/// Small, so that segments are created during reads.
const SMALL: u64 = 64 << 10;
/// Read in several chunks.
const LARGE: u64 = 4 << 20;
/// A segment that is being created may be incomplete; the next attempt sees all of it.
const ATTEMPTS: usize = 3;
const READS: u64 = 60;
/// The minimum number of entries, in several segments.
const ENTRIES: u64 = 1000;
/// How many entries may be written during a read. Each segment stays open, and a slow host reads more slowly than it
/// writes.
const ENTRIES_PER_READ: u64 = 600;

fn disk(folder: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::at(folder).expect("a folder"))
}

fn options(segment_bytes: u64) -> Options {
    let id = LogId::random().expect("random numbers");
    Options { segment_bytes, ..Options::new(id) }
}

fn entry(index: u64) -> Entry {
    let length = (index * 37 % 900) as usize;
    Entry { index, term: index / 10, payload: vec![index as u8; length].into() }
}

/// Checks that all entries are as written; returns the last index.
fn check(log_reader: &ReadOnlyLog) -> u64 {
    let Some(last) = log_reader.bounds().last else { return 0 };
    let mut next = 1;
    while next <= last {
        for found in log_reader.read(next..last + 1, 1 << 20).expect("entries that were flushed") {
            assert_eq!(found, entry(next));
            next += 1;
        }
    }
    last
}

#[test]
fn a_reader_sees_everything_flushed_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, mut flusher, _) = Log::open(disk(folder.path()), options(SMALL)).expect("a new log");
    let (flushed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let reads = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 1;
            while !done.load(Ordering::SeqCst) {
                if next > (reads.load(Ordering::SeqCst) + 1) * ENTRIES_PER_READ {
                    thread::yield_now();
                    continue;
                }
                log.append((next..next + 3).map(entry)).expect("room");
                next += 3;
                if flusher.flush().expect("a flush").maintain {
                    log.maintain().expect("maintenance");
                }
                flushed.store(next - 1, Ordering::SeqCst);
            }
        });
        let mut before = 0;
        while reads.fetch_add(1, Ordering::SeqCst) < READS || before < ENTRIES {
            before = flushed.load(Ordering::SeqCst);
            let log_reader = (0..ATTEMPTS)
                .find_map(|_| ReadOnlyLog::open(disk(folder.path())).ok())
                .expect("a readable log");
            assert!(log_reader.in_use());
            let last = check(&log_reader);
            assert!(last >= before, "{before} were flushed, {last} are seen");
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// A disk with a hook before the second chunk of a file is read.
struct HookedDisk {
    disk: Arc<dyn Disk>,
    between: Arc<Mutex<dyn FnMut() + Send>>,
}

struct HookedFile {
    file: Box<dyn DiskFile>,
    between: Arc<Mutex<dyn FnMut() + Send>>,
    reads: AtomicU64,
}

impl Disk for HookedDisk {
    fn lock(&self) -> io::Result<DiskLock> {
        self.disk.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, _: &str, _: u64) -> io::Result<Box<dyn DiskFile>> {
        Err(io::Error::other("who looks makes nothing"))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let (file, between) = (self.disk.open(name)?, Arc::clone(&self.between));
        Ok(Box::new(HookedFile { file, between, reads: AtomicU64::new(0) }))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::Error::other("who looks renames nothing"))
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::Error::other("who looks removes nothing"))
    }

    fn sync_folder(&self) -> io::Result<()> {
        Err(io::Error::other("who looks has nothing to sync"))
    }

    fn display_path(&self) -> String {
        self.disk.display_path()
    }
}

impl DiskFile for HookedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        // The first read is the header's.
        if self.reads.fetch_add(1, Ordering::SeqCst) == 2 {
            let mut between = self.between.lock().expect("nobody panicked");
            between();
        }
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::Error::other("who looks writes nothing"))
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::Error::other("who looks has nothing to sync"))
    }
}

/// Two flushes happen between the read of the log's end and a read past it.
#[test]
fn writes_during_a_read_are_not_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, mut flusher, _) = Log::open(disk(folder.path()), options(LARGE)).expect("a new log");
    let long = |index, length: usize| Entry { index, term: 1, payload: vec![7; length].into() };
    // Ends a few sectors before the first mebibyte: sectors of 512 bytes carry 496.
    log.append([long(1, 2045 * 496)]).expect("room");
    flusher.flush().expect("a flush");
    let mut next = 2;
    let between = Arc::new(Mutex::new(move || {
        for _ in 0..2 {
            log.append([long(next, 2000)]).expect("room");
            flusher.flush().expect("a flush");
            next += 1;
        }
    }));
    let hooked = HookedDisk { disk: disk(folder.path()), between };
    let log_reader = ReadOnlyLog::open(Arc::new(hooked)).expect("a readable log");
    assert_eq!(log_reader.bounds().last, Some(1));
    assert!(log_reader.in_use());
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
fn an_unused_log_is_locked_and_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, mut flusher, _) = Log::open(disk(folder.path()), options(SMALL)).expect("a new log");
    log.append((1..=300).map(entry)).expect("room");
    flusher.flush().expect("a flush");
    drop((log, flusher));
    let before = content(folder.path());
    let log_reader = ReadOnlyLog::open(disk(folder.path())).expect("a log");
    assert!(!log_reader.in_use());
    assert_eq!(check(&log_reader), 300);
    let refused = Log::open(disk(folder.path()), options(SMALL)).err();
    assert!(matches!(refused, Some(OpenError::Locked { .. })), "{refused:?}");
    drop(log_reader);
    assert_eq!(content(folder.path()), before);
    // Damage is not mistaken for a growing log.
    let name = before.keys().find(|name| name.ends_with(".log")).expect("a segment");
    let mut bytes = before[name].clone();
    bytes[512 * 3 + 100] ^= 1;
    std::fs::write(folder.path().join(name), bytes).expect("a file");
    let damaged = ReadOnlyLog::open(disk(folder.path())).err();
    assert!(matches!(damaged, Some(OpenError::Corrupt(_))), "{damaged:?}");
}
