//! Membership changes under load, and a member that returns without its data.

use std::time::Duration;

use conformance::backend::Cluster;
use conformance::history::check_ledger;

use crate::setting::{RECOVERY, SOME, must, plan, soak, three, under_load};

const END: Duration = Duration::from_secs(15);
/// Time in which an empty member would vote for itself.
const ALONE: Duration = Duration::from_secs(2);

fn come_and_go(seed: u64, rounds: usize) {
    let mut cluster = must(Cluster::start(&plan(3, "--snapshot-count 200")));
    under_load(&mut cluster, seed, |cluster, ledger, random| {
        let mut there = vec![0, 1, 2];
        for round in 0..rounds {
            let through = there[random.usize(..there.len())];
            there.push(cluster.add(through)?);
            ledger.wait_for(SOME, RECOVERY)?;
            // In the first round the leader.
            let goes = if round == 0 { cluster.leader()? } else { there[random.usize(..there.len())] };
            there.retain(|member| *member != goes);
            cluster.remove(there[0], goes)?;
            cluster.wait_for_end(goes, END)?;
            ledger.wait_for(SOME, RECOVERY)?;
        }
        Ok(())
    });
}

#[test]
fn members_added_and_removed_lose_nothing() {
    come_and_go(9, 1);
}

#[test]
#[ignore = "many seeds: cargo verify --all soaks"]
fn soak_members_added_and_removed() {
    soak(|seed| come_and_go(seed, 2));
}

/// The member has lost its votes and acknowledged entries; with its old id it could revert committed writes.
#[test]
fn a_member_with_an_empty_disk_is_sent_away_and_the_rest_go_on() {
    let mut cluster = three();
    under_load(&mut cluster, 10, |cluster, ledger, _| {
        let number = (cluster.leader()? + 1) % 3;
        cluster.kill(number)?;
        cluster.wipe(number)?;
        cluster.run(number)?;
        let ended = cluster.wait_for_end(number, END)?;
        assert!(!ended.success(), "{ended}");
        // It queries the others before it votes; they know it.
        let said = cluster.log(number);
        assert!(said.contains("has already been bootstrapped"), "{said}");
        ledger.wait_for(SOME, RECOVERY)
    });
}

/// The worst case: the remaining member and the empty one would be a majority without the writes.
#[test]
fn an_empty_member_and_one_behind_are_no_majority() {
    let mut cluster = three();
    let written = under_load(&mut cluster, 11, |_, _, _| Ok(()));
    (0..3).try_for_each(|number| cluster.kill(number)).unwrap();
    cluster.wipe(0).unwrap();
    // No other member responds: it bootstraps a new cluster.
    cluster.run(0).unwrap();
    std::thread::sleep(ALONE);
    cluster.run(1).unwrap();
    must(cluster.wait_for_end(0, END));
    let said = cluster.log(0);
    assert!(said.contains("data was lost or replaced"), "{said}");
    cluster.run(2).unwrap();
    must(check_ledger(&cluster, &written));
}
