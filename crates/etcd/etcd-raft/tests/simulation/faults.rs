//! What is done to machines and networks, drawn from the seed, and undone after a while.

use std::sync::atomic::Ordering;

use fastrand::Rng;
use raft_log::simulated::Fate;

use super::chance::one_in;
use super::network::{FAIR, Weather};
use super::world::World;

/// Of milliseconds between two faults.
const BETWEEN: std::ops::Range<u64> = 30..700;
const LASTS: std::ops::Range<u64> = 50..3_000;
const HOUR: i64 = 3_600;

enum Undo {
    Start(u64),
    Resume(u64),
    Heal,
    Calm,
    Fast(u64),
    Room(u64),
}

pub struct Faults {
    random: Rng,
    undo: Vec<(u64, Undo)>,
    next: u64,
    pub done: u64,
}

impl Faults {
    pub fn new(random: Rng) -> Self {
        Self { random, undo: Vec::new(), next: 0, done: 0 }
    }

    /// Called each millisecond.
    pub fn step(&mut self, world: &mut World) {
        let now = world.now();
        let (due, later) = std::mem::take(&mut self.undo).into_iter().partition(|(due, _)| *due <= now);
        self.undo = later;
        let due: Vec<(u64, Undo)> = due;
        due.into_iter().for_each(|(_, undo)| self.undo(world, undo));
        for machine in &world.machines {
            let id = machine.id;
            let planned = self.undo.iter().any(|(_, undo)| matches!(undo, Undo::Start(of) if *of == id));
            if machine.is_off() && !planned {
                let pause = if one_in(&mut self.random, 4) { LASTS.end } else { 400 };
                self.undo.push((now + self.random.u64(5..pause), Undo::Start(id)));
            }
        }
        if now >= self.next {
            self.next = now + self.random.u64(BETWEEN);
            self.done += 1;
            self.fault(world);
        }
    }

    /// Nothing is wrong any more.
    pub fn end(&mut self, world: &mut World) {
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.undo(world, undo);
        }
        for id in 1..=world.surroundings.members {
            self.undo(world, Undo::Start(id));
            self.undo(world, Undo::Room(id));
            world.machines[id as usize - 1].disk.fail_sync_after(u64::MAX);
        }
    }

    fn undo(&mut self, world: &mut World, undo: Undo) {
        let wires = &world.surroundings.wires;
        match undo {
            Undo::Heal => wires.heal(),
            Undo::Calm => wires.set_weather(FAIR),
            Undo::Start(id) => {
                let machine = &mut world.machines[id as usize - 1];
                if machine.is_off() {
                    machine.start();
                }
            }
            Undo::Resume(id) => world.machines[id as usize - 1].resume(),
            Undo::Fast(id) => world.machines[id as usize - 1].pace.set(2),
            Undo::Room(id) => world.machines[id as usize - 1].disk.set_space(None),
        }
    }

    fn later(&mut self, world: &World, undo: Undo) {
        let due = world.now() + self.random.u64(LASTS);
        self.undo.push((due, undo));
    }

    /// The leader as often as all others together.
    fn victim(&mut self, world: &World) -> u64 {
        let any = self.random.u64(1..=world.surroundings.members);
        if self.random.bool() { world.leader().unwrap_or(any) } else { any }
    }

    fn fate(&mut self) -> Fate {
        match self.random.u32(0..3) {
            0 => Fate::Kept,
            1 => Fate::Lost,
            _ => Fate::Mixed(self.random.u64(..)),
        }
    }

    fn fault(&mut self, world: &mut World) {
        let victim = self.victim(world);
        match self.random.u32(0..100) {
            0..20 => self.crash(world, victim),
            20..24 => {
                for id in 1..=world.surroundings.members {
                    self.crash(world, id);
                }
            }
            24..36 => {
                world.machines[victim as usize - 1].pause();
                self.later(world, Undo::Resume(victim));
            }
            36..62 => self.part(world, victim),
            62..70 => {
                let shortest = self.random.u64(0..30);
                let longest = shortest + self.random.u64(1..120);
                let weather =
                    Weather { shortest, longest, lost: self.random.u64(20..500), again: 300, ..FAIR };
                world.surroundings.trace.tell(format_args!("{weather:?}"));
                world.surroundings.wires.set_weather(weather);
                self.later(world, Undo::Calm);
            }
            70..76 => {
                let other = victim % world.surroundings.members + 1;
                world.surroundings.trace.tell(format_args!("connections of {victim} and {other} break"));
                world.surroundings.wires.reset(victim, other);
            }
            76..82 => {
                let jump = self.random.i64(-HOUR..=HOUR);
                let clock = &world.surroundings.clocks[victim as usize - 1];
                clock.ahead_seconds.store(jump, Ordering::Relaxed);
                world.surroundings.trace.tell(format_args!("the clock of {victim} jumps to {jump} s ahead"));
            }
            rest => self.disk(world, victim, rest),
        }
    }

    fn crash(&mut self, world: &mut World, victim: u64) {
        let fate = self.fate();
        let machine = &mut world.machines[victim as usize - 1];
        if !machine.is_off() {
            machine.crash(fate);
        }
    }

    /// Two groups, or one member from the others, both ways or one.
    fn part(&mut self, world: &mut World, victim: u64) {
        let members = world.surroundings.members;
        let alone = self.random.bool();
        let first = (1..=members).map(|id| if alone { id == victim } else { self.random.bool() });
        let first = first.collect::<Vec<_>>();
        let ways = self.random.u32(0..4);
        for (from, to) in (1..=members).flat_map(|from| (1..=members).map(move |to| (from, to))) {
            let across = match (first[from as usize - 1], first[to as usize - 1]) {
                (true, false) => ways != 0,
                (false, true) => ways != 1,
                _ => false,
            };
            if across {
                world.surroundings.trace.tell(format_args!("nothing from {from} reaches {to}"));
                world.surroundings.wires.stop(from, to);
            }
        }
        self.later(world, Undo::Heal);
    }

    fn disk(&mut self, world: &mut World, victim: u64, which: u32) {
        let machine = &mut world.machines[victim as usize - 1];
        let trace = &world.surroundings.trace;
        match which {
            82..88 => {
                let most = self.random.u64(5..150);
                machine.pace.set(most);
                trace.tell(format_args!("the disk of {victim} takes up to {most} ms"));
                self.later(world, Undo::Fast(victim));
            }
            88..92 => {
                machine.disk.set_space(Some(0));
                trace.tell(format_args!("the disk of {victim} is full"));
                self.later(world, Undo::Room(victim));
            }
            92..96 if !machine.is_off() => {
                let syncs = self.random.u64(0..20);
                machine.disk.fail_sync_after(syncs);
                machine.may_fail = true;
                trace.tell(format_args!("the disk of {victim} fails after {syncs} syncs"));
            }
            _ => machine.stop(),
        }
    }
}
