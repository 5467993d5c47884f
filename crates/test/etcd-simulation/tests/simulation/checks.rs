//! The checks at the end of a seed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use conformance::history::{Action, Operation, Outcome, Verdict, check, check_events};
use etcd_raft::Member;
use etcd_store::{Store, Table};
use service::error::chain;
use tokio::task::JoinHandle;

use super::history::key;
use super::ledger::FOLDER;
use super::network::Endpoint;
use super::run::{Observations, RECOVERY};
use super::simulation::Simulation;

/// Fewer operations would prove nothing.
const MIN_OPERATIONS: usize = 60;
/// The store's record of counters, which includes reads and differs between members.
const COUNTERS: u64 = 0;

/// Waits until all members run and answer quorum reads.
pub fn all_serve(simulation: &mut Simulation) -> Result<(), String> {
    let mut barriers: BTreeMap<u64, JoinHandle<bool>> = BTreeMap::new();
    let end = simulation.now() + RECOVERY;
    loop {
        simulation.tick()?;
        let mut missing = Vec::new();
        for machine in &mut simulation.machines {
            if machine.is_off() {
                machine.start();
            }
            let id = machine.id;
            let Some(Endpoint { member, runtime }) = simulation.context.network.endpoint(id) else {
                missing.push(id);
                continue;
            };
            let barrier = || runtime.spawn(async move { member.barrier().await.is_ok() });
            let running = barriers.entry(id).or_insert_with(barrier);
            if !running.is_finished() {
                missing.push(id);
            }
        }
        if missing.is_empty() {
            let mut answers = Vec::new();
            for (_, running) in std::mem::take(&mut barriers) {
                answers.push(simulation.clients.block_on(running).unwrap_or(false));
            }
            if answers.iter().all(|served| *served) {
                return Ok(());
            }
        }
        if simulation.now() > end {
            return Err(format!("members {missing:?} do not serve {RECOVERY} ms after the last fault"));
        }
    }
}

/// Waits until all watchers have received the last acknowledged change.
pub fn watchers_caught_up(simulation: &mut Simulation, observations: &Observations) -> Result<(), String> {
    let last = observations.written.lock().iter().filter_map(|one| one.index).max().unwrap_or(0);
    simulation.run_until(RECOVERY, "the watchers", |_| {
        for (number, seen) in observations.seen.iter().enumerate() {
            let reached = seen.lock().last().map_or(0, |seen| seen.index);
            if reached < last {
                return Err(format!("watcher {number} was told up to {reached}, not {last}"));
            }
        }
        Ok(())
    })
}

pub fn check_all(simulation: &mut Simulation, observations: &Observations) -> Result<String, String> {
    same_state(simulation)?;
    let written = std::mem::take(&mut *observations.written.lock());
    let acknowledged = written.iter().filter(|one| one.index.is_some()).count();
    for machine in &simulation.machines {
        let Some(member) = machine.member() else { continue };
        for one in &written {
            let Some(index) = one.index else { continue };
            let found = member.read(|store| store.get(&key(&one.key), false)).ok();
            let found = found.map(|event| (event.node.created_index, event.node.modified_index));
            if found != Some((index, index)) {
                let (key, id) = (&one.key, machine.id);
                return Err(format!("{key} was acknowledged at {index}; member {id} has it at {found:?}"));
            }
        }
    }
    for seen in &observations.seen {
        let seen = std::mem::take(&mut *seen.lock());
        check_events(&seen, &written).map_err(|failure| chain(&failure))?;
        check_all_events_delivered(simulation, &seen)?;
    }
    let mut history = std::mem::take(&mut *observations.history.lock());
    read_again(simulation, &mut history);
    let operations = prove(&history)?;
    if acknowledged < MIN_OPERATIONS {
        return Err(format!("{acknowledged} writes were acknowledged: too few to say anything"));
    }
    Ok(format!("{operations} operations, {acknowledged} keys"))
}

/// Every key in the ledger has an event, whether or not its write was acknowledged.
fn check_all_events_delivered(
    simulation: &Simulation,
    seen: &[conformance::history::WatchEvent],
) -> Result<(), String> {
    let Some(last) = seen.last().map(|seen| seen.index) else { return Ok(()) };
    let Some(member) = simulation.machines.iter().find_map(|machine| machine.member()) else { return Ok(()) };
    let Ok(ledger) = member.read(|store| store.get(&key(FOLDER), false)) else { return Ok(()) };
    for node in ledger.node.nodes {
        let index = node.modified_index;
        if index <= last && seen.binary_search_by_key(&index, |seen| seen.index).is_err() {
            return Err(format!("{} at {index} was not told", String::from_utf8_lossy(node.key.as_bytes())));
        }
    }
    Ok(())
}

/// Reads each key at each member; all have the same state by now.
fn read_again(simulation: &Simulation, history: &mut Vec<Operation>) {
    let keys = history.iter().map(|one| one.key.clone()).collect::<std::collections::BTreeSet<_>>();
    for (number, machine) in simulation.machines.iter().enumerate() {
        let Some(member) = machine.member() else { continue };
        for at in &keys {
            let called = simulation.context.trace.moments.next();
            let read = member.read(|store| store.get(&key(at), false)).ok();
            let value = read.and_then(|event| std::str::from_utf8(&event.node.value?).ok()?.parse().ok());
            let answered = simulation.context.trace.moments.next();
            let (client, outcome) = (1_000 + number, Outcome::Saw(value));
            history.push(Operation {
                client,
                key: at.clone(),
                action: Action::Read,
                outcome,
                called,
                answered,
            });
        }
    }
}

fn prove(history: &[Operation]) -> Result<usize, String> {
    let answered = history.iter().filter(|one| one.outcome != Outcome::Unknown).count();
    if answered < MIN_OPERATIONS {
        return Err(format!("{answered} operations were answered: too few to say anything"));
    }
    match check(history) {
        Verdict::Linearizable => Ok(answered),
        Verdict::Undecided { key } => Err(format!("the history of {key} could not be decided")),
        Verdict::Violated(partition) => {
            let partition = partition.iter().map(|one| format!("{one}\n"));
            Err(format!("the history is not linearizable:\n{}", partition.collect::<String>()))
        }
    }
}

/// All members reach the same log index with the same state.
fn same_state(simulation: &mut Simulation) -> Result<(), String> {
    simulation.run_until(RECOVERY, "one state", |simulation| {
        let members = || simulation.machines.iter().filter_map(|machine| machine.member());
        let endpoints = members().map(|member| member.position().0).collect::<Vec<_>>();
        if endpoints.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(());
        }
        Err(format!("they are at {endpoints:?}"))
    })?;
    let digests = simulation.machines.iter().filter_map(|machine| machine.member()).map(digest);
    let digests = digests.collect::<Vec<_>>();
    if digests.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("members differ at the same place in the log: {digests:x?}"));
    }
    Ok(())
}

fn digest(member: &Member) -> u64 {
    let records = member.read(Store::snapshot).records();
    let records = records.filter(|record| (record.table, record.key) != (Table::Meta, COUNTERS));
    let mut records = records.map(|record| (record.table, record.key, record.bytes)).collect::<Vec<_>>();
    records.sort();
    let mut hasher = DefaultHasher::new();
    records.hash(&mut hasher);
    hasher.finish()
}
