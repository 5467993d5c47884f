//! The log is purged again and again while much is written: in openraft 0.10.0-alpha a race of both has ended members
//! (openraft#2116: three members on two processors, some 16,000 values of 1 KiB a second).

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use conformance::backend::Cluster;
use conformance::history::{Ledger, check_ledger};
use conformance::http::{Connection, Request};

use crate::setting::{RECOVERY, SOME, ask, must, plan, soak};

const WRITERS: usize = 48;
const KEYS: usize = 16;
const SAVED: &str = "etcd_snapshot_save_total_durations_seconds_count ";
/// A member on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn key(writer: usize, number: usize) -> String {
    format!("/v2/keys/purged/{writer}-{}", number % KEYS)
}

/// The number of the write, and 1 KiB.
fn value(number: usize) -> String {
    format!("{number}:{}", "v".repeat(1024))
}

/// Writes one value after the other; each is acknowledged.
fn write(address: SocketAddr, writer: usize, values: usize) {
    let mut connection = Connection::open(address, PATIENCE).unwrap();
    for number in 0..values {
        let put = Request::form("PUT", key(writer, number), format!("value={}", value(number)));
        let answer = connection.ask(&put).unwrap();
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
    }
}

/// Checkpoints that a member has written since its start: the log is purged behind each.
fn checkpoints(cluster: &Cluster, member: usize) -> u64 {
    let text = ask(cluster, member, &Request::new("GET", "/metrics")).text();
    text.lines().find_map(|line| line.strip_prefix(SAVED)).unwrap().parse().unwrap()
}

fn written_while_logs_are_purged(values: usize, least: u64) {
    let cluster = must(Cluster::start(&plan(3, "--snapshot-count 20")));
    let addresses = cluster.addresses();
    let ledger = Ledger::start(&addresses, 2);
    let began = Instant::now();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let address = addresses[writer % addresses.len()];
            scope.spawn(move || write(address, writer, values));
        }
    });
    let rate = (WRITERS * values) as f64 / began.elapsed().as_secs_f64();
    must(ledger.wait_for(SOME, RECOVERY));
    must(check_ledger(&cluster, &must(ledger.finish())));
    for member in 0..addresses.len() {
        for writer in 0..WRITERS {
            let last = ask(
                &cluster,
                member,
                &Request::new("GET", format!("{}?quorum=true", key(writer, values - 1))),
            );
            assert!(last.text().contains(&value(values - 1)), "member {member}: {}", last.text());
        }
        let checkpoints = checkpoints(&cluster, member);
        println!("member {member}: {checkpoints} checkpoints, {rate:.0} values a second");
        assert!(checkpoints >= least, "{checkpoints} checkpoints: the log was hardly purged");
    }
}

#[test]
fn values_are_written_while_logs_are_purged() {
    written_while_logs_are_purged(250, 20);
}

#[test]
#[ignore = "many seeds: cargo verify --all soaks"]
fn soak_values_written_while_logs_are_purged() {
    soak(|_| written_while_logs_are_purged(500, 40));
}
