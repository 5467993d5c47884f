//! Clusters of the `etcd` built with these tests, and the load during faults.

use std::time::Duration;

use conformance::backend::{Cluster, Plan, Program};
use conformance::failure::Failure;
use conformance::history::{
    Follower, Ledger, Outcome, Recording, Verdict, Written, check, check_events, check_ledger, record,
};
use conformance::http::{self, Request, Response};

pub const PATIENCE: Duration = Duration::from_millis(1500);
/// Time until writes succeed after a fault, on a loaded machine.
pub const RECOVERY: Duration = Duration::from_secs(15);
/// Number of writes that show that a cluster works.
pub const SOME: u64 = 40;
/// Fewer operations would prove nothing.
const FEWEST: usize = 100;
const SOAK_SEEDS: std::ops::Range<u64> = 100..125;
/// `from..to`: the seeds of a long run.
const SEEDS: &str = "KEELSON_SEEDS";
const ASK: Duration = Duration::from_secs(12);

pub fn program() -> Program {
    Program::etcd(env!("CARGO_BIN_EXE_etcd"))
}

pub fn plan(members: usize, arguments: &str) -> Plan {
    Plan { program: program().with(arguments), members, folder: std::env::temp_dir() }
}

pub fn three() -> Cluster {
    must(Cluster::start(&plan(3, "")))
}

/// The value; panics with the chain of causes.
pub fn must<T>(result: Result<T, Failure>) -> T {
    result.unwrap_or_else(|failure| panic!("{}", service::error::chain(&failure)))
}

/// Runs once for each seed of a long run; the last printed seed is the failed one.
pub fn soak(once: impl Fn(u64)) {
    soak_seeds().for_each(once);
}

pub fn soak_seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var(SEEDS) else { return SOAK_SEEDS };
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or_else(|| panic!("{SEEDS}={text}: expected from..to, as 7..8"))
}

pub fn ask(cluster: &Cluster, number: usize, request: &Request) -> Response {
    http::exchange(cluster.addresses()[number], request, ASK)
        .unwrap_or_else(|error| panic!("{request:?}: {error}"))
}

pub fn others(cluster: &Cluster, number: usize) -> Vec<usize> {
    (0..cluster.addresses().len()).filter(|other| *other != number).collect()
}

/// Three kinds of clients while `faults` runs: linearizable operations, creation of keys that must be kept, and
/// watchers that must receive each of those keys once and in order.
pub fn under_load(
    cluster: &mut Cluster,
    seed: u64,
    faults: impl FnOnce(&mut Cluster, &Ledger, &mut fastrand::Rng) -> Result<(), Failure>,
) -> Vec<Written> {
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let addresses = cluster.addresses();
    let now = ask(cluster, 0, &Request::new("GET", "/v2/keys/?quorum=true")).index().unwrap();
    let ledger = Ledger::start(&addresses, 3);
    let watchers: Vec<_> = (0..2).map(|first| Follower::start(&addresses, first, now + 1)).collect();
    let recording = Recording {
        clients: 5,
        keys: 4,
        folder: format!("/history-{seed}"),
        patience: PATIENCE,
        pause: Duration::from_millis(12),
        seed,
    };
    let mut written = Ok(Vec::new());
    let history = record(cluster, &recording, |cluster| {
        ledger.wait_for(SOME, RECOVERY)?;
        let done = faults(cluster, &ledger, &mut random).and_then(|()| ledger.wait_for(SOME, RECOVERY));
        written = ledger.finish();
        done
    });
    let (written, history) = (must(written), must(history));
    must(check_ledger(cluster, &written));
    let last = written.iter().filter_map(|one| one.index).max().unwrap();
    for watcher in watchers {
        must(check_events(&must(watcher.finish(last)), &written));
    }
    prove(&history);
    println!("seed {seed}: {} operations, {} keys", history.len(), written.len());
    written
}

fn prove(history: &[conformance::history::Operation]) {
    let answered = history.iter().filter(|one| one.outcome != Outcome::Unknown).count();
    assert!(answered >= FEWEST, "{answered} operations were answered");
    match check(history) {
        Verdict::Linearizable => {}
        Verdict::Undecided { key } => panic!("the history of {key} could not be decided"),
        Verdict::Violated(part) => {
            for one in &part {
                println!("{one}");
            }
            panic!("the history is not linearizable");
        }
    }
}
