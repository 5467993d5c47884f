//! Measures the time of each operation, and the memory at a number of keys, for docs/benchmarks.md:
//! `cargo run --release -p etcd-store --example costs [KEYS]`.

#![allow(clippy::unwrap_used)] // A measurement, no part of any program.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_api::{Key, Timestamp};
use etcd_store::watch::{Hub, WatcherAction};
use etcd_store::{Command, Put, Restore, Store};

const VALUE_BYTES: usize = 256;
const KEYS_PER_DIRECTORY: usize = 1_000;
const WATCHERS: usize = 10_000;
const WATCHED_KEYS: usize = 100;

fn main() {
    let keys: usize = std::env::args().nth(1).map_or(100_000, |text| text.parse().unwrap());
    // First, so that freed memory does not distort the measurement.
    watches(&mut Store::new());
    let before = resident_kib();
    let commands: Vec<Vec<u8>> = (0..keys).map(|number| encoded(number, 0)).collect();
    let with_commands = resident_kib();
    let mut store = Store::new();
    let mut apply_all = |what: &str, commands: &[Vec<u8>]| {
        measure(what, commands.len(), || {
            for bytes in commands {
                let command = Command::decode(&mut bytes.as_slice()).unwrap();
                assert!(store.apply(&command).result.is_ok());
            }
        });
    };
    apply_all("decode and put a new key", &commands);
    println!("memory of {keys} keys of {VALUE_BYTES} bytes: {} KiB", resident_kib() - with_commands);
    let again: Vec<Vec<u8>> = (0..keys).map(|number| encoded(number, 1)).collect();
    apply_all("decode and put an old key", &again);
    drop((commands, again));
    println!("whole process: {} KiB, {before} KiB at its start", resident_kib());
    let one = key(keys / 2);
    measure("get", 100_000, || (0..100_000).for_each(|_| drop(store.get(&one, false).unwrap())));
    measure("list all and write JSON", keys, || {
        let listing = store.get(&Key::root(), true).unwrap();
        println!("{} bytes", listing.to_json_line(Timestamp::from_unix_nanos(0)).len());
    });
    let changes = measure("take the changes", keys, || store.take_changes());
    let records: Vec<_> = measure("make records of them", keys, || changes.records().collect());
    measure("restore", keys, || {
        let mut restore = Restore::new();
        for record in &records {
            restore.add(record.table, record.key, record.bytes.as_ref().unwrap()).unwrap();
        }
        assert_eq!(restore.finish().unwrap().index(), store.index());
    });
}

fn watches(store: &mut Store) {
    let before = resident_kib();
    let mut hub = Hub::new();
    for number in 0..WATCHERS {
        hub.register(&key(number % WATCHED_KEYS), false, 0, 0_u64);
    }
    println!("memory of {WATCHERS} watchers: {} KiB", resident_kib() - before);
    let events: Vec<_> = (0..WATCHED_KEYS)
        .map(|number| {
            let command = Command::decode(&mut encoded(number, 2).as_slice()).unwrap();
            Arc::clone(store.apply(&command).event().unwrap())
        })
        .collect();
    measure("tell one watcher", WATCHERS, || {
        for event in &events {
            hub.notify(event, |_, actual, _| {
                *actual += 1;
                WatcherAction::Keep
            });
        }
    });
}

fn key(number: usize) -> Key {
    Key::parse(format!("/bench/{}/{number}", number / KEYS_PER_DIRECTORY)).unwrap()
}

fn encoded(number: usize, fill: u8) -> Vec<u8> {
    let put = Put {
        key: key(number),
        value: Bytes::from(vec![b'a' + fill; VALUE_BYTES]),
        dir: false,
        expiration: None,
        prev_exist: None,
        prev_value: None,
        prev_index: None,
        refresh: false,
    };
    let mut bytes = Vec::new();
    Command::Put(put).encode(&mut bytes);
    bytes
}

fn measure<T>(what: &str, times: usize, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    let each = start.elapsed() / u32::try_from(times).unwrap();
    println!("{what}: {} ns each, {:?} in all", each.as_nanos(), start.elapsed().max(Duration::ZERO));
    result
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
