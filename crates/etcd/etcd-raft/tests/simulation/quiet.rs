//! Phases in which one thing is wrong at a time, and nobody but they reads or writes: what a cluster does not come
//! back from by itself is hidden by busy clients.

use std::ops::Range;

use bytes::Bytes;
use etcd_store::{Command, Put};
use fastrand::Rng;
use raft_log::simulated::Fate;
use tokio::task::JoinHandle;

use super::history::put;
use super::machine::Machine;
use super::network::{FAIR, LOSSLESS, Place, Weather};
use super::verdict;
use super::world::World;

/// Of all disks, for a while.
const SLOW_FLUSH: u64 = 1_500;
/// Quorum reads that waited for a flush each would be three or four.
const SLOW_ROUNDS: u32 = 50;
/// Each way between two members, in milliseconds: to and fro it is twice the pause between heartbeats.
const FAR: (u64, u64) = (45, 55);
const IDLE: u64 = 2_000;
/// Bytes that a machine with 100 Mbit/s can send in a millisecond.
const NARROW: u64 = 12_500;
/// The longest value that a client may put.
const LONG_VALUE: usize = 10 << 20;
/// For the longest value, from a follower to the leader and from there to all followers: as long as a client waits.
const LONG_ANSWER: u64 = 6_000;
/// Where nothing is wrong any more but distance.
const ANSWER: u64 = 2_000;
/// So many of the faults for each seed.
const ALONE: usize = 4;
const LASTS: Range<u64> = 20..2_500;

/// What is wrong, with which member.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// Its connections break, once.
    Reset,
    /// Its power fails.
    Dark,
    /// Its process is killed.
    Killed,
    /// All machines' power fails.
    AllDark,
    Paused,
    /// Nothing reaches it, and nothing of it the others.
    Parted,
    /// Nothing reaches it.
    Deaf,
    /// Nothing of it reaches the others.
    Mute,
    /// Its disk is full.
    Full,
    /// Its disk takes this many milliseconds for a flush.
    Slow(u64),
}

const ALL_WRONG: [Wrong; 10] = [
    Wrong::Reset,
    Wrong::Dark,
    Wrong::Killed,
    Wrong::AllDark,
    Wrong::Paused,
    Wrong::Parted,
    Wrong::Deaf,
    Wrong::Mute,
    Wrong::Full,
    Wrong::Slow(SLOW_FLUSH),
];

/// Disks that take far longer for a flush than the leader's lease lasts slow down writes. A quorum read needs no flush
/// but the one that is under way where its member is behind: without it each one would wait.
pub fn slow_disks(world: &mut World) -> Result<(), String> {
    world.surroundings.trace.tell(format_args!("all disks take {SLOW_FLUSH} ms"));
    world.machines.iter().for_each(|machine| machine.pace.set_steady(SLOW_FLUSH));
    world.surroundings.wires.set_weather(LOSSLESS);
    let end = world.now() + 3 * SLOW_FLUSH;
    let mut rounds = 0;
    while world.now() < end {
        verdict::all_serve(world)?;
        rounds += 1;
    }
    world.machines.iter().for_each(|machine| machine.pace.set(2));
    world.surroundings.wires.set_weather(FAIR);
    if rounds < SLOW_ROUNDS {
        return Err(format!("{rounds} rounds of quorum reads while disks take {SLOW_FLUSH} ms, three times"));
    }
    Ok(())
}

/// Members whose answers take longer than the pause between two heartbeats serve all the same, also after a while in
/// which nothing was written.
pub fn far_apart(world: &mut World) -> Result<(), String> {
    let (shortest, longest) = FAR;
    world.surroundings.trace.tell(format_args!("each way takes {shortest} to {longest} ms"));
    world.surroundings.wires.set_weather(Weather { shortest, longest, ..LOSSLESS });
    world.run_for(IDLE)?;
    all_read(world)?;
    world.run_for(IDLE)?;
    all_write(world)?;
    world.surroundings.wires.set_weather(FAIR);
    Ok(())
}

/// The longest values take seconds over narrow links. The leader stays.
pub fn narrow_links(world: &mut World) -> Result<(), String> {
    world.surroundings.trace.tell(format_args!("links take {NARROW} bytes in a millisecond"));
    world.surroundings.wires.set_weather(Weather { bandwidth: Some(NARROW), ..LOSSLESS });
    let leads = |world: &World| {
        let status =
            |machine: &Machine| machine.member().map(|member| (member.status().term, member.status().leader));
        world.machines.iter().map(status).collect::<Vec<_>>()
    };
    let before = leads(world);
    let value = Bytes::from(vec![b'x'; LONG_VALUE]);
    for id in 1..=world.surroundings.members {
        let command = Command::Put(Put { value: value.clone(), ..put("/long", id) });
        let written = await_write(world, id, command, LONG_ANSWER);
        let now = leads(world);
        if now != before {
            return Err(format!(
                "terms and leaders while member {id} writes a long value: {before:?}, then {now:?}"
            ));
        }
        written?;
    }
    await_write(world, 1, Command::Put(put("/long", 0)), ANSWER)?;
    world.surroundings.wires.set_weather(FAIR);
    Ok(())
}

/// After each fault alone, and a while in which nobody writes, all members read and write as before.
pub fn one_at_a_time(world: &mut World, random: &mut Rng) -> Result<(), String> {
    world.surroundings.wires.set_weather(LOSSLESS);
    for _ in 0..ALONE {
        // A choice of none is a bug above.
        let Some(wrong) = random.choice(ALL_WRONG) else { continue };
        let other = random.u64(1..=world.surroundings.members);
        let victim = world.leader().filter(|_| random.bool()).unwrap_or(other);
        let told = format!("{wrong:?} alone, with member {victim}");
        world.surroundings.trace.tell(format_args!("{told}"));
        begin(world, wrong, victim);
        // Whether they are taken is not known.
        let trying: Vec<_> = (1..=world.surroundings.members)
            .filter_map(|id| write(world, id, Command::Put(put("/quiet", id))))
            .collect();
        world.run_for(random.u64(LASTS))?;
        drop(trying);
        end(world, wrong, victim);
        verdict::all_serve(world)?;
        world.run_for(IDLE)?;
        all_read(world).and_then(|()| all_write(world)).map_err(|error| format!("after {told}: {error}"))?;
    }
    world.surroundings.wires.set_weather(FAIR);
    Ok(())
}

fn begin(world: &mut World, wrong: Wrong, victim: u64) {
    let members = 1..=world.surroundings.members;
    let wires = &world.surroundings.wires;
    let machine = &mut world.machines[victim as usize - 1];
    let others = members.filter(|id| *id != victim);
    match wrong {
        Wrong::Reset => others.for_each(|other| wires.reset(victim, other)),
        Wrong::Dark => machine.crash(Fate::Lost),
        Wrong::Killed => machine.crash(Fate::Kept),
        Wrong::AllDark => world.machines.iter_mut().for_each(|machine| machine.crash(Fate::Lost)),
        Wrong::Paused => machine.pause(),
        Wrong::Parted => others.for_each(|other| {
            wires.stop(victim, other);
            wires.stop(other, victim);
        }),
        Wrong::Deaf => others.for_each(|other| wires.stop(other, victim)),
        Wrong::Mute => others.for_each(|other| wires.stop(victim, other)),
        Wrong::Full => machine.disk.set_space(Some(0)),
        Wrong::Slow(millis) => machine.pace.set_steady(millis),
    }
}

fn end(world: &mut World, wrong: Wrong, victim: u64) {
    let machine = &mut world.machines[victim as usize - 1];
    match wrong {
        Wrong::Paused => machine.resume(),
        Wrong::Parted | Wrong::Deaf | Wrong::Mute => world.surroundings.wires.heal(),
        Wrong::Full => machine.disk.set_space(None),
        Wrong::Slow(_) => machine.pace.set(2),
        // Who is off is started by whoever looks whether all serve.
        Wrong::Reset | Wrong::Dark | Wrong::Killed | Wrong::AllDark => {}
    }
}

fn all_read(world: &mut World) -> Result<(), String> {
    let began = world.now();
    verdict::all_serve(world)?;
    let took = world.now() - began;
    if took > ANSWER { Err(format!("quorum reads took {took} ms")) } else { Ok(()) }
}

fn all_write(world: &mut World) -> Result<(), String> {
    for id in 1..=world.surroundings.members {
        await_write(world, id, Command::Put(put("/quiet", id)), ANSWER)?;
    }
    Ok(())
}

fn await_write(world: &mut World, id: u64, command: Command, limit: u64) -> Result<(), String> {
    let writing = write(world, id, command).ok_or_else(|| format!("member {id} is gone"))?;
    let written = |_: &World| if writing.is_finished() { Ok(()) } else { Err("it waits".to_owned()) };
    world.run_until(limit, &format!("a write at member {id}"), written)?;
    let outcome = world.clients.block_on(writing).map_err(|error| error.to_string())?;
    outcome.map(drop).map_err(|error| format!("a write at member {id}: {error}"))
}

/// Nothing where the member is away.
fn write(
    world: &World,
    id: u64,
    command: Command,
) -> Option<JoinHandle<Result<etcd_store::Outcome, etcd_raft::Unavailable>>> {
    let Place { member, runtime } = world.surroundings.wires.place(id)?;
    Some(runtime.spawn(async move { member.propose(&command).await }))
}
