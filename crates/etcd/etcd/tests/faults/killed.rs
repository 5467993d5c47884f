//! SIGKILL: random members at random times, all members, and the leader with measured downtime.

use std::thread;
use std::time::{Duration, Instant};

use conformance::backend::Cluster;
use conformance::history::{Ledger, check_ledger, longest_gap};
use conformance::http::{self, Request};

use crate::setting::{RECOVERY, SOME, must, others, plan, soak, three, under_load};

/// etcd took up to 2.45 s with these timeouts (contract 10).
const LEADER_LOST: Duration = Duration::from_millis(2450);

fn one_after_the_other(seed: u64, rounds: usize) {
    // Includes checkpoints.
    let mut cluster = Cluster::start(&plan(3, "--snapshot-count 200")).unwrap();
    under_load(&mut cluster, seed, |cluster, ledger, random| {
        for _ in 0..rounds {
            let number = random.usize(..3);
            cluster.kill(number)?;
            thread::sleep(Duration::from_millis(random.u64(..1200)));
            cluster.run(number)?;
            ledger.wait_for(random.u64(..SOME), RECOVERY)?;
        }
        Ok(())
    });
}

fn all_at_once(seed: u64, rounds: usize) {
    let mut cluster = three();
    under_load(&mut cluster, seed, |cluster, ledger, random| {
        for _ in 0..rounds {
            (0..3).try_for_each(|number| cluster.kill(number))?;
            cluster.run_all()?;
            ledger.wait_for(random.u64(1..SOME), RECOVERY)?;
        }
        Ok(())
    });
}

#[test]
fn members_killed_at_random_moments_lose_nothing() {
    one_after_the_other(1, 3);
}

#[test]
#[ignore = "many seeds: cargo verify --all soaks"]
fn soak_members_killed_at_random_moments() {
    soak(|seed| one_after_the_other(seed, 10));
}

#[test]
fn all_members_killed_at_once_lose_nothing() {
    all_at_once(2, 2);
}

#[test]
#[ignore = "many seeds: cargo verify --all soaks"]
fn soak_all_members_killed_at_once() {
    soak(|seed| all_at_once(seed, 6));
}

#[test]
fn a_killed_leader_is_replaced_as_soon_as_etcds() {
    let mut cluster = three();
    let mut killed = Instant::now();
    let written = under_load(&mut cluster, 3, |cluster, ledger, _| {
        let leader = cluster.leader()?;
        assert_eq!(others(cluster, leader).len(), 2);
        killed = Instant::now();
        cluster.kill(leader)?;
        ledger.wait_for(SOME, RECOVERY)
    });
    let gap = longest_gap(&written, killed);
    println!("leader killed: no writes for {gap:?}");
    assert!(gap <= LEADER_LOST, "no writes for {gap:?}");
}

/// The index of a plain read; `None` while the member does not serve.
fn shown(cluster: &Cluster, number: usize) -> Option<u64> {
    let plain = Request::new("GET", "/v2/keys/?recursive=false");
    http::exchange(cluster.addresses()[number], &plain, Duration::from_millis(500)).ok()?.index()
}

/// Queries each member until it is killed, and from its first response after the restart (contract 7.1.3).
fn index_never_goes_back(members: usize, rounds: usize) {
    const LOOKS: usize = 50;
    let mut cluster = must(Cluster::start(&plan(members, "--snapshot-count 1000")));
    let ledger = Ledger::start(&cluster.addresses(), 4);
    for round in 0..rounds {
        must(ledger.wait_for(SOME, RECOVERY));
        let number = round % members;
        let before = (0..LOOKS).filter_map(|_| shown(&cluster, number)).max().unwrap();
        must(cluster.kill(number));
        must(cluster.run(number));
        let killed = Instant::now();
        let after = loop {
            if let Some(after) = shown(&cluster, number) {
                break after;
            }
            assert!(killed.elapsed() < RECOVERY, "member {number} serves nobody");
        };
        println!("member {number}: {before} before, {after} after {:?}", killed.elapsed());
        assert!(after >= before, "X-Etcd-Index of member {number} went back from {before} to {after}");
    }
    must(check_ledger(&cluster, &must(ledger.finish())));
}

#[test]
fn the_index_of_a_killed_member_never_goes_back() {
    index_never_goes_back(3, 6);
}

#[test]
fn the_index_of_a_killed_single_member_never_goes_back() {
    index_never_goes_back(1, 4);
}

/// Plain reads need no majority (contract 7.1.2), also at a restarted member.
#[test]
fn a_killed_member_shows_again_without_the_others_what_it_showed() {
    let mut cluster = must(Cluster::start(&plan(3, "--snapshot-count 1000")));
    let ledger = Ledger::start(&cluster.addresses(), 4);
    must(ledger.wait_for(SOME * 5, RECOVERY));
    must(cluster.kill(2));
    // Both others have these writes in their logs. A member that showed what was in no log of its own when it was killed may
    // not serve alone.
    must(ledger.wait_for(SOME, RECOVERY));
    must(ledger.finish());
    let before = shown(&cluster, 0).unwrap();
    for number in [0, 1] {
        must(cluster.kill(number));
    }
    must(cluster.run(0));
    let started = Instant::now();
    let after = loop {
        if let Some(after) = shown(&cluster, 0) {
            break after;
        }
        assert!(started.elapsed() < RECOVERY, "it serves nobody without the others");
    };
    println!("{before} before, {after} after {:?}", started.elapsed());
    assert!(after >= before, "X-Etcd-Index went back from {before} to {after}");
}
