//! Repeated purges under heavy writes: a race of both stopped members of openraft 0.10.0-alpha (openraft#2116: three
//! members on two processors, some 16,000 values of 1 KiB a second).

use std::path::Path;
use std::time::Instant;

use crate::{Cluster, DEADLINE, SEGMENT_BYTES, put, value, wait_for};

/// Entries between two checkpoints, and entries kept behind one.
const BETWEEN: u64 = 20;
const KEPT: u64 = 2;
const WRITERS: u64 = 48;
const KEYS: u64 = 16;

fn key(writer: u64, number: u64) -> String {
    format!("/purged/{writer}-{}", number % KEYS)
}

/// The number of the write, and 1 KiB.
fn text(number: u64) -> String {
    format!("{number}:{}", "v".repeat(1024))
}

/// The size of the log, including preallocated segments.
fn bytes_on_disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    entries.filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
}

fn written_while_logs_are_purged(values: u64) {
    let mut cluster = Cluster::empty(3);
    for id in 1..=3 {
        let mut config = cluster.config(id);
        (config.snapshot_count, config.catch_up_entries) = (BETWEEN, KEPT);
        cluster.try_start(config).unwrap();
    }
    cluster.leader();
    let began = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let node = &cluster.nodes[&(writer % 3 + 1)];
            let member = node.member.clone();
            node.runtime.spawn(async move {
                for number in 0..values {
                    let outcome = member.propose(&put(&key(writer, number), &text(number))).await.unwrap();
                    assert!(outcome.result.is_ok(), "{outcome:?}");
                }
            })
        })
        .collect();
    for (writer, ended) in writers.into_iter().enumerate() {
        cluster.on(writer as u64 % 3 + 1, ended).unwrap();
    }
    let rate = (WRITERS * values) as f64 / began.elapsed().as_secs_f64();
    let written = WRITERS * values * 1024;
    for id in 1..=3 {
        let member = cluster.member(id);
        cluster.on(id, async { member.barrier().await }).unwrap();
        for writer in 0..WRITERS {
            assert_eq!(value(&member, &key(writer, values - 1)), Some(text(values - 1)), "member {id}");
        }
        cluster.on(id, async { member.checkpoint(DEADLINE).await }).unwrap();
        let folder = cluster.data_dir(id).join("log");
        // The current segment, the previous one, and reserves.
        let bytes = wait_for("the log to be purged", || {
            let bytes = bytes_on_disk(&folder);
            (bytes <= 4 * SEGMENT_BYTES).then_some(bytes)
        });
        println!("member {id}: {bytes} bytes of log are left of {written}, {rate:.0} values a second");
        assert!(written > 8 * SEGMENT_BYTES, "{written} bytes fit without a purge");
    }
}

#[test]
fn values_are_written_while_logs_are_purged() {
    written_while_logs_are_purged(250);
}

#[test]
#[ignore = "minutes: cargo verify --all soaks"]
fn soak_values_are_written_while_logs_are_purged() {
    for _ in 0..5 {
        written_while_logs_are_purged(2_000);
    }
}
