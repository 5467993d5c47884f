//! Partitions: a member is cut off, completely or in one direction. Clients reach all members.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use conformance::backend::{Cluster, Network, in_own_namespaces};
use conformance::failure::Failure;
use conformance::http::{self, Connection, Request};

use crate::setting::{PATIENCE, RECOVERY, SOME, ask, must, others, plan, soak_seeds, under_load};

const PARTED: Duration = Duration::from_millis(1000);
/// Limit from the end of a partition until the member accepts writes and serves them.
const SERVES_AGAIN: Duration = Duration::from_secs(2);
/// These fill the socket buffers to a member that does not acknowledge.
const WRITERS: usize = 16;
/// Pause between two connections of a writer.
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
enum Cut {
    Both,
    /// The member can send but not receive.
    Deaf,
    /// The member can receive but not send.
    Mute,
}

fn part(cluster: &Cluster, number: usize, cut: Cut) -> Result<(), Failure> {
    let Some(network) = cluster.network() else { panic!("the cluster has no network of its own") };
    for other in others(cluster, number) {
        match cut {
            Cut::Both => network.isolate(number)?,
            Cut::Deaf => network.cut(other, number)?,
            Cut::Mute => network.cut(number, other)?,
        }
    }
    Ok(())
}

fn heal(cluster: &Cluster) -> Result<(), Failure> {
    cluster.network().map_or(Ok(()), Network::heal)
}

fn leader_parted(test: &str, seed: u64, cut: Cut) {
    in_own_namespaces(test, || {
        let mut cluster = must(Cluster::start_in(must(Network::new(3)), &plan(3, "")));
        under_load(&mut cluster, seed, |cluster, ledger, _| {
            let leader = cluster.leader()?;
            part(cluster, leader, cut)?;
            ledger.wait_for(SOME, RECOVERY)?;
            thread::sleep(PARTED);
            heal(cluster)
        });
    });
}

#[test]
fn a_leader_that_is_cut_off_acknowledges_nothing_that_is_lost() {
    let test = "partitioned::a_leader_that_is_cut_off_acknowledges_nothing_that_is_lost";
    leader_parted(test, 6, Cut::Both);
}

#[test]
fn a_leader_that_receives_nothing_does_not_stop_the_cluster() {
    leader_parted("partitioned::a_leader_that_receives_nothing_does_not_stop_the_cluster", 7, Cut::Deaf);
}

#[test]
fn a_leader_that_reaches_no_member_does_not_stop_the_cluster() {
    leader_parted("partitioned::a_leader_that_reaches_no_member_does_not_stop_the_cluster", 8, Cut::Mute);
}

/// Whether the member accepts a write and serves it to a plain read.
fn serves(cluster: &Cluster, member: usize, number: usize) -> bool {
    let key = "/v2/keys/served-again";
    let once = |request: &Request| http::exchange(cluster.addresses()[member], request, PATIENCE);
    let put = once(&Request::form("PUT", key, format!("value={number}")));
    put.is_ok_and(|answer| [200, 201].contains(&answer.status))
        && once(&Request::new("GET", key))
            .is_ok_and(|answer| answer.text().contains(&format!("\"value\":\"{number}\"")))
}

/// Writes values of 1 KiB one after the other until `stop`.
fn load(address: SocketAddr, writer: usize, stop: &AtomicBool) {
    let put = Request::form("PUT", format!("/v2/keys/load/{writer}"), format!("value={}", "v".repeat(1024)));
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let open = connection.take().or_else(|| Connection::open(address, PATIENCE).ok());
        // Reconnects after a pause.
        match open.map(|mut open| open.exchange(&put).map(|_| open)) {
            Some(Ok(open)) => connection = Some(open),
            _ => thread::sleep(AGAIN),
        }
    }
}

/// Time until the member serves after a partition of this length.
fn cut_off_and_healed(cluster: &Cluster, member: usize, parted: Duration) -> Result<Duration, String> {
    let text = |failure: Failure| service::error::chain(&failure);
    if !serves(cluster, member, 0) {
        return Err(format!("member {member} does not serve before it is cut off"));
    }
    part(cluster, member, Cut::Both).map_err(text)?;
    thread::sleep(parted);
    if serves(cluster, member, 1) {
        return Err(format!("member {member} served without a majority"));
    }
    heal(cluster).map_err(text)?;
    let healed = Instant::now();
    for number in 2.. {
        if serves(cluster, member, number) {
            break;
        }
        if healed.elapsed() > RECOVERY {
            return Err(format!("member {member} does not serve {RECOVERY:?} after the partition"));
        }
    }
    Ok(healed.elapsed())
}

/// The kernel retransmits with a backoff of up to two minutes.
fn serves_again(test: &str, parted: Duration) {
    in_own_namespaces(test, || {
        let cluster = must(Cluster::start_in(must(Network::new(3)), &plan(3, "")));
        let member = others(&cluster, must(cluster.leader()))[0];
        let rest = others(&cluster, member);
        let stop = AtomicBool::new(false);
        // Stop the writers before checking the result.
        let waited = thread::scope(|scope| {
            for writer in 0..WRITERS {
                let address = cluster.addresses()[rest[writer % rest.len()]];
                let stop = &stop;
                scope.spawn(move || load(address, writer, stop));
            }
            thread::sleep(PARTED);
            let waited = cut_off_and_healed(&cluster, member, parted);
            stop.store(true, Ordering::Relaxed);
            waited
        });
        let waited = waited.unwrap_or_else(|why| panic!("{why}"));
        println!("member {member}: served again {waited:?} after {parted:?} without the others");
        assert!(waited <= SERVES_AGAIN, "served again after {waited:?}");
    });
}

#[test]
fn a_member_serves_as_soon_as_a_partition_is_over() {
    serves_again("partitioned::a_member_serves_as_soon_as_a_partition_is_over", Duration::from_secs(8));
}

#[test]
#[ignore = "minutes: cargo verify --all soaks"]
fn soak_a_member_serves_as_soon_as_a_minute_s_partition_is_over() {
    let test = "partitioned::soak_a_member_serves_as_soon_as_a_minute_s_partition_is_over";
    serves_again(test, Duration::from_secs(60));
}

#[test]
#[ignore = "many seeds: cargo verify --all soaks"]
fn soak_partitions() {
    in_own_namespaces("partitioned::soak_partitions", || {
        let mut cluster = must(Cluster::start_in(must(Network::new(3)), &plan(3, "--snapshot-count 200")));
        for seed in soak_seeds() {
            under_load(&mut cluster, seed, |cluster, ledger, random| {
                for _ in 0..5 {
                    let cut = [Cut::Both, Cut::Deaf, Cut::Mute][random.usize(..3)];
                    let number = random.usize(..3);
                    println!("{cut:?} {number}");
                    part(cluster, number, cut)?;
                    thread::sleep(PARTED.mul_f64(random.f64()));
                    heal(cluster)?;
                    ledger.wait_for(random.u64(1..SOME), RECOVERY)?;
                }
                Ok(())
            });
            let request = Request::new("DELETE", "/v2/keys/ledger?recursive=true");
            ask(&cluster, 0, &request);
        }
    });
}
