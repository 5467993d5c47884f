//! The contract's scheduling rules, case by case, with the texts of tasks and explanations.
//!
//! Long because it is one list of cases over one small engine.

use std::collections::BTreeMap;

use fleet_core::schedule::{Placement, Scheduler, Task};
use fleet_core::{Capacity, Cordon, JobState, Machine, MachineId, Unit};
use unit_file::{Requirements, UnitFile, UnitName};

/// A scheduler whose tasks are applied as facts.
#[derive(Default)]
struct Cluster {
    scheduler: Scheduler,
    units: BTreeMap<UnitName, Unit>,
}

impl Cluster {
    /// Machines, each an id with metadata: `m1,az=x`.
    fn of(machines: &str) -> Self {
        let mut cluster = Self::default();
        for machine in machines.split_whitespace() {
            cluster.scheduler.set_machine(machine_of(machine));
        }
        cluster
    }

    fn set(&mut self, name: &str, section: &str, desired: JobState) -> &mut Self {
        let name = UnitName::parse(name).unwrap();
        let file = UnitFile::from_text(&format!("[X-Fleet]\n{section}\n")).unwrap();
        let (requirements, findings) = Requirements::read(&file, &name);
        assert_eq!(findings, []);
        let known = self.units.get(&name);
        let (target, pin) = known.map(|known| (known.target.clone(), known.pin.clone())).unwrap_or_default();
        let unit = Unit { target, pin, ..Unit::new(name.clone(), desired, requirements) };
        self.units.insert(name, unit.clone());
        self.scheduler.set_unit(unit);
        self
    }

    fn start(&mut self, name: &str, section: &str) -> &mut Self {
        self.set(name, section, JobState::Launched)
    }

    fn hold(&mut self, unit: &str, machine: &str, held: bool) -> &mut Self {
        self.scheduler.set_held(&UnitName::parse(unit).unwrap(), &MachineId::new(machine), held);
        self
    }

    fn lose(&mut self, machine: &str) -> &mut Self {
        self.scheduler.remove_machine(&MachineId::new(machine));
        self
    }

    /// The tasks of one pass as text.
    fn pass(&mut self) -> Vec<String> {
        let tasks = self.scheduler.pass();
        for task in &tasks {
            let unit = self.units.get_mut(task.unit()).unwrap();
            match task {
                Task::Unschedule { .. } => unit.target = None,
                Task::Schedule { machine, pin, .. } => {
                    unit.target = Some(machine.clone());
                    if *pin {
                        unit.pin = Some(machine.clone());
                    }
                }
                Task::Move { to, .. } => unit.target = Some(to.clone()),
            }
            self.scheduler.set_unit(unit.clone());
        }
        tasks.iter().map(ToString::to_string).collect()
    }

    /// Runs passes until there are no tasks. Returns the placement: `unit@machine` or `unit@-`.
    fn rest(&mut self) -> Vec<String> {
        for _ in 0..10 {
            if self.pass().is_empty() {
                let place = |unit: &Unit| unit.target.as_ref().map_or("-".into(), ToString::to_string);
                return self.units.values().map(|unit| format!("{} {}", unit.name, place(unit))).collect();
            }
        }
        panic!("no rest after ten passes");
    }

    fn why(&self, unit: &str) -> Option<String> {
        self.scheduler.explain(unit).unwrap().message()
    }
}

fn machine_of(text: &str) -> Machine {
    let mut words = text.split(',');
    let mut machine = Machine::new(words.next().unwrap());
    machine.metadata = words
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    machine
}

fn check(machines: &str, units: &[(&str, &str)], expected: &[&str]) {
    let mut cluster = Cluster::of(machines);
    for (name, section) in units {
        cluster.start(name, section);
    }
    assert_eq!(cluster.rest(), expected, "{machines}: {units:?}");
}

#[test]
fn least_loaded_then_smallest_id() {
    check(
        "m2 m1",
        &[("a.service", ""), ("b.service", ""), ("c.service", "")],
        &["a.service m1", "b.service m2", "c.service m1"],
    );
    check("", &[("a.service", "")], &["a.service -"]);
    // Global units count towards the load.
    check(
        "m1,az=x m2",
        &[("g.service", "Global=true\nMachineMetadata=az=x"), ("a.service", "")],
        &["a.service m2", "g.service -"],
    );
}

#[test]
fn machine_ids() {
    check("12345678abc 12345678b 2", &[("a.service", "MachineID=12345678abc")], &["a.service 12345678abc"]);
    check("2 12345678b", &[("a.service", "MachineID=12345678")], &["a.service 12345678b"]);
    check("2 12345678b", &[("a.service", "MachineID=1234567")], &["a.service -"]);
    check("2 12345678b", &[("a.service", "MachineID=12345678bc")], &["a.service -"]);
}

#[test]
fn conflicts() {
    let spread = "Conflicts=web@*.service";
    let three = [("web@1.service", spread), ("web@2.service", spread), ("web@3.service", spread)];
    check("m1 m2", &three, &["web@1.service m1", "web@2.service m2", "web@3.service -"]);
    // One side is sufficient, in either order.
    check("m1", &[("a.service", "Conflicts=b*"), ("b.service", "")], &["a.service m1", "b.service -"]);
    check("m1", &[("a.service", ""), ("b.service", "Conflicts=a*")], &["a.service m1", "b.service -"]);
    check("m1", &[("a.service", "Conflicts=b"), ("b.service", "")], &["a.service m1", "b.service m1"]);
}

#[test]
fn a_resolved_conflict_unblocks_the_other() {
    let mut cluster = Cluster::of("m1");
    cluster.start("a.service", "").start("b.service", "Conflicts=a.service");
    assert_eq!(cluster.rest(), ["a.service m1", "b.service -"]);
    let message = "no machine is eligible: found conflict with locally-scheduled Unit(a.service): \
                   its own Conflicts=a.service";
    assert_eq!(cluster.why("b.service").as_deref(), Some(message));
    cluster.set("a.service", "", JobState::Inactive);
    assert_eq!(
        cluster.pass(),
        [
            "unschedule a.service from m1: target state inactive",
            "schedule b.service to m1: target state launched and unit not scheduled"
        ]
    );
}

#[test]
fn peers() {
    let pairs = [("a.service", "MachineOf=b.service"), ("b.service", ""), ("c.service", "")];
    check("m1 m2", &pairs, &["a.service m1", "b.service m1", "c.service m2"]);
    check(
        "m1 m2",
        &[("a.service", "MachineOf=g.service"), ("g.service", "Global=true")],
        &["a.service m1", "g.service -"],
    );
    check("m1", &[("a.service", "MachineOf=a")], &["a.service -"]);
}

#[test]
fn followers_move_with_their_target() {
    let mut cluster = Cluster::of("m1 m2");
    cluster.start("ping.service", "").start("pong.service", "MachineOf=ping.service");
    assert_eq!(cluster.rest(), ["ping.service m1", "pong.service m1"]);
    cluster.lose("m1");
    assert_eq!(cluster.rest(), ["ping.service m2", "pong.service m2"]);
    cluster.set("ping.service", "", JobState::Inactive);
    assert_eq!(
        cluster.pass(),
        [
            "unschedule ping.service from m2: target state inactive",
            "unschedule pong.service from m2: target Machine(m2) unable to run unit: required peer \
             Unit(ping.service) is not scheduled locally nor anywhere"
        ]
    );
}

#[test]
fn cycles_are_reported() {
    let mut cluster = Cluster::of("m1");
    cluster.start("a.service", "MachineOf=b.service").start("b.service", "MachineOf=a.service");
    assert_eq!(cluster.rest(), ["a.service -", "b.service -"]);
    assert_eq!(cluster.why("a.service").as_deref(), Some("circular MachineOf: a.service, b.service"));
}

#[test]
fn metadata() {
    let zones = "m1,az=x m2,az=y,disk=ssd m3,az=y";
    check(zones, &[("a.service", "MachineMetadata=az=y")], &["a.service m2"]);
    check(zones, &[("a.service", "MachineMetadata=az=y\nMachineMetadata=disk=hdd")], &["a.service -"]);
    check(zones, &[("a.service", "MachineMetadata=az=q\nMachineMetadata=az=y")], &["a.service m2"]);
    check(zones, &[("ssh@y.service", "MachineMetadata=az=%i")], &["ssh@y.service m2"]);
}

#[test]
fn a_change_of_metadata_evicts() {
    let mut cluster = Cluster::of("m1,az=x m2,az=y");
    cluster.start("a.service", "MachineMetadata=az=x");
    assert_eq!(cluster.rest(), ["a.service m1"]);
    cluster.scheduler.set_machine(machine_of("m1,az=z"));
    assert_eq!(
        cluster.pass(),
        ["unschedule a.service from m1: target Machine(m1) unable to run unit: local Machine metadata \
          insufficient: az is not x but z"]
    );
    assert_eq!(
        cluster.why("a.service").as_deref(),
        Some(
            "no machine is eligible: local Machine metadata insufficient: az is not x but y; local Machine \
             metadata insufficient: az is not x but z"
        )
    );
    let remedies = cluster.scheduler.explain("a.service").unwrap().remedies();
    assert_eq!(remedies[0], (MachineId::new("m1"), "give the machine the metadata az=x".into()));
}

#[test]
fn no_automatic_rebalancing() {
    let mut cluster = Cluster::of("m1");
    for name in ["a.service", "b.service", "c.service", "d.service"] {
        cluster.start(name, "");
    }
    cluster.rest();
    cluster.scheduler.set_machine(machine_of("m2"));
    assert_eq!(cluster.pass(), [""; 0]);
    let moves: Vec<_> =
        cluster.scheduler.rebalance().into_iter().map(|move_| move_.unit.to_string()).collect();
    assert_eq!(moves, ["a.service", "b.service"]);
}

#[test]
fn a_failed_machine_s_units_move_immediately() {
    let mut cluster = Cluster::of("m1 m2");
    cluster.start("a.service", "").start("b.service", "").rest();
    // Claims of a failed machine do not count.
    cluster.hold("a.service", "m1", true).lose("m1");
    assert_eq!(cluster.pass(), ["unschedule a.service from m1: target Machine(m1) went away"]);
    assert_eq!(cluster.pass(), ["schedule a.service to m2: target state launched and unit not scheduled"]);
    // It does not get them back.
    cluster.scheduler.set_machine(machine_of("m1"));
    assert_eq!(cluster.pass(), [""; 0]);
}

#[test]
fn an_unreachable_machine_keeps_its_units_and_gets_none() {
    let mut cluster = Cluster::of("m1 m2");
    cluster.start("a.service", "").rest();
    let mut away = machine_of("m1");
    away.unreachable = true;
    cluster.scheduler.set_machine(away);
    cluster.start("b.service", "").start("c.service", "");
    assert_eq!(cluster.rest(), ["a.service m1", "b.service m2", "c.service m2"]);
}

/// A new leader may know only its id.
#[test]
fn a_machine_that_is_away_keeps_units_whose_metadata_it_does_not_show() {
    let mut cluster = Cluster::of("m1,az=x m2,az=y");
    cluster.start("a.service", "MachineMetadata=az=x").rest();
    let mut away = machine_of("m1");
    away.unreachable = true;
    cluster.scheduler.set_machine(away);
    assert_eq!(cluster.rest(), ["a.service m1"]);
    // Present again without the metadata, it is not eligible.
    cluster.scheduler.set_machine(machine_of("m1"));
    assert_eq!(cluster.rest(), ["a.service -"]);
}

/// A unit is placed elsewhere only after its machine has stopped it.
#[test]
fn a_unit_waits_until_its_machine_has_stopped_it() {
    let mut cluster = Cluster::of("m1,az=x m2,az=x");
    cluster.start("a.service", "MachineMetadata=az=x").rest();
    cluster.hold("a.service", "m1", true);
    cluster.scheduler.set_machine(machine_of("m1"));
    assert_eq!(cluster.pass().len(), 1);
    assert_eq!(cluster.pass(), [""; 0]);
    let why = cluster.why("a.service").unwrap();
    assert!(why.contains("Machine(m1) has not stopped it yet"), "{why}");
    cluster.hold("a.service", "m1", false);
    assert_eq!(cluster.rest(), ["a.service m2"]);
}

/// Resources such as ports are free only when it is down.
#[test]
fn a_unit_waits_until_what_it_conflicts_with_is_stopped() {
    let mut cluster = Cluster::of("m1");
    cluster.start("a.service", "").rest();
    cluster.hold("a.service", "m1", true);
    cluster.start("b.service", "Conflicts=a.service");
    assert_eq!(cluster.rest(), ["a.service m1", "b.service -"]);
    // The unit is not desired, and the machine is stopping it: then it is gone.
    cluster.set("a.service", "", JobState::Inactive).rest();
    let why = cluster.why("b.service").unwrap();
    assert!(why.contains("conflicting Unit(a.service) has not stopped there yet"), "{why}");
    let destroyed = UnitName::parse("a.service").unwrap();
    cluster.units.remove(&destroyed);
    cluster.scheduler.remove_unit(&destroyed);
    assert_eq!(cluster.rest(), ["b.service -"]);
    cluster.hold("a.service", "m1", false);
    assert_eq!(cluster.rest(), ["b.service m1"]);
}

/// The same for memory.
#[test]
fn a_unit_waits_for_free_memory() {
    let mut cluster = Cluster::of("m1");
    let mut machine = machine_of("m1");
    machine.capacity.memory = Some(2 << 30);
    cluster.scheduler.set_machine(machine);
    cluster.start("a.service", "MemoryRequest=2G").rest();
    cluster.hold("a.service", "m1", true);
    cluster.start("b.service", "MemoryRequest=1G");
    cluster.set("a.service", "MemoryRequest=2G", JobState::Inactive);
    assert_eq!(cluster.rest(), ["a.service -", "b.service -"]);
    cluster.hold("a.service", "m1", false);
    assert_eq!(cluster.rest(), ["a.service -", "b.service m1"]);
}

/// Also before the machine has published anything: it may be about to.
#[test]
fn a_unit_waits_until_its_unscheduling_is_confirmed() {
    let mut cluster = Cluster::of("m1,az=x m2,az=x");
    cluster.start("a.service", "MachineMetadata=az=x").rest();
    cluster.scheduler.set_machine(machine_of("m1"));
    let tasks = cluster.scheduler.pass();
    assert!(matches!(tasks[..], [Task::Unschedule { .. }]), "{tasks:?}");
    assert_eq!(cluster.scheduler.pass(), []);
    assert_eq!(cluster.scheduler.explain("a.service").unwrap().placement, Placement::Leaving);
    let mut unit = cluster.units.values().next().unwrap().clone();
    unit.target = None;
    cluster.scheduler.set_unit(unit);
    assert!(matches!(cluster.scheduler.pass()[..], [Task::Schedule { .. }]));
}

#[test]
fn replaces() {
    let mut cluster = Cluster::of("m1 m2");
    cluster.start("b.service", "").rest();
    cluster.start("c.service", "").rest();
    // The preference ignores the replaced unit's machine; here it is chosen anyway.
    cluster.start("a.service", "Replaces=b.service");
    assert_eq!(
        cluster.pass(),
        [
            "schedule a.service to m1: target state launched and unit not scheduled",
            "unschedule b.service from m1: Unit(a.service) replaces it"
        ]
    );
    assert_eq!(cluster.rest(), ["a.service m1", "b.service m2", "c.service m2"]);
    // Units without another machine stay, and two that replace each other are not moved.
    check("m1", &[("a.service", "Replaces=b.service"), ("b.service", "")], &["a.service m1", "b.service m1"]);
    check(
        "m1 m2",
        &[("a.service", "Replaces=b.service"), ("b.service", "Replaces=a.service")],
        &["a.service m1", "b.service m2"],
    );
}

#[test]
fn drain_and_cordon() {
    let mut cluster = Cluster::of("m1 m2");
    cluster.start("a.service", "").start("b.service", "").start("c.service", "AllowOverlap=yes");
    cluster.start("g.service", "Global=true").rest();
    let mut machine = machine_of("m1");
    machine.cordon = Cordon::Cordoned;
    cluster.scheduler.set_machine(machine.clone());
    cluster.start("d.service", "").start("e.service", "");
    assert_eq!(
        cluster.rest(),
        ["a.service m1", "b.service m2", "c.service m1", "d.service m2", "e.service m2", "g.service -"]
    );
    machine.cordon = Cordon::Draining;
    cluster.scheduler.set_machine(machine);
    // With overlap the new unit starts before the old one stops.
    assert_eq!(
        cluster.pass(),
        [
            "unschedule a.service from m1: Machine(m1) is being drained",
            "move c.service from m1 to m2: Machine(m1) is being drained"
        ]
    );
    assert_eq!(cluster.rest()[0], "a.service m2");
    // Units without another machine stay.
    let mut only = Cluster::of("m1");
    only.start("a.service", "").rest();
    let mut machine = machine_of("m1");
    machine.cordon = Cordon::Draining;
    only.scheduler.set_machine(machine);
    assert_eq!(only.rest(), ["a.service m1"]);
    assert_eq!(only.why("a.service").as_deref(), Some("no other machine is present"));
}

/// `drain` waits for units that can move only.
#[test]
fn a_unit_that_cannot_leave_a_drained_machine_says_why() {
    let mut cluster = Cluster::of("m1,az=x m2,az=y");
    cluster.start("a.service", "MachineMetadata=az=x").start("b.service", "").rest();
    assert_eq!(cluster.why("a.service"), None);
    let mut machine = machine_of("m1,az=x");
    machine.cordon = Cordon::Draining;
    cluster.scheduler.set_machine(machine);
    cluster.rest();
    let why = "no other machine is eligible: local Machine metadata insufficient: az is not x but y";
    assert_eq!(cluster.why("a.service").as_deref(), Some(why));
    assert_eq!(cluster.scheduler.message("a.service").as_deref(), Some(why));
    assert_eq!(cluster.scheduler.message("b.service"), None);
}

fn drain(cluster: &mut Cluster, machine: &str) {
    let machine = Machine { cordon: Cordon::Draining, ..machine_of(machine) };
    cluster.scheduler.set_machine(machine);
}

/// m2 is eligible for the unit but not for its follower.
#[test]
fn a_drained_unit_goes_where_its_followers_can_be() {
    let mut cluster = Cluster::of("m1,disk=ssd m2 m3,disk=ssd");
    cluster.start("web.service", "");
    cluster.start("web-log.service", "MachineOf=web.service\nMachineMetadata=disk=ssd");
    assert_eq!(cluster.rest(), ["web-log.service m1", "web.service m1"]);
    // Busier than m2.
    cluster.start("a.service", "MachineID=m3").rest();
    drain(&mut cluster, "m1,disk=ssd");
    assert_eq!(
        cluster.pass(),
        [
            "unschedule web.service from m1: Machine(m1) is being drained",
            "unschedule web-log.service from m1: Machine(m1) is being drained"
        ]
    );
    assert_eq!(cluster.rest(), ["a.service m3", "web-log.service m3", "web.service m3"]);
    drain(&mut cluster, "m3,disk=ssd");
    assert_eq!(cluster.rest(), ["a.service m3", "web-log.service m3", "web.service m3"]);
    let why = "no other machine is eligible: bound to Unit(web-log.service) by MachineOf: local Machine metadata \
               insufficient: disk is not ssd but missing; the machine is being drained";
    assert_eq!(cluster.why("web.service").as_deref(), Some(why));
    let why = "no other machine is eligible: local Machine metadata insufficient: disk is not ssd but missing; the \
               machine is being drained";
    assert_eq!(cluster.why("web-log.service").as_deref(), Some(why));
}

/// A follower of two units moves with both, or all stay. With overlap none is without its peer.
#[test]
fn what_is_bound_together_leaves_together() {
    let mut cluster = Cluster::of("m1 m2");
    cluster.start("a.service", "AllowOverlap=yes").start("b.service", "MachineOf=a.service").rest();
    cluster.start("c.service", "MachineOf=b.service\nMachineOf=a.service\nAllowOverlap=yes");
    assert_eq!(cluster.rest(), ["a.service m1", "b.service m1", "c.service m1"]);
    drain(&mut cluster, "m1");
    assert_eq!(
        cluster.pass(),
        [
            "move a.service from m1 to m2: Machine(m1) is being drained",
            "unschedule b.service from m1: Machine(m1) is being drained",
            "unschedule c.service from m1: Machine(m1) is being drained"
        ]
    );
    assert_eq!(cluster.rest(), ["a.service m2", "b.service m2", "c.service m2"]);
}

/// Units that are started together.
#[test]
fn a_unit_is_placed_where_its_followers_fit() {
    check(
        "m1 m2,disk=ssd",
        &[("a.service", ""), ("b.service", "MachineOf=a.service\nMachineMetadata=disk=ssd")],
        &["a.service m2", "b.service m2"],
    );
    // Not worth leaving the unit unscheduled.
    check(
        "m1 m2",
        &[("a.service", ""), ("b.service", "MachineOf=a.service\nMachineMetadata=disk=ssd")],
        &["a.service m1", "b.service -"],
    );
}

#[test]
fn pinned_units_wait_for_their_machine() {
    let mut cluster = Cluster::of("m1 m2");
    cluster.start("db.service", "Pinned=yes");
    assert_eq!(
        cluster.pass(),
        ["schedule db.service to m1 and pin it: target state launched and unit not scheduled"]
    );
    cluster.lose("m1");
    assert_eq!(cluster.rest(), ["db.service m1"]);
    assert_eq!(cluster.why("db.service").as_deref(), Some("waits for Machine(m1), which is not present"));
    cluster.set("db.service", "Pinned=yes", JobState::Inactive).rest();
    cluster.start("db.service", "Pinned=yes");
    assert_eq!(cluster.rest(), ["db.service -"]);
    cluster.scheduler.set_machine(machine_of("m1"));
    assert_eq!(cluster.rest(), ["db.service m1"]);
}

#[test]
fn limits_and_weights() {
    let mut cluster = Cluster::default();
    for (id, capacity) in [
        ("m1", Capacity { units: Some(1), ..Capacity::default() }),
        ("m2", Capacity { memory: Some(2 << 30), ..Capacity::default() }),
        ("m3", Capacity { cpu: Some(1000), ..Capacity::default() }),
    ] {
        cluster.scheduler.set_machine(Machine { capacity, ..Machine::new(id) });
    }
    cluster
        .start("a.service", "")
        .start("b.service", "MemoryRequest=3G")
        .start("c.service", "CPURequest=1.5");
    assert_eq!(cluster.rest(), ["a.service m1", "b.service m3", "c.service m2"]);
    let explanation = cluster.scheduler.explain("b.service").unwrap();
    let loads: Vec<_> = explanation.candidates.iter().map(|candidate| candidate.load).collect();
    assert_eq!(loads, [1000, 2500, 4000]);
}

#[test]
fn a_unit_that_becomes_global() {
    let mut cluster = Cluster::of("m1 m2");
    cluster.start("a.service", "").rest();
    cluster.start("a.service", "Global=true");
    assert_eq!(cluster.pass(), ["unschedule a.service from m1: unit is global"]);
    let placement = cluster.scheduler.explain("a.service").unwrap().placement;
    assert_eq!(placement, Placement::Global(vec![MachineId::new("m1"), MachineId::new("m2")]));
}

#[test]
fn a_conflict_is_reported_once() {
    let mut cluster = Cluster::of("m1");
    let spread = "Conflicts=web@*.service\nConflicts=*@1.service";
    cluster.start("web@1.service", spread).start("web@2.service", spread);
    assert_eq!(cluster.rest(), ["web@1.service m1", "web@2.service -"]);
    let explanation = cluster.scheduler.explain("web@2.service").unwrap();
    let reasons: Vec<_> = explanation.candidates[0].obstacles.iter().map(ToString::to_string).collect();
    assert_eq!(
        reasons,
        ["found conflict with locally-scheduled Unit(web@1.service): its own Conflicts=web@*.service"]
    );
    let remedy = "unload web@1.service, or move it elsewhere".to_owned();
    assert_eq!(explanation.remedies(), [(MachineId::new("m1"), remedy)]);
}

/// The tutorial's case: six API servers and two balancers; then a machine fails.
#[test]
fn six_servers_and_two_balancers() {
    let mut cluster = Cluster::of("m1 m2 m3");
    for number in 1..=6 {
        cluster.start(&format!("api@{number}.service"), "");
    }
    for number in 1..=2 {
        cluster.start(&format!("lb@{number}.service"), "Conflicts=lb@*.service");
    }
    let before = cluster.rest();
    assert_eq!(
        before,
        [
            "api@1.service m1",
            "api@2.service m2",
            "api@3.service m3",
            "api@4.service m1",
            "api@5.service m2",
            "api@6.service m3",
            "lb@1.service m1",
            "lb@2.service m2"
        ]
    );
    cluster.lose("m1");
    assert_eq!(
        cluster.rest(),
        [
            "api@1.service m3",
            "api@2.service m2",
            "api@3.service m3",
            "api@4.service m2",
            "api@5.service m2",
            "api@6.service m3",
            "lb@1.service m3",
            "lb@2.service m2"
        ]
    );
}
