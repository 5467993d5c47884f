//! The cost of one durable put by method: `cargo bench -p raft-log [-- FOLDER]`.
//!
//! Prints medians and 99th percentiles of rounds that alternate between the methods, so that other load affects all
//! of them. The directory must be on a disk: a tmpfs has no flush to measure.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use heed::types::{Bytes as HeedBytes, U64};
use heed::{CommitOrAbort, EnvOpenOptions};
use raft_log::{Entry, Flusher, Log, LogId, Options, Preallocation, RealDisk};
use rustix::fs::FallocateFlags;

type Done<T> = Result<T, Box<dyn Error>>;

const PAYLOAD_BYTES: usize = 300;
const FILE_BYTES: u64 = 64 << 20;
const ROUNDS: usize = 10;
const ROUND_FLUSHES: usize = 200;

/// A method of making `count` payloads durable.
type Method<'a> = (String, usize, Box<dyn FnMut(usize) -> Done<()> + 'a>);

fn main() -> Done<()> {
    let root = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let root = root.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = tempfile::tempdir_in(root)?;
    let folder = folder.path();
    let payload = vec![0x5a; PAYLOAD_BYTES];
    let mut methods: Vec<Method> = Vec::new();
    for (name, prepare) in PREPARED {
        methods.push((format!("bare file, {name}"), 1, bare(&folder.join(name), *prepare, payload.clone())?));
    }
    for count in [1, 16, 64] {
        for (name, preallocation) in [("taken", Preallocation::Allocate), ("filled", Preallocation::Fill)] {
            let path = folder.join(format!("log-{name}-{count}"));
            methods.push((format!("raft-log, {name}"), count, log(&path, preallocation, payload.clone())?));
        }
        let path = folder.join(format!("heed-{count}"));
        methods.push(("heed, one commit".into(), count, heed(&path, payload.clone())?));
    }
    let mut times = vec![Vec::new(); methods.len()];
    for _ in 0..ROUNDS {
        for ((_, count, method), times) in methods.iter_mut().zip(&mut times) {
            for _ in 0..ROUND_FLUSHES {
                let start = Instant::now();
                method(*count)?;
                times.push(start.elapsed());
            }
        }
    }
    println!("{:<32} {:>8} {:>10} {:>10} {:>10}", "way", "entries", "p50 us", "p99 us", "mean us");
    for ((name, count, _), times) in methods.iter().zip(&mut times) {
        report(name, *count, times);
    }
    drop(methods);
    opening(folder, &payload)
}

fn report(name: &str, count: usize, times: &mut [Duration]) {
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{name:<32} {count:>8} {:>10.1} {:>10.1} {:>10.1}", micros(p50), micros(p99), micros(mean));
}

type Prepare = fn(&File) -> Done<()>;

const PREPARED: &[(&str, Prepare)] = &[
    ("growing", |_| Ok(())),
    ("space taken", |file| Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, FILE_BYTES)?)),
    ("filled with zeros", |file| {
        let zeros = vec![0; 1 << 20];
        for offset in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        Ok(())
    }),
];

fn bare(path: &Path, prepare: Prepare, payload: Vec<u8>) -> Done<Box<dyn FnMut(usize) -> Done<()>>> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    prepare(&file)?;
    file.sync_all()?;
    let mut offset = 0;
    Ok(Box::new(move |_| {
        file.write_all_at(&payload, offset)?;
        offset += payload.len() as u64;
        Ok(file.sync_data()?)
    }))
}

fn new_log(path: &Path, preallocation: Preallocation) -> Done<(Log, Flusher)> {
    let disk = RealDisk::at(path)?.with_preallocation(preallocation);
    let (log, flusher, _) = Log::open(Arc::new(disk), Options::new(LogId::random()?))?;
    Ok((log, flusher))
}

fn log(
    path: &Path,
    preallocation: Preallocation,
    payload: Vec<u8>,
) -> Done<Box<dyn FnMut(usize) -> Done<()>>> {
    let (log, mut flusher) = new_log(path, preallocation)?;
    let payload = bytes::Bytes::from(payload);
    let mut index = 0;
    Ok(Box::new(move |count| {
        let entries = (index..).take(count);
        log.append(entries.map(|index| Entry { index, term: 1, payload: payload.clone() }))?;
        index += count as u64;
        flusher.flush()?;
        Ok(())
    }))
}

#[allow(unsafe_code, reason = "heed's way to open; this program alone uses the folder")]
fn heed(path: &Path, payload: Vec<u8>) -> Done<Box<dyn FnMut(usize) -> Done<()>>> {
    std::fs::create_dir(path)?;
    // SAFETY: the folder is new, and only this process opens it.
    let environment = unsafe { EnvOpenOptions::new().map_size(1 << 30).open(path)? };
    // Leaked, because the database borrows it.
    let environment: &'static heed::Env = Box::leak(Box::new(environment));
    let made = environment.create_databases_and_commit(environment.write_txn()?, |opener, write| {
        let log = opener.create_database::<U64<heed::byteorder::BigEndian>, HeedBytes>(write, None)?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(log))
    })?;
    let CommitOrAbort::Commit(log) = made else { return Err("not committed".into()) };
    let mut index = 0;
    Ok(Box::new(move |count| {
        let mut write = environment.write_txn()?;
        for _ in 0..count {
            log.put(&mut write, &index, &payload)?;
            index += 1;
        }
        Ok(write.commit()?)
    }))
}

/// Appending, opening a log with a full segment, and allocating a reserve.
fn opening(folder: &Path, payload: &[u8]) -> Done<()> {
    const ENTRIES: u64 = 100_000;
    let path = folder.join("opening");
    let (log, mut flusher) = new_log(&path, Preallocation::Fill)?;
    let payload = bytes::Bytes::copy_from_slice(payload);
    let start = Instant::now();
    for index in 0..ENTRIES {
        log.append([Entry { index, term: 1, payload: payload.clone() }])?;
    }
    let appended = start.elapsed();
    let start = Instant::now();
    flusher.flush()?;
    let flushed = start.elapsed();
    let start = Instant::now();
    log.maintain()?;
    println!("append, one at a time: {:.0} ns each", appended.as_secs_f64() * 1e9 / ENTRIES as f64);
    println!("flush of {ENTRIES} entries: {flushed:.1?}; a reserve of 64 MiB: {:.1?}", start.elapsed());
    drop((log, flusher));
    let start = Instant::now();
    let (log, _flusher) = new_log(&path, Preallocation::Fill)?;
    println!("open with {ENTRIES} entries: {:.1?}", start.elapsed());
    let start = Instant::now();
    let read = log.read(0..10_000, usize::MAX)?.len();
    println!("read of {read} entries from the file: {:.1?}", start.elapsed());
    Ok(())
}
