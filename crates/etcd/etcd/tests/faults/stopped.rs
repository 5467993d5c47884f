//! SIGTERM: a leader hands over before it exits; after an orderly stop of all members nothing is lost.

use std::time::{Duration, Instant};

use conformance::history::{Ledger, check_ledger, longest_gap};

use crate::setting::{RECOVERY, SOME, must, others, three, under_load};

/// Less than any election takes, so an election is detected.
const HANDED_OVER: Duration = Duration::from_millis(300);
const TRIES: usize = 3;

#[test]
fn a_stopping_leader_hands_over() {
    let mut cluster = three();
    let mut gaps = Vec::new();
    for _ in 0..TRIES {
        let leader = must(cluster.leader());
        let addresses = cluster.addresses();
        let writing: Vec<_> = others(&cluster, leader).iter().map(|other| addresses[*other]).collect();
        let ledger = Ledger::start(&writing, 4);
        must(ledger.wait_for(SOME, RECOVERY));
        let told = Instant::now();
        must(cluster.stop(leader));
        must(ledger.wait_for(SOME, RECOVERY));
        let written = must(ledger.finish());
        gaps.push(longest_gap(&written, told));
        must(cluster.run(leader));
        must(check_ledger(&cluster, &written));
        must(empty_ledger(&cluster));
    }
    gaps.sort();
    println!("leader stopped: no writes for {gaps:?}");
    // Other load may delay one of them.
    assert!(gaps[TRIES / 2] <= HANDED_OVER, "no writes for {gaps:?}");
}

/// The next writers start with the same names.
fn empty_ledger(cluster: &conformance::backend::Cluster) -> Result<(), conformance::failure::Failure> {
    let request = conformance::http::Request::new("DELETE", "/v2/keys/ledger?recursive=true");
    let answer = crate::setting::ask(cluster, 0, &request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    Ok(())
}

/// Time for a hundred unanswered heartbeats.
const AWAY: Duration = Duration::from_secs(3);
/// Log lines in that time.
const FEW: usize = 10;

#[test]
fn an_unreachable_member_is_logged_once() {
    let mut cluster = three();
    let away = others(&cluster, must(cluster.leader()))[0];
    must(cluster.kill(away));
    std::thread::sleep(AWAY);
    let leader = must(cluster.leader());
    let log = cluster.log(leader);
    let told: Vec<_> = log.lines().skip_while(|line| !line.contains("became inactive")).collect();
    assert!((1..=FEW).contains(&told.len()), "{} lines: {log}", told.len());
    must(cluster.run(away));
    let deadline = Instant::now() + RECOVERY;
    let is_back = |log: &str| log.rfind("became active") > log.rfind("became inactive");
    while !is_back(&cluster.log(leader)) {
        assert!(Instant::now() < deadline, "nothing of its return: {}", cluster.log(leader));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn all_members_stopped_and_started_again_lose_nothing() {
    let mut cluster = three();
    under_load(&mut cluster, 4, |cluster, _, _| {
        (0..3).try_for_each(|number| cluster.stop(number))?;
        cluster.run_all()
    });
}
