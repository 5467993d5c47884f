//! Phases with one fault at a time and no other load: busy clients would hide a cluster that does not recover without
//! them.

use std::ops::Range;

use bytes::Bytes;
use etcd_store::{Command, Put};
use fastrand::Rng;
use raft_log::simulated::Fate;
use tokio::task::JoinHandle;

use super::checks;
use super::history::put;
use super::machine::Machine;
use super::network::{Endpoint, LOSSLESS, NORMAL, NetworkConditions};
use super::simulation::Simulation;

/// The flush latency of all disks.
const SLOW_FLUSH: u64 = 1_500;
/// If each quorum read waited for a flush, there would be three or four rounds.
const MIN_SLOW_ROUNDS: u32 = 50;
/// One-way latency in milliseconds: the round trip is nearly three times the heartbeat interval, and longer than half
/// of a leader's lease.
const DISTANT_LATENCY: (u64, u64) = (65, 75);
const IDLE: u64 = 2_000;
/// 100 Mbit/s in bytes per millisecond.
const NARROW_BANDWIDTH: u64 = 12_500;
/// The longest value that a client may put.
const LONG_VALUE: usize = 10 << 20;
/// For the longest value, from a follower to the leader and from there to all followers: the time that a client
/// waits.
const LONG_VALUE_TIMEOUT: u64 = 6_000;
/// The limit when distance is the only fault.
const REQUEST_TIMEOUT: u64 = 2_000;
/// Faults per seed.
const FAULTS_PER_SEED: usize = 4;
const FAULT_DURATION: Range<u64> = 20..2_500;

/// A fault of one member, unless noted.
#[derive(Debug, Clone, Copy)]
enum IsolatedFault {
    /// Its connections are reset once.
    Reset,
    /// Its power fails.
    PowerLoss,
    /// Its process is killed.
    Killed,
    /// The power of all machines fails.
    AllPowerLoss,
    Paused,
    /// It can neither send nor receive.
    Isolated,
    /// It cannot receive.
    Deaf,
    /// It cannot send.
    Mute,
    /// Its disk is full.
    Full,
    /// Its disk takes this many milliseconds for a flush.
    Slow(u64),
}

const ALL_FAULTS: [IsolatedFault; 10] = [
    IsolatedFault::Reset,
    IsolatedFault::PowerLoss,
    IsolatedFault::Killed,
    IsolatedFault::AllPowerLoss,
    IsolatedFault::Paused,
    IsolatedFault::Isolated,
    IsolatedFault::Deaf,
    IsolatedFault::Mute,
    IsolatedFault::Full,
    IsolatedFault::Slow(SLOW_FLUSH),
];

/// Disks whose flush takes far longer than the leader's lease delay writes. A quorum read waits at most for a flush
/// in progress at a member that is behind.
pub fn slow_disks(simulation: &mut Simulation) -> Result<(), String> {
    simulation.context.trace.highlight(format_args!("all disks take {SLOW_FLUSH} ms"));
    simulation.machines.iter().for_each(|machine| machine.disk_latency.set_steady(SLOW_FLUSH));
    simulation.context.network.set_conditions(LOSSLESS);
    let end = simulation.now() + 3 * SLOW_FLUSH;
    let mut rounds = 0;
    while simulation.now() < end {
        checks::all_serve(simulation)?;
        rounds += 1;
    }
    simulation.machines.iter().for_each(|machine| machine.disk_latency.set(2));
    simulation.context.network.set_conditions(NORMAL);
    if rounds < MIN_SLOW_ROUNDS {
        return Err(format!("{rounds} rounds of quorum reads while disks take {SLOW_FLUSH} ms, three times"));
    }
    Ok(())
}

/// Members whose responses take longer than the heartbeat interval still serve, also after an idle period.
pub fn far_apart(simulation: &mut Simulation) -> Result<(), String> {
    let (shortest, longest) = DISTANT_LATENCY;
    simulation.context.trace.highlight(format_args!("each way takes {shortest} to {longest} ms"));
    simulation.context.network.set_conditions(NetworkConditions { shortest, longest, ..LOSSLESS });
    simulation.run_for(IDLE)?;
    all_read(simulation)?;
    simulation.run_for(IDLE)?;
    all_write(simulation)?;
    simulation.context.network.set_conditions(NORMAL);
    Ok(())
}

/// The longest values take seconds over slow links, and the leader keeps its leadership.
pub fn narrow_links(simulation: &mut Simulation) -> Result<(), String> {
    simulation.context.trace.highlight(format_args!("links take {NARROW_BANDWIDTH} bytes in a millisecond"));
    simulation
        .context
        .network
        .set_conditions(NetworkConditions { bandwidth: Some(NARROW_BANDWIDTH), ..LOSSLESS });
    let leads = |simulation: &Simulation| {
        let status =
            |machine: &Machine| machine.member().map(|member| (member.status().term, member.status().leader));
        simulation.machines.iter().map(status).collect::<Vec<_>>()
    };
    let before = leads(simulation);
    let value = Bytes::from(vec![b'x'; LONG_VALUE]);
    for id in 1..=simulation.context.members {
        let command = Command::Put(Put { value: value.clone(), ..put("/long", id) });
        let written = await_write(simulation, id, command, LONG_VALUE_TIMEOUT);
        let now = leads(simulation);
        if now != before {
            return Err(format!(
                "terms and leaders while member {id} writes a long value: {before:?}, then {now:?}"
            ));
        }
        written?;
    }
    await_write(simulation, 1, Command::Put(put("/long", 0)), REQUEST_TIMEOUT)?;
    simulation.context.network.set_conditions(NORMAL);
    Ok(())
}

/// After each fault and an idle period all members read and write as before.
pub fn one_at_a_time(simulation: &mut Simulation, random: &mut Rng) -> Result<(), String> {
    simulation.context.network.set_conditions(LOSSLESS);
    for _ in 0..FAULTS_PER_SEED {
        // `ALL_FAULTS` is not empty.
        let Some(fault) = random.choice(ALL_FAULTS) else { continue };
        let other = random.u64(1..=simulation.context.members);
        let victim = simulation.leader().filter(|_| random.bool()).unwrap_or(other);
        let description = format!("{fault:?} alone, with member {victim}");
        simulation.context.trace.highlight(format_args!("{description}"));
        begin(simulation, fault, victim);
        // The outcome of these writes is unknown.
        let trying: Vec<_> = (1..=simulation.context.members)
            .filter_map(|id| write(simulation, id, Command::Put(put("/quiet", id))))
            .collect();
        simulation.run_for(random.u64(FAULT_DURATION))?;
        drop(trying);
        end(simulation, fault, victim);
        checks::all_serve(simulation)?;
        simulation.run_for(IDLE)?;
        all_read(simulation)
            .and_then(|()| all_write(simulation))
            .map_err(|error| format!("after {description}: {error}"))?;
    }
    simulation.context.network.set_conditions(NORMAL);
    Ok(())
}

fn begin(simulation: &mut Simulation, fault: IsolatedFault, victim: u64) {
    let members = 1..=simulation.context.members;
    let network = &simulation.context.network;
    let machine = &mut simulation.machines[victim as usize - 1];
    let others = members.filter(|id| *id != victim);
    match fault {
        IsolatedFault::Reset => others.for_each(|other| network.reset(victim, other)),
        IsolatedFault::PowerLoss => machine.crash(Fate::Lost),
        IsolatedFault::Killed => machine.crash(Fate::Kept),
        IsolatedFault::AllPowerLoss => {
            simulation.machines.iter_mut().for_each(|machine| machine.crash(Fate::Lost))
        }
        IsolatedFault::Paused => machine.pause(),
        IsolatedFault::Isolated => others.for_each(|other| {
            network.stop(victim, other);
            network.stop(other, victim);
        }),
        IsolatedFault::Deaf => others.for_each(|other| network.stop(other, victim)),
        IsolatedFault::Mute => others.for_each(|other| network.stop(victim, other)),
        IsolatedFault::Full => machine.disk.set_space(Some(0)),
        IsolatedFault::Slow(millis) => machine.disk_latency.set_steady(millis),
    }
}

fn end(simulation: &mut Simulation, fault: IsolatedFault, victim: u64) {
    let machine = &mut simulation.machines[victim as usize - 1];
    match fault {
        IsolatedFault::Paused => machine.resume(),
        IsolatedFault::Isolated | IsolatedFault::Deaf | IsolatedFault::Mute => {
            simulation.context.network.heal()
        }
        IsolatedFault::Full => machine.disk.set_space(None),
        IsolatedFault::Slow(_) => machine.disk_latency.set(2),
        // `checks::all_serve` starts stopped members.
        IsolatedFault::Reset
        | IsolatedFault::PowerLoss
        | IsolatedFault::Killed
        | IsolatedFault::AllPowerLoss => {}
    }
}

fn all_read(simulation: &mut Simulation) -> Result<(), String> {
    let began = simulation.now();
    checks::all_serve(simulation)?;
    let took = simulation.now() - began;
    if took > REQUEST_TIMEOUT { Err(format!("quorum reads took {took} ms")) } else { Ok(()) }
}

fn all_write(simulation: &mut Simulation) -> Result<(), String> {
    for id in 1..=simulation.context.members {
        await_write(simulation, id, Command::Put(put("/quiet", id)), REQUEST_TIMEOUT)?;
    }
    Ok(())
}

fn await_write(simulation: &mut Simulation, id: u64, command: Command, limit: u64) -> Result<(), String> {
    let writing = write(simulation, id, command).ok_or_else(|| format!("member {id} is gone"))?;
    let written = |_: &Simulation| if writing.is_finished() { Ok(()) } else { Err("it waits".to_owned()) };
    simulation.run_until(limit, &format!("a write at member {id}"), written)?;
    let outcome = simulation.clients.block_on(writing).map_err(|error| error.to_string())?;
    outcome.map(drop).map_err(|error| format!("a write at member {id}: {error}"))
}

/// `None` if the member is not running.
fn write(
    simulation: &Simulation,
    id: u64,
    command: Command,
) -> Option<JoinHandle<Result<etcd_store::Outcome, etcd_raft::Unavailable>>> {
    let Endpoint { member, runtime } = simulation.context.network.endpoint(id)?;
    Some(runtime.spawn(async move { member.propose(&command).await }))
}
