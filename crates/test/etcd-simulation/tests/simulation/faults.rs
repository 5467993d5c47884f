//! Random faults of machines and networks, and their repair.

use std::sync::atomic::Ordering;

use fastrand::Rng;
use raft_log::simulated::Fate;

use super::network::{NORMAL, NetworkConditions};
use super::simulation::Simulation;
use etcd_simulation::one_in;

/// Milliseconds between two faults.
const FAULT_INTERVAL: std::ops::Range<u64> = 30..700;
const FAULT_DURATION: std::ops::Range<u64> = 50..3_000;
const HOUR: i64 = 3_600;

enum Undo {
    Start(u64),
    Resume(u64),
    Heal,
    RestoreNetwork,
    RestoreDiskSpeed(u64),
    RestoreDiskSpace(u64),
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

    /// Called every millisecond.
    pub fn step(&mut self, simulation: &mut Simulation) {
        let now = simulation.now();
        let (due, deferred) = std::mem::take(&mut self.undo).into_iter().partition(|(due, _)| *due <= now);
        self.undo = deferred;
        let due: Vec<(u64, Undo)> = due;
        due.into_iter().for_each(|(_, undo)| self.undo(simulation, undo));
        for machine in &simulation.machines {
            let id = machine.id;
            let planned = self.undo.iter().any(|(_, undo)| matches!(undo, Undo::Start(of) if *of == id));
            if machine.is_off() && !planned {
                let pause = if one_in(&mut self.random, 4) { FAULT_DURATION.end } else { 400 };
                self.undo.push((now + self.random.u64(5..pause), Undo::Start(id)));
            }
        }
        if now >= self.next {
            self.next = now + self.random.u64(FAULT_INTERVAL);
            self.done += 1;
            self.fault(simulation);
        }
    }

    /// Repairs everything.
    pub fn end(&mut self, simulation: &mut Simulation) {
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.undo(simulation, undo);
        }
        for id in 1..=simulation.context.members {
            self.undo(simulation, Undo::Start(id));
            self.undo(simulation, Undo::RestoreDiskSpace(id));
            simulation.machines[id as usize - 1].disk.fail_sync_after(u64::MAX);
        }
    }

    fn undo(&mut self, simulation: &mut Simulation, undo: Undo) {
        let network = &simulation.context.network;
        match undo {
            Undo::Heal => network.heal(),
            Undo::RestoreNetwork => network.set_conditions(NORMAL),
            Undo::Start(id) => {
                let machine = &mut simulation.machines[id as usize - 1];
                if machine.is_off() {
                    machine.start();
                }
            }
            Undo::Resume(id) => simulation.machines[id as usize - 1].resume(),
            Undo::RestoreDiskSpeed(id) => simulation.machines[id as usize - 1].disk_latency.set(2),
            Undo::RestoreDiskSpace(id) => simulation.machines[id as usize - 1].disk.set_space(None),
        }
    }

    fn schedule(&mut self, simulation: &Simulation, undo: Undo) {
        let due = simulation.now() + self.random.u64(FAULT_DURATION);
        self.undo.push((due, undo));
    }

    /// The leader as often as all others together.
    fn victim(&mut self, simulation: &Simulation) -> u64 {
        let any = self.random.u64(1..=simulation.context.members);
        if self.random.bool() { simulation.leader().unwrap_or(any) } else { any }
    }

    fn fate(&mut self) -> Fate {
        match self.random.u32(0..3) {
            0 => Fate::Kept,
            1 => Fate::Lost,
            _ => Fate::Mixed(self.random.u64(..)),
        }
    }

    fn fault(&mut self, simulation: &mut Simulation) {
        let victim = self.victim(simulation);
        match self.random.u32(0..100) {
            0..20 => self.crash(simulation, victim),
            20..24 => {
                for id in 1..=simulation.context.members {
                    self.crash(simulation, id);
                }
            }
            24..36 => {
                simulation.machines[victim as usize - 1].pause();
                self.schedule(simulation, Undo::Resume(victim));
            }
            36..62 => self.partition(simulation, victim),
            62..70 => {
                let shortest = self.random.u64(0..30);
                let longest = shortest + self.random.u64(1..120);
                let conditions = NetworkConditions {
                    shortest,
                    longest,
                    lost: self.random.u64(20..500),
                    again: 300,
                    ..NORMAL
                };
                simulation.context.trace.highlight(format_args!("{conditions:?}"));
                simulation.context.network.set_conditions(conditions);
                self.schedule(simulation, Undo::RestoreNetwork);
            }
            70..76 => {
                let other = victim % simulation.context.members + 1;
                simulation.context.trace.highlight(format_args!("connections of {victim} and {other} break"));
                simulation.context.network.reset(victim, other);
            }
            76..82 => {
                let jump = self.random.i64(-HOUR..=HOUR);
                let clock = &simulation.context.clocks[victim as usize - 1];
                clock.ahead_seconds.store(jump, Ordering::Relaxed);
                simulation
                    .context
                    .trace
                    .highlight(format_args!("the clock of {victim} jumps to {jump} s ahead"));
            }
            rest => self.disk(simulation, victim, rest),
        }
    }

    fn crash(&mut self, simulation: &mut Simulation, victim: u64) {
        let fate = self.fate();
        let machine = &mut simulation.machines[victim as usize - 1];
        if !machine.is_off() {
            machine.crash(fate);
        }
    }

    /// Separates two groups, or one member from the others, in both directions or in one.
    fn partition(&mut self, simulation: &mut Simulation, victim: u64) {
        let members = simulation.context.members;
        let alone = self.random.bool();
        let first = (1..=members).map(|id| if alone { id == victim } else { self.random.bool() });
        let first = first.collect::<Vec<_>>();
        let pipes = self.random.u32(0..4);
        for (from, to) in (1..=members).flat_map(|from| (1..=members).map(move |to| (from, to))) {
            let across = match (first[from as usize - 1], first[to as usize - 1]) {
                (true, false) => pipes != 0,
                (false, true) => pipes != 1,
                _ => false,
            };
            if across {
                simulation.context.trace.highlight(format_args!("nothing from {from} reaches {to}"));
                simulation.context.network.stop(from, to);
            }
        }
        self.schedule(simulation, Undo::Heal);
    }

    fn disk(&mut self, simulation: &mut Simulation, victim: u64, which: u32) {
        let machine = &mut simulation.machines[victim as usize - 1];
        let trace = &simulation.context.trace;
        match which {
            82..88 => {
                let most = self.random.u64(5..150);
                machine.disk_latency.set(most);
                trace.highlight(format_args!("the disk of {victim} takes up to {most} ms"));
                self.schedule(simulation, Undo::RestoreDiskSpeed(victim));
            }
            88..92 => {
                machine.disk.set_space(Some(0));
                trace.highlight(format_args!("the disk of {victim} is full"));
                self.schedule(simulation, Undo::RestoreDiskSpace(victim));
            }
            92..96 if !machine.is_off() => {
                let syncs = self.random.u64(0..20);
                machine.disk.fail_sync_after(syncs);
                machine.may_fail = true;
                trace.highlight(format_args!("the disk of {victim} fails after {syncs} syncs"));
            }
            _ => machine.stop(),
        }
    }
}
