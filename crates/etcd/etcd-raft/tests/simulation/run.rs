//! One seed from its beginning to the verdict.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conformance::history::{Operation, Seen, Written};
use etcd_raft::{InitialMember, MemberConfig, Start};
use fastrand::Rng;
use parking_lot::Mutex;
use raft_log::simulated::Fate;

use super::clients::Client;
use super::faults::Faults;
use super::ledger::{Writer, write_what_expires};
use super::machine::Machine;
use super::network::Wires;
use super::quiet;
use super::trace::Trace;
use super::verdict;
use super::watchers::Watcher;
use super::world::World;

const CLUSTER: u64 = 0xc1;
const CLIENTS: usize = 5;
const WRITERS: usize = 3;
const WATCHERS: usize = 2;
/// Of milliseconds: how long there are faults.
const LOAD: std::ops::Range<u64> = 3_000..8_000;
/// Bytes of a log segment that takes the longest record.
const LONG_SEGMENT: u64 = 16 << 20;
/// Virtual milliseconds until all is as if nothing had been.
pub const RECOVERY: u64 = 30_000;

/// Promises that are broken on purpose, without a change to what is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    None,
    /// Disks say that what they were given is safe, and it is not.
    LyingDisks,
    /// Clients read without asking up to where they must see.
    NoBarrier,
    /// A watcher is not told of one event.
    LostEvent,
}

/// What clients saw.
#[derive(Default)]
pub struct Told {
    pub history: Arc<Mutex<Vec<Operation>>>,
    pub written: Arc<Mutex<Vec<Written>>>,
    pub seen: Vec<Arc<Mutex<Vec<Seen>>>>,
}

pub fn simulate(seed: u64, sabotage: Sabotage, trace: &Arc<Trace>) -> Result<String, String> {
    let mut random = Rng::with_seed(seed);
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.map_err(|error| error.to_string())?;
    let mut world = build(seed, &mut random, folder.path(), trace);
    world.machines.iter_mut().for_each(|machine| {
        machine.disk.set_lying_syncs(sabotage == Sabotage::LyingDisks);
        machine.start();
    });
    let told = begin_load(&mut world, &mut random, sabotage);
    let mut faults = Faults::new(random.fork());
    // Whether a cluster can be founded under faults is another question.
    world.run_until(RECOVERY, "a leader", |world| world.leader().map(drop).ok_or("none".into()))?;
    world.run_for(500)?;
    quiet::slow_disks(&mut world)?;
    for _ in 0..random.u64(LOAD) {
        world.tick()?;
        faults.step(&mut world);
        if sabotage == Sabotage::LyingDisks {
            world.machines.iter().for_each(|machine| machine.disk.set_lying_syncs(true));
        }
    }
    trace.tell(format_args!("the faults are over"));
    faults.end(&mut world);
    verdict::all_serve(&mut world)?;
    world.run_for(1_000)?;
    world.surroundings.end();
    world.run_for(3_000)?;
    quiet::far_apart(&mut world)?;
    if has_long_values(seed) {
        quiet::narrow_links(&mut world)?;
    }
    quiet::one_at_a_time(&mut world, &mut random.fork())?;
    verdict::all_watched(&mut world, &told)?;
    // What was acknowledged needs none of those who run.
    for machine in &mut world.machines {
        let mixed = Fate::Mixed(random.u64(..));
        machine.crash(if random.bool() { Fate::Lost } else { mixed });
        machine.start();
    }
    verdict::all_serve(&mut world)?;
    let checked = verdict::check_all(&mut world, &told)?;
    let (digest, lines) = trace.finish();
    Ok(format!(
        "seed {seed}: {} members, {} faults, {checked}, {} ms, {lines} lines, digest {digest:016x}",
        world.machines.len(),
        faults.done,
        world.now()
    ))
}

/// A record fits into a segment: these seeds have long ones, and the others go from segment to segment.
fn has_long_values(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

fn build(seed: u64, random: &mut Rng, folder: &Path, trace: &Arc<Trace>) -> World {
    let members = if random.u32(0..3) == 0 { 5 } else { 3 };
    let url = |id: u64| vec![format!("http://m{id}:2380")];
    let initial = (1..=members).map(|id| InitialMember { id, name: format!("m{id}"), peer_urls: url(id) });
    let initial = initial.collect::<Vec<_>>();
    let wires = Wires::new(random.fork(), Arc::clone(trace));
    let short = 4096 << random.u32(0..4);
    let segment_bytes = if has_long_values(seed) { LONG_SEGMENT } else { short };
    let (snapshot_count, kept_entries) = (random.u64(20..200), random.u64(2..80));
    let machines = (1..=members).map(|id| {
        let name = format!("m{id}");
        let mut config = MemberConfig::new(folder.join(&name), CLUSTER, id, &name);
        config.peer_urls = url(id);
        config.start = Start::New(initial.clone());
        config.heartbeat = Duration::from_millis(50);
        config.election_timeout = Duration::from_millis(500);
        config.log_segment_bytes = segment_bytes;
        config.snapshot_count = snapshot_count;
        config.kept_entries = kept_entries;
        Machine::new(config, random.fork(), &wires, trace)
    });
    let machines = machines.collect();
    World::new(machines, wires, Arc::clone(trace), random.fork())
}

fn begin_load(world: &mut World, random: &mut Rng, sabotage: Sabotage) -> Told {
    let mut told = Told::default();
    let surroundings = || Arc::clone(&world.surroundings);
    let members = world.surroundings.members;
    for number in 0..CLIENTS + members as usize {
        let client = Client {
            number,
            random: random.fork(),
            stays_at: number.checked_sub(CLIENTS).map(|place| place as u64 + 1),
            barrier: sabotage != Sabotage::NoBarrier,
            surroundings: surroundings(),
            seen: Arc::clone(&told.history),
        };
        world.clients.spawn(client.run());
    }
    for number in 0..WRITERS {
        let (random, written) = (random.fork(), Arc::clone(&told.written));
        let writer = Writer { number, random, surroundings: surroundings(), written };
        world.clients.spawn(writer.run());
    }
    for number in 0..WATCHERS {
        let seen = Arc::default();
        told.seen.push(Arc::clone(&seen));
        let loses_one = sabotage == Sabotage::LostEvent;
        let watcher =
            Watcher { number, random: random.fork(), surroundings: surroundings(), seen, loses_one };
        world.clients.spawn(watcher.run());
    }
    world.clients.spawn(write_what_expires(random.fork(), surroundings()));
    told
}
