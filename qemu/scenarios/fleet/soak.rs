//! Machines crash one after the other for five minutes while units are started, stopped and destroyed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use machines::cluster::BackendKind::Nspawn;

use super::super::kv::{NODES, SOON};
use super::cluster::{Member, form_with, impatient, put, wait_for_machines};
use super::heartbeats::{FOLDER, Heartbeats, Run, SERVICE};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const SOAK: Scenario = Scenario {
    name: "fleet-soak",
    about: "while a random machine crashes each ten seconds for five minutes no unit is lost and none runs twice",
    nodes: NODES,
    // Emulated machines boot more slowly than that.
    on: &[Nspawn],
    long_on: &[Nspawn],
    shared: &[FOLDER],
    run: soak,
    ..DEFAULTS
};

const LASTS: Duration = Duration::from_secs(300);
const BETWEEN_CRASHES: Duration = Duration::from_secs(10);
/// Units that stay launched.
const STEADY: usize = 6;
/// Units that are started, stopped and destroyed.
const CHANGING: usize = 12;
/// Maximal pause of a unit that stays launched. If a machine crashes before the previous one has rejoined etcd, the
/// two others have no quorum meanwhile.
const DOWN: Duration = Duration::from_secs(60);
/// The seed, which is printed, repeats the same crashes and commands.
const VARIABLE: &str = "KEELSON_SEED";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Launched,
    Loaded,
    Destroyed,
}

impl State {
    fn verb(self) -> &'static str {
        match self {
            Self::Launched => "start",
            Self::Loaded => "stop",
            Self::Destroyed => "destroy",
        }
    }

    /// States that a unit can change to.
    fn next(self) -> &'static [Self] {
        match self {
            Self::Launched => &[Self::Loaded, Self::Destroyed],
            Self::Loaded => &[Self::Launched, Self::Destroyed],
            Self::Destroyed => &[Self::Launched],
        }
    }
}

fn soak(context: &Context<'_>) -> Result<(), Failure> {
    let seed = match std::env::var(VARIABLE) {
        Ok(text) => {
            text.parse().map_err(|_| Failure::Expected(format!("expected a number in {VARIABLE}: {text}")))?
        }
        Err(_) => fastrand::u64(..),
    };
    eprintln!("{VARIABLE}={seed}");
    let members = form_with(context, &impatient(context))?;
    let heartbeats = Heartbeats::new(&context.shared(1));
    for member in &members {
        put(&member.machine, "beat@.service", SERVICE)?;
    }
    let steady: Vec<_> = (1..=STEADY).map(|number| format!("beat@{number}.service")).collect();
    members[0].machine.succeed(&format!("fleetctl start {}", steady.join(" ")))?;
    let ids: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    heartbeats.wait(&steady, &ids, SOON)?;

    let crashes =
        Crashes { ended: AtomicBool::new(false), down: AtomicUsize::new(NODES), count: AtomicUsize::new(0) };
    let mut load = Load { rng: Rng::with_seed(seed), units: BTreeMap::new(), acknowledged: 0, refused: 0 };
    for number in 1..=CHANGING {
        load.units.insert(format!("beat@{}.service", STEADY + number), State::Destroyed);
    }
    let crashed = std::thread::scope(|scope| {
        let crashing = scope.spawn(|| crashes.run(&members, Rng::with_seed(!seed)));
        let result = load.run(&members, &crashes, &heartbeats);
        crashes.ended.store(true, Ordering::Relaxed);
        let crashed =
            crashing.join().unwrap_or_else(|_| Err(Failure::Expected("the crashes panicked".into())));
        result.and(crashed)
    });
    let tell = |failure: Failure| Failure::Expected(format!("{VARIABLE}={seed}: {}", failure.chain()));
    crashed.map_err(tell)?;
    eprintln!(
        "{} crashes; {} commands acknowledged, {} refused",
        crashes.count.load(Ordering::Relaxed),
        load.acknowledged,
        load.refused
    );
    load.units.extend(steady.iter().map(|unit| (unit.clone(), State::Launched)));
    nothing_lost(&members, &heartbeats, &load.units).map_err(tell)?;
    let longest = longest_down(&heartbeats.runs()?, &steady);
    eprintln!("a unit that nobody touched was down for at most {longest:?}");
    expect(longest <= DOWN, &format!("none down for more than {DOWN:?}"), &format!("{longest:?}"))
        .map_err(tell)
}

struct Crashes {
    ended: AtomicBool,
    /// Index of the machine that is down; the number of machines if none is.
    down: AtomicUsize,
    count: AtomicUsize,
}

impl Crashes {
    fn run(&self, members: &[Member<'_>], mut rng: Rng) -> Result<(), Failure> {
        let mut next = Instant::now();
        while !self.ended.load(Ordering::Relaxed) {
            if Instant::now() < next {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            next += BETWEEN_CRASHES;
            let chosen = rng.usize(..members.len());
            self.down.store(chosen, Ordering::Relaxed);
            members[chosen].machine.crash()?;
            members[chosen].machine.start()?;
            self.down.store(members.len(), Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

struct Load {
    rng: Rng,
    units: BTreeMap<String, State>,
    acknowledged: usize,
    refused: usize,
}

impl Load {
    fn run(
        &mut self,
        members: &[Member<'_>],
        crashes: &Crashes,
        heartbeats: &Heartbeats,
    ) -> Result<(), Failure> {
        let end = Instant::now() + LASTS;
        let names: Vec<_> = self.units.keys().cloned().collect();
        while Instant::now() < end {
            let unit = &names[self.rng.usize(..names.len())];
            let target = self.choose(self.units[unit]);
            self.make(members, crashes, unit, target)?;
            heartbeats.never_twice()?;
        }
        Ok(())
    }

    fn choose(&mut self, now: State) -> State {
        let next = now.next();
        next[self.rng.usize(..next.len())]
    }

    /// Repeats the command on any running machine until it is acknowledged: a refused one may have been executed.
    fn make(
        &mut self,
        members: &[Member<'_>],
        crashes: &Crashes,
        unit: &str,
        target: State,
    ) -> Result<(), Failure> {
        let command = format!("timeout 10 fleetctl {} --no-block {unit}", target.verb());
        let deadline = Instant::now() + SOON;
        loop {
            let client = self.rng.usize(..members.len());
            if client != crashes.down.load(Ordering::Relaxed) {
                // The machine that runs the command may crash meanwhile.
                let output = members[client].machine.execute(&command);
                if output.as_ref().is_ok_and(|output| output.code == 0) {
                    self.acknowledged += 1;
                    self.units.insert(unit.to_owned(), target);
                    return Ok(());
                }
                self.refused += 1;
                let output_text = format!("{output:?}");
                expect(
                    Instant::now() < deadline,
                    &format!("`{command}` acknowledged within {SOON:?}"),
                    &output_text,
                )?;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Checks that exactly the acknowledged state is reached, each unit once and without a pause from then on.
fn nothing_lost(
    members: &[Member<'_>; NODES],
    heartbeats: &Heartbeats,
    units: &BTreeMap<String, State>,
) -> Result<(), Failure> {
    for member in members {
        wait_for_machines(&member.machine, &members.iter().collect::<Vec<_>>())?;
    }
    let name = |state: State| if state == State::Launched { "launched" } else { "loaded" };
    let known = units.iter().filter(|(_, state)| **state != State::Destroyed);
    let mut lines: Vec<_> = known.map(|(unit, state)| format!("{unit}\t{0}\t{0}", name(*state))).collect();
    lines.sort();
    // A column of a shorter word is padded with several tabs.
    let list = "fleetctl list-unit-files --no-legend --fields=unit,dstate,state | tr -s '\\t'";
    let check = format!("seen=$({list}); echo \"$seen\"; test \"$seen\" = '{}'", lines.join("\n"));
    members[0].machine.wait_until_succeeds(&check, SOON)?;

    let launched: Vec<_> =
        units.iter().filter(|(_, state)| **state == State::Launched).map(|(unit, _)| unit.clone()).collect();
    let ids: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    heartbeats.wait(&launched, &ids, SOON)?;
    let deadline = Instant::now() + SOON;
    loop {
        let alive = heartbeats.alive()?;
        let mut running: Vec<_> = alive.iter().map(|run| run.unit.clone()).collect();
        running.sort();
        if running == launched {
            break;
        }
        expect(Instant::now() < deadline, &launched.join(" "), &running.join(" "))?;
        std::thread::sleep(Duration::from_millis(200));
    }
    heartbeats.never_twice()
}

/// The longest pause between two runs of one of these units.
fn longest_down(runs: &[Run], units: &[String]) -> Duration {
    let pauses = units.iter().flat_map(|unit| {
        let of_unit: Vec<_> = runs.iter().filter(|run| run.unit == *unit).collect();
        let pauses: Vec<_> =
            of_unit.windows(2).map(|pair| pair[1].first.saturating_sub(pair[0].last)).collect();
        pauses
    });
    pauses.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_is_found() {
        let run = |unit: &str, first, last| Run {
            unit: unit.to_owned(),
            machine: "m".to_owned(),
            process: "1".to_owned(),
            first: Duration::from_secs(first),
            last: Duration::from_secs(last),
        };
        let runs = [run("a", 1, 2), run("a", 9, 10), run("a", 11, 20), run("b", 1, 2), run("b", 40, 50)];
        assert_eq!(longest_down(&runs, &["a".to_owned()]), Duration::from_secs(7));
        assert_eq!(longest_down(&runs, &["a".to_owned(), "b".to_owned()]), Duration::from_secs(38));
        assert_eq!(longest_down(&runs, &[]), Duration::ZERO);
    }
}
