//! What must hold at the end of a seed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use conformance::history::{Action, Operation, Outcome, Verdict, check, check_seen};
use etcd_raft::Member;
use etcd_store::{Store, Table};
use service::error::chain;
use tokio::task::JoinHandle;

use super::history::key;
use super::ledger::FOLDER;
use super::network::Place;
use super::run::{RECOVERY, Told};
use super::world::World;

/// A proof about nothing proves nothing.
const FEWEST: usize = 60;
/// `kv`'s record of counters: reads, too, which each member counts for itself.
const COUNTERS: u64 = 0;

/// All members run, and answer quorum reads.
pub fn all_serve(world: &mut World) -> Result<(), String> {
    let mut asked: BTreeMap<u64, JoinHandle<bool>> = BTreeMap::new();
    let end = world.now() + RECOVERY;
    loop {
        world.tick()?;
        let mut missing = Vec::new();
        for machine in &mut world.machines {
            if machine.is_off() {
                machine.start();
            }
            let id = machine.id;
            let Some(Place { member, runtime }) = world.surroundings.wires.place(id) else {
                missing.push(id);
                continue;
            };
            let ask = || runtime.spawn(async move { member.barrier().await.is_ok() });
            let asking = asked.entry(id).or_insert_with(ask);
            if !asking.is_finished() {
                missing.push(id);
            }
        }
        if missing.is_empty() {
            let mut answers = Vec::new();
            for (_, asking) in std::mem::take(&mut asked) {
                answers.push(world.clients.block_on(asking).unwrap_or(false));
            }
            if answers.iter().all(|served| *served) {
                return Ok(());
            }
        }
        if world.now() > end {
            return Err(format!("members {missing:?} do not serve {RECOVERY} ms after the last fault"));
        }
    }
}

/// Watchers were told of the last thing that was acknowledged.
pub fn all_watched(world: &mut World, told: &Told) -> Result<(), String> {
    let last = told.written.lock().iter().filter_map(|one| one.index).max().unwrap_or(0);
    world.run_until(RECOVERY, "the watchers", |_| {
        for (number, seen) in told.seen.iter().enumerate() {
            let reached = seen.lock().last().map_or(0, |seen| seen.index);
            if reached < last {
                return Err(format!("watcher {number} was told up to {reached}, not {last}"));
            }
        }
        Ok(())
    })
}

pub fn check_all(world: &mut World, told: &Told) -> Result<String, String> {
    same_state(world)?;
    let written = std::mem::take(&mut *told.written.lock());
    let acknowledged = written.iter().filter(|one| one.index.is_some()).count();
    for machine in &world.machines {
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
    for seen in &told.seen {
        let seen = std::mem::take(&mut *seen.lock());
        check_seen(&seen, &written).map_err(|failure| chain(&failure))?;
        told_all_that_is_there(world, &seen)?;
    }
    let mut history = std::mem::take(&mut *told.history.lock());
    read_again(world, &mut history);
    let operations = prove(&history)?;
    if acknowledged < FEWEST {
        return Err(format!("{acknowledged} writes were acknowledged: too few to say anything"));
    }
    Ok(format!("{operations} operations, {acknowledged} keys"))
}

/// What is in the ledger was told, whether its writer had an answer or not.
fn told_all_that_is_there(world: &World, seen: &[conformance::history::Seen]) -> Result<(), String> {
    let Some(last) = seen.last().map(|seen| seen.index) else { return Ok(()) };
    let Some(member) = world.machines.iter().find_map(|machine| machine.member()) else { return Ok(()) };
    let Ok(ledger) = member.read(|store| store.get(&key(FOLDER), false)) else { return Ok(()) };
    for node in ledger.node.nodes {
        let index = node.modified_index;
        if index <= last && seen.binary_search_by_key(&index, |seen| seen.index).is_err() {
            return Err(format!("{} at {index} was not told", String::from_utf8_lossy(node.key.as_bytes())));
        }
    }
    Ok(())
}

/// Each key once more at each member; all have the same state by now.
fn read_again(world: &World, history: &mut Vec<Operation>) {
    let keys = history.iter().map(|one| one.key.clone()).collect::<std::collections::BTreeSet<_>>();
    for (number, machine) in world.machines.iter().enumerate() {
        let Some(member) = machine.member() else { continue };
        for at in &keys {
            let called = world.surroundings.trace.moments.next();
            let read = member.read(|store| store.get(&key(at), false)).ok();
            let value = read.and_then(|event| std::str::from_utf8(&event.node.value?).ok()?.parse().ok());
            let answered = world.surroundings.trace.moments.next();
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
    if answered < FEWEST {
        return Err(format!("{answered} operations were answered: too few to say anything"));
    }
    match check(history) {
        Verdict::Linearizable => Ok(answered),
        Verdict::Undecided { key } => Err(format!("the history of {key} could not be decided")),
        Verdict::Violated(part) => {
            let part = part.iter().map(|one| format!("{one}\n"));
            Err(format!("the history is not linearizable:\n{}", part.collect::<String>()))
        }
    }
}

/// All members come to the same place in the log, with the same state there.
fn same_state(world: &mut World) -> Result<(), String> {
    world.run_until(RECOVERY, "one state", |world| {
        let members = || world.machines.iter().filter_map(|machine| machine.member());
        let places = members().map(|member| member.position().0).collect::<Vec<_>>();
        if places.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(());
        }
        Err(format!("they are at {places:?}"))
    })?;
    let digests = world.machines.iter().filter_map(|machine| machine.member()).map(digest);
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
