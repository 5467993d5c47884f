//! The scheduler against a naive model over random histories of facts: same tasks from scratch and after any history,
//! no violated constraint, no eligible unit left waiting, no needless move. Long because it creates, applies and
//! checks each kind of fact.

use std::collections::BTreeSet;

use fleet_core::schedule::{Obstacle, Placement, Reason, Scheduler, Task};
use fleet_core::{Cordon, JobState, Machine, MachineId, Refusal, RefusalScope, RefusedStep, Unit};
use proptest::prelude::*;
use unit_file::{Requirements, UnitFile, UnitName};

use crate::naive::{Naive, Step, World, conflict, step};

const NAMES: [&str; 10] = [
    "a.service",
    "b.service",
    "c@1.service",
    "c@2.service",
    "c@3.service",
    "d.service",
    "e.service",
    "f.service",
    "g.service",
    "h.service",
];

/// Unit options; the empty one is frequent.
const UNIT_OPTIONS: [&str; 24] = [
    "",
    "",
    "",
    "",
    "Conflicts=%p@*",
    "Conflicts=a* h*",
    "Conflicts=*",
    "X-Conflicts=c@1.service",
    "MachineOf=b.service",
    "MachineOf=d.service\nMachineMetadata=az=x",
    "MachineOf=e.service\nMachineOf=a.service",
    "MachineOf=f.service",
    "MachineMetadata=az=x",
    "MachineMetadata=az=y\nMachineMetadata=az=x\nMachineMetadata=disk=ssd",
    "MachineID=machine1",
    "MachineID=machine3-with-a-long-id",
    "Global=true",
    "Global=true\nMachineMetadata=az=x\nConflicts=c@*",
    "Global=true\nConflicts=g* b*",
    "Replaces=b* c@2.service",
    "Replaces=[a-d]*",
    "MemoryRequest=2G\nAllowOverlap=yes",
    "CPURequest=0.5\nMemoryRequest=1G",
    "Pinned=yes",
];

#[derive(Debug, Clone)]
enum Fact {
    Machine {
        number: usize,
        az: usize,
        cordon: usize,
        limits: usize,
    },
    Gone {
        number: usize,
    },
    Unit {
        name: usize,
        options: usize,
        desired: usize,
    },
    Destroyed {
        name: usize,
    },
    /// Another engine or an operator has written the target.
    Target {
        name: usize,
        machine: Option<usize>,
    },
    Held {
        name: usize,
        machine: usize,
        held: bool,
    },
    Refused {
        name: usize,
        machine: usize,
        scope: Option<RefusalScope>,
    },
    Pass,
}

/// `None` withdraws a refusal.
const SCOPES: [Option<RefusalScope>; 4] =
    [None, Some(RefusalScope::Machine), Some(RefusalScope::Machine), Some(RefusalScope::Unit)];

fn fact() -> impl Strategy<Value = Fact> {
    let (name, machine) = (0..NAMES.len(), 0..5_usize);
    prop_oneof![
        3 => (machine.clone(), 0..3_usize, 0..6_usize, 0..5_usize)
            .prop_map(|(number, az, cordon, limits)| Fact::Machine { number, az, cordon, limits }),
        1 => machine.clone().prop_map(|number| Fact::Gone { number }),
        6 => (name.clone(), 0..UNIT_OPTIONS.len(), 0..4_usize)
            .prop_map(|(name, options, desired)| Fact::Unit { name, options, desired }),
        1 => name.clone().prop_map(|name| Fact::Destroyed { name }),
        2 => (name.clone(), prop::option::of(machine.clone()))
            .prop_map(|(name, machine)| Fact::Target { name, machine }),
        2 => (name.clone(), machine.clone(), any::<bool>())
            .prop_map(|(name, machine, held)| Fact::Held { name, machine, held }),
        2 => (name, machine, 0..SCOPES.len())
            .prop_map(|(name, machine, scope)| Fact::Refused { name, machine, scope: SCOPES[scope] }),
        4 => Just(Fact::Pass),
    ]
}

fn name(number: usize) -> UnitName {
    UnitName::parse(NAMES[number]).unwrap()
}

fn machine_id(number: usize) -> MachineId {
    MachineId::new(&format!("machine{number}-with-a-long-id"))
}

fn machine(number: usize, az: usize, cordon: usize, limits: usize) -> Machine {
    let mut machine = Machine::new(machine_id(number).as_str());
    machine.metadata.insert("az".into(), ["x", "y", "z"][az].into());
    if number.is_multiple_of(2) {
        machine.metadata.insert("disk".into(), "ssd".into());
    }
    machine.cordon = [Cordon::Open, Cordon::Cordoned, Cordon::Draining][cordon.saturating_sub(3)];
    machine.unreachable = cordon == 2;
    machine.capacity.units = (limits == 1).then_some(2);
    machine.capacity.memory = (limits == 2).then_some(2 << 30);
    machine.capacity.cpu = (limits == 3).then_some(500);
    machine
}

fn unit(name: &UnitName, options: &str, desired: JobState) -> Unit {
    let file = UnitFile::from_text(&format!("[X-Fleet]\n{options}\n")).unwrap();
    Unit::new(name.clone(), desired, Requirements::read(&file, name).0)
}

/// Applies a fact to both.
fn apply_fact(fact: &Fact, world: &mut World, scheduler: &mut Scheduler) {
    match fact {
        Fact::Machine { number, az, cordon, limits } => {
            let machine = machine(*number, *az, *cordon, *limits);
            world.machines.insert(machine.id.clone(), machine.clone());
            scheduler.set_machine(machine);
        }
        Fact::Gone { number } => {
            world.machines.remove(&machine_id(*number));
            scheduler.remove_machine(&machine_id(*number));
        }
        Fact::Unit { name: number, options, desired } => {
            let desired =
                [JobState::Inactive, JobState::Loaded, JobState::Launched, JobState::Launched][*desired];
            let mut unit = unit(&name(*number), UNIT_OPTIONS[*options], desired);
            if let Some(known) = world.units.get(&unit.name) {
                (unit.target, unit.pin) = (known.target.clone(), known.pin.clone());
            }
            world.units.insert(unit.name.clone(), unit.clone());
            scheduler.set_unit(unit);
        }
        Fact::Destroyed { name: number } => {
            world.units.remove(&name(*number));
            scheduler.remove_unit(&name(*number));
        }
        Fact::Target { name: number, machine } => {
            if let Some(unit) = world.units.get_mut(&name(*number)) {
                unit.target = machine.map(machine_id);
                scheduler.set_unit(unit.clone());
            }
        }
        Fact::Held { name: number, machine, held } => {
            let (name, machine) = (name(*number), machine_id(*machine));
            scheduler.set_held(&name, &machine, *held);
            if *held {
                world.held.insert((name, machine));
            } else {
                world.held.remove(&(name, machine));
            }
        }
        Fact::Refused { name: number, machine, scope } => {
            let (name, machine) = (name(*number), machine_id(*machine));
            let refusal =
                scope.map(|scope| Refusal { cause: "it is masked".into(), scope, step: RefusedStep::Load });
            scheduler.set_refused(&name, &machine, refusal.as_ref());
            world.refused.remove(&(name.clone(), machine.clone()));
            if let Some(refusal) = refusal.filter(|refusal| refusal.scope == RefusalScope::Machine) {
                world.refused.insert((name, machine), refusal);
            }
        }
        Fact::Pass => {}
    }
}

/// A pass of both. Applies the resulting facts to the scheduler, as the store's watch does.
fn pass(world: &mut World, scheduler: &mut Scheduler) -> Vec<Task> {
    let expected = Naive::new(world).pass();
    let from_scratch: Vec<Step> = world.scheduler().pass().iter().map(step).collect();
    assert_eq!(from_scratch, expected, "from scratch, naive");
    let tasks = scheduler.pass();
    let steps: Vec<Step> = tasks.iter().map(step).collect();
    assert_eq!(steps, expected, "after its history, naive");
    world.carry_out(&steps);
    for (_, name, ..) in &steps {
        scheduler.set_unit(world.units[name].clone());
    }
    tasks
}

/// Placed units violate no constraint, and no machine is eligible for a waiting unit.
fn check(world: &World, scheduler: &Scheduler, tasks: &[Task]) {
    let naive = Naive::new(world);
    // An unreachable machine keeps its units.
    let present = naive.place.iter().filter(|(_, place)| !world.machines[*place].unreachable);
    for (name, place) in present {
        assert!(naive.fits(&world.units[name], place), "{name} is on {place}");
        let others = naive.place.iter().filter(|(other, at)| *other != name && *at == place);
        for (other, _) in others {
            assert!(!conflict(&world.units[name], &world.units[other]), "{name} beside {other}");
        }
    }
    let left: BTreeSet<_> = tasks.iter().map(Task::unit).collect();
    // Evicted units leave room for the next pass.
    let sent =
        |task: &Task| matches!(task.reason(), Reason::Replaced(_) | Reason::Draining(_) | Reason::Refused(_));
    let room = tasks.iter().any(sent);
    for unit in world.units.values().filter(|unit| unit.is_desired() && !unit.requirements.global) {
        let explanation = scheduler.explain(unit.name.as_str()).unwrap();
        assert_eq!(scheduler.message(unit.name.as_str()), explanation.message());
        if unit.target.is_none() && !left.contains(&unit.name) && !room {
            assert_eq!(naive.choose(unit, None), None, "{} waits", unit.name);
            assert_eq!(explanation.placement, Placement::Nowhere);
            assert!(explanation.message().is_some());
            assert!(explanation.candidates.iter().all(|candidate| !candidate.obstacles.is_empty()));
        }
        if let Some(place) = naive.place.get(&unit.name) {
            assert_eq!(explanation.placement, Placement::On(place.clone()));
        }
    }
}

fn run(facts: &[Fact]) {
    let (mut world, mut scheduler) = (World::default(), Scheduler::new());
    for fact in facts.iter().chain([&Fact::Pass]) {
        apply_fact(fact, &mut world, &mut scheduler);
        if matches!(fact, Fact::Pass) {
            let tasks = pass(&mut world, &mut scheduler);
            check(&world, &scheduler, &tasks);
        }
    }
}

/// Passes terminate, and a failed machine affects only its own units.
fn lose(facts: &[Fact], lost: usize) {
    let (mut world, mut scheduler) = (World::default(), Scheduler::new());
    for fact in facts {
        apply_fact(fact, &mut world, &mut scheduler);
    }
    let mut passes = 0;
    while !pass(&mut world, &mut scheduler).is_empty() {
        passes += 1;
        assert!(passes < 20, "it does not come to rest");
    }
    let before = world.clone();
    apply_fact(&Fact::Gone { number: lost }, &mut world, &mut scheduler);
    let mut moved = BTreeSet::new();
    for task in pass(&mut world, &mut scheduler) {
        // Units that the failed machine's units replace on their new machine, units that those replace in turn, and
        // followers.
        let behind = match task.reason() {
            Reason::Unable(_, obstacle) => match &**obstacle {
                Obstacle::Peer { peer, .. } => {
                    before.units.get_key_value(peer.as_str()).map(|(name, _)| name)
                }
                _ => None,
            },
            Reason::Replaced(by) => Some(by),
            _ => None,
        };
        let cause = behind.unwrap_or(task.unit());
        let target = &before.units[cause].target;
        // Refused units take resources that others free.
        let refused = matches!(task.reason(), Reason::Refused(_)) && !moved.is_empty();
        let lost_its_own = target.is_none() || *target == Some(machine_id(lost)) || refused;
        assert!(lost_its_own || moved.contains(cause), "{task}");
        moved.insert(task.unit().clone());
    }
}

/// Regressions.
#[test]
fn regressions() {
    run(&[
        Fact::Machine { number: 3, az: 0, cordon: 0, limits: 2 },
        Fact::Unit { name: 5, options: 19, desired: 1 },
        Fact::Unit { name: 3, options: 16, desired: 1 },
        Fact::Unit { name: 0, options: 19, desired: 1 },
        Fact::Pass,
        Fact::Machine { number: 0, az: 0, cordon: 0, limits: 1 },
        Fact::Machine { number: 3, az: 0, cordon: 5, limits: 0 },
        Fact::Pass,
    ]);
}

/// a.service leaves machine 2 for resources that e.service, which replaces it, gets in the same pass.
#[test]
fn a_reserved_place_is_not_left() {
    let machine = |number| Fact::Machine { number, az: 0, cordon: 0, limits: 0 };
    let unit = |name, options, desired| Fact::Unit { name, options, desired };
    run(&[
        unit(0, 0, 1),
        unit(6, 20, 1),
        machine(2),
        Fact::Pass,
        Fact::Refused { name: 6, machine: 2, scope: SCOPES[1] },
        machine(3),
        unit(1, 0, 0),
    ]);
}

/// c@3.service is replaced by d.service, and the other machine is eligible now.
#[test]
fn a_withdrawn_refusal_lets_a_replaced_unit_move() {
    let machine = |number| Fact::Machine { number, az: 0, cordon: 0, limits: 0 };
    let unit = |name, options| Fact::Unit { name, options, desired: 1 };
    run(&[
        machine(1),
        Fact::Refused { name: 4, machine: 0, scope: SCOPES[1] },
        machine(0),
        unit(0, 0),
        unit(5, 20),
        Fact::Pass,
        unit(4, 21),
        Fact::Pass,
        Fact::Refused { name: 4, machine: 0, scope: None },
    ]);
}

/// h.service was refused by an unreachable machine, and the unit that it follows is placed elsewhere.
#[test]
fn a_refused_unit_follows_another_off_an_unreachable_machine() {
    let machine = |number, cordon| Fact::Machine { number, az: 0, cordon, limits: 0 };
    let unit = |name, options| Fact::Unit { name, options, desired: 1 };
    run(&[
        machine(2, 0),
        unit(9, 0),
        Fact::Pass,
        Fact::Refused { name: 9, machine: 2, scope: SCOPES[1] },
        unit(9, 8),
        machine(2, 2),
        machine(0, 0),
        Fact::Pass,
        unit(1, 0),
        Fact::Pass,
    ]);
}

/// h.service moves and replaces a.service: freed resources count for all units that could not move before.
#[test]
fn freed_resources_count_for_unchanged_machines() {
    let machine = |number, cordon, limits| Fact::Machine { number, az: 0, cordon, limits };
    let unit = |name, options, desired| Fact::Unit { name, options, desired };
    run(&[
        machine(1, 5, 0),
        machine(3, 0, 2),
        unit(0, 0, 0),
        machine(2, 0, 0),
        unit(0, 0, 1),
        Fact::Pass,
        unit(1, 0, 1),
        unit(9, 20, 1),
        Fact::Target { name: 9, machine: Some(1) },
    ]);
}

/// d.service is replaced by a unit of the failed machine, and replaces a.service on its new machine.
#[test]
fn a_failed_machine_causes_chained_replacements() {
    let unit = |name, options| Fact::Unit { name, options, desired: 1 };
    let machine = |number, limits| Fact::Machine { number, az: 0, cordon: 0, limits };
    let facts = [
        machine(2, 0),
        unit(0, 0),
        machine(1, 0),
        unit(3, 0),
        unit(6, 0),
        unit(5, 20),
        unit(1, 19),
        machine(0, 2),
        machine(3, 2),
        Fact::Held { name: 5, machine: 0, held: true },
        unit(9, 20),
        unit(2, 12),
    ];
    lose(&facts, 2);
}

/// b.service is replaced by a unit of the failed machine, and d.service follows b.service.
#[test]
fn a_failed_machine_moves_followers_of_replaced_units() {
    let unit = |name, options| Fact::Unit { name, options, desired: 1 };
    let machine = |number, limits| Fact::Machine { number, az: 0, cordon: 0, limits };
    let facts =
        [unit(3, 8), machine(1, 1), unit(2, 21), unit(1, 0), machine(3, 0), unit(4, 20), machine(0, 2)];
    lose(&facts, 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_same_tasks_after_any_history(facts in prop::collection::vec(fact(), 1..60)) {
        run(&facts);
    }

    #[test]
    fn only_units_of_a_failed_machine_move(facts in prop::collection::vec(fact(), 1..60), lost in 0..5_usize) {
        lose(&facts, lost);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "a hundred thousand histories: cargo verify --all soaks"]
    fn soak_the_same_tasks_after_many_histories(facts in prop::collection::vec(fact(), 1..60)) {
        run(&facts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A plan equals the passes that follow, and changes nothing.
    #[test]
    fn a_plan_equals_the_passes(
        facts in prop::collection::vec(fact(), 1..40),
        wishes in prop::collection::vec((0..NAMES.len(), 0..UNIT_OPTIONS.len()), 1..4),
    ) {
        let (mut world, mut scheduler) = (World::default(), Scheduler::new());
        for fact in &facts {
            apply_fact(fact, &mut world, &mut scheduler);
        }
        let units = wishes.iter().map(|(number, options)| unit(&name(*number), UNIT_OPTIONS[*options], JobState::Launched));
        let plan = scheduler.plan(units.collect());
        for (number, options) in &wishes {
            apply_fact(&Fact::Unit { name: *number, options: *options, desired: 2 }, &mut world, &mut scheduler);
        }
        let done = pass(&mut world, &mut scheduler);
        prop_assert_eq!(&plan.tasks[..done.len()], &done[..]);
    }

    /// Rebalancing violates nothing and does not increase the highest load.
    #[test]
    fn rebalancing(facts in prop::collection::vec(fact(), 1..60)) {
        let (mut world, mut scheduler) = (World::default(), Scheduler::new());
        for fact in &facts {
            apply_fact(fact, &mut world, &mut scheduler);
        }
        for _ in 0..20 {
            pass(&mut world, &mut scheduler);
        }
        for relocation in scheduler.rebalance() {
            let naive = Naive::new(&world);
            let unit = world.units[&relocation.unit].clone();
            prop_assert_eq!(naive.choose(&unit, Some(&relocation.from)), Some(relocation.to.clone()));
            let load = |naive: &Naive, id: &MachineId| naive.load(id);
            prop_assert!(load(&naive, &relocation.to) + unit.load() < load(&naive, &relocation.from));
            world.units.get_mut(&unit.name).unwrap().target = Some(relocation.to);
        }
    }
}
