//! SIGKILL: of any member at random moments, of all at once, of the leader with a clock beside it.

use std::thread;
use std::time::{Duration, Instant};

use conformance::history::longest_gap;

use crate::setting::{RECOVERY, SOME, others, plan, soak, three, under_load};

/// etcd's own took 2.45 s at worst with these timeouts (contract 10).
const LEADER_LOST: Duration = Duration::from_millis(2450);

fn one_after_the_other(seed: u64, rounds: usize) {
    // Checkpoints and purged logs are part of it.
    let mut cluster = conformance::backend::Cluster::start(&plan(3, "--snapshot-count 200")).unwrap();
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
#[ignore = "many seeds"]
fn soak_members_killed_at_random_moments() {
    soak(|seed| one_after_the_other(seed, 10));
}

#[test]
fn all_members_killed_at_once_lose_nothing() {
    all_at_once(2, 2);
}

#[test]
#[ignore = "many seeds"]
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
