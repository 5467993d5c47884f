//! One seed from start to verdict.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conformance::history::{Operation, WatchEvent, Written};
use etcd_raft::{InitialMember, MemberConfig, Start};
use fastrand::Rng;
use parking_lot::Mutex;
use raft_log::simulated::Fate;

use super::checks;
use super::clients::Client;
use super::faults::Faults;
use super::isolated_faults;
use super::ledger::{Writer, write_expiring_keys};
use super::machine::Machine;
use super::network::SimulatedNetwork;
use super::simulation::Simulation;
use super::trace::Trace;
use super::watchers::Watcher;

const CLUSTER: u64 = 0xc1;
const CLIENTS: usize = 5;
const WRITERS: usize = 3;
const WATCHERS: usize = 2;
/// Milliseconds during which faults are injected.
const LOAD: std::ops::Range<u64> = 3_000..8_000;
/// A segment size for the longest record.
const LONG_SEGMENT: u64 = 16 << 20;
/// Virtual milliseconds within which everything must recover.
pub const RECOVERY: u64 = 30_000;

/// Deliberate violations, without a change to the tested code, to validate the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    None,
    /// Disks report syncs that they do not perform.
    LyingDisks,
    /// Clients read without a barrier.
    NoBarrier,
    /// A watcher drops one event.
    LostEvent,
}

/// What the clients observed.
#[derive(Default)]
pub struct Observations {
    pub history: Arc<Mutex<Vec<Operation>>>,
    pub written: Arc<Mutex<Vec<Written>>>,
    pub seen: Vec<Arc<Mutex<Vec<WatchEvent>>>>,
}

pub fn simulate(seed: u64, sabotage: Sabotage, trace: &Arc<Trace>) -> Result<String, String> {
    let mut random = Rng::with_seed(seed);
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.map_err(|error| error.to_string())?;
    let mut simulation = build(seed, &mut random, folder.path(), trace);
    simulation.machines.iter_mut().for_each(|machine| {
        machine.disk.set_lying_syncs(sabotage == Sabotage::LyingDisks);
        machine.start();
    });
    let observations = begin_load(&mut simulation, &mut random, sabotage);
    let mut faults = Faults::new(random.fork());
    // Bootstrapping under faults is not tested here.
    simulation
        .run_until(RECOVERY, "a leader", |simulation| simulation.leader().map(drop).ok_or("none".into()))?;
    simulation.run_for(500)?;
    isolated_faults::slow_disks(&mut simulation)?;
    for _ in 0..random.u64(LOAD) {
        simulation.tick()?;
        faults.step(&mut simulation);
        if sabotage == Sabotage::LyingDisks {
            simulation.machines.iter().for_each(|machine| machine.disk.set_lying_syncs(true));
        }
    }
    trace.highlight(format_args!("the faults are over"));
    faults.end(&mut simulation);
    checks::all_serve(&mut simulation)?;
    simulation.run_for(1_000)?;
    simulation.context.end();
    simulation.run_for(3_000)?;
    isolated_faults::far_apart(&mut simulation)?;
    if has_long_values(seed) {
        isolated_faults::narrow_links(&mut simulation)?;
    }
    isolated_faults::one_at_a_time(&mut simulation, &mut random.fork())?;
    checks::watchers_caught_up(&mut simulation, &observations)?;
    // Acknowledged data does not depend on running members.
    for machine in &mut simulation.machines {
        let mixed = Fate::Mixed(random.u64(..));
        machine.crash(if random.bool() { Fate::Lost } else { mixed });
        machine.start();
    }
    checks::all_serve(&mut simulation)?;
    let checked = checks::check_all(&mut simulation, &observations)?;
    let (digest, lines) = trace.finish();
    Ok(format!(
        "seed {seed}: {} members, {} faults, {checked}, {} ms, {lines} lines, digest {digest:016x}",
        simulation.machines.len(),
        faults.done,
        simulation.now()
    ))
}

/// A record must fit a segment, so these seeds have large segments and the others have many.
fn has_long_values(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

fn build(seed: u64, random: &mut Rng, folder: &Path, trace: &Arc<Trace>) -> Simulation {
    let members = if random.u32(0..3) == 0 { 5 } else { 3 };
    let url = |id: u64| vec![format!("http://m{id}:2380")];
    let initial = (1..=members).map(|id| InitialMember { id, name: format!("m{id}"), peer_urls: url(id) });
    let initial = initial.collect::<Vec<_>>();
    let network = SimulatedNetwork::new(random.fork(), Arc::clone(trace));
    let short = 4096 << random.u32(0..4);
    let segment_bytes = if has_long_values(seed) { LONG_SEGMENT } else { short };
    let (snapshot_count, catch_up_entries) = (random.u64(20..200), random.u64(2..80));
    let machines = (1..=members).map(|id| {
        let name = format!("m{id}");
        let mut config = MemberConfig::new(folder.join(&name), CLUSTER, id, &name);
        config.peer_urls = url(id);
        config.start = Start::New(initial.clone());
        config.heartbeat = Duration::from_millis(50);
        config.election_timeout = Duration::from_millis(500);
        config.log_segment_bytes = segment_bytes;
        config.snapshot_count = snapshot_count;
        config.catch_up_entries = catch_up_entries;
        Machine::new(config, random.fork(), &network, trace)
    });
    let machines = machines.collect();
    Simulation::new(machines, network, Arc::clone(trace), random.fork())
}

fn begin_load(simulation: &mut Simulation, random: &mut Rng, sabotage: Sabotage) -> Observations {
    let mut observations = Observations::default();
    let context = || Arc::clone(&simulation.context);
    let members = simulation.context.members;
    for number in 0..CLIENTS + members as usize {
        let client = Client {
            number,
            random: random.fork(),
            fixed_member: number.checked_sub(CLIENTS).map(|endpoint| endpoint as u64 + 1),
            barrier: sabotage != Sabotage::NoBarrier,
            context: context(),
            seen: Arc::clone(&observations.history),
        };
        simulation.clients.spawn(client.run());
    }
    for number in 0..WRITERS {
        let (random, written) = (random.fork(), Arc::clone(&observations.written));
        let writer = Writer { number, random, context: context(), written };
        simulation.clients.spawn(writer.run());
    }
    for number in 0..WATCHERS {
        let seen = Arc::default();
        observations.seen.push(Arc::clone(&seen));
        let drops_one_event = sabotage == Sabotage::LostEvent;
        let watcher = Watcher { number, random: random.fork(), context: context(), seen, drops_one_event };
        simulation.clients.spawn(watcher.run());
    }
    simulation.clients.spawn(write_expiring_keys(random.fork(), context()));
    observations
}
