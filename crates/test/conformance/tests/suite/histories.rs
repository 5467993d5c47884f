//! Histories of Debian's etcd under faults: recorder and checker work for another server than ours.

use std::thread;
use std::time::Duration;

use conformance::backend::{Cluster, Plan, Program};
use conformance::history::{Action, Outcome, Recording, Verdict, check, record};

fn recording() -> Recording {
    Recording {
        clients: 6,
        keys: 3,
        folder: "/history".into(),
        patience: Duration::from_millis(1500),
        pause: Duration::ZERO,
        seed: 7,
    }
}

fn reference(members: usize) -> Cluster {
    Cluster::start(&Plan { program: Program::reference(), members, folder: std::env::temp_dir() }).unwrap()
}

#[test]
#[ignore = "needs Debian's etcd-server: cargo verify conformance"]
fn reference_history_with_its_leader_killed_is_linearizable() {
    let mut cluster = reference(3);
    let history = record(&mut cluster, &recording(), |cluster| {
        thread::sleep(Duration::from_secs(1));
        let leader = cluster.leader()?;
        cluster.kill(leader)?;
        thread::sleep(Duration::from_secs(3));
        cluster.run(leader)?;
        let leader = cluster.leader()?;
        cluster.pause(leader)?;
        thread::sleep(Duration::from_secs(2));
        cluster.resume(leader)
    })
    .unwrap();
    let unknown = history.iter().filter(|one| one.outcome == Outcome::Unknown).count();
    println!("{} operations, {unknown} without an answer", history.len());
    assert!(history.len() > 500, "{} operations", history.len());
    assert!(unknown > 0, "the faults were not felt");
    assert_eq!(check(&history), Verdict::Linearizable);
}

/// The same recording with one changed response must be rejected: the check can fail.
#[test]
#[ignore = "needs Debian's etcd-server: cargo verify conformance"]
fn reference_history_with_a_forged_answer_is_rejected() {
    let mut cluster = reference(1);
    let mut history = record(&mut cluster, &recording(), |_| {
        thread::sleep(Duration::from_secs(1));
        Ok(())
    })
    .unwrap();
    assert_eq!(check(&history), Verdict::Linearizable);
    let stale = history.iter().find_map(|one| match (one.action, one.outcome) {
        (Action::Write(value), Outcome::Done) => Some(value),
        _ => None,
    });
    let last = history.last_mut().unwrap();
    assert_eq!(last.action, Action::Read);
    assert_ne!(last.outcome, Outcome::Saw(stale));
    last.outcome = Outcome::Saw(stale);
    let Verdict::Violated(part) = check(&history) else { panic!("the forged answer was accepted") };
    for one in &part {
        println!("{one}");
    }
    assert!(part.len() < 20, "{} operations are no short counterexample", part.len());
}
