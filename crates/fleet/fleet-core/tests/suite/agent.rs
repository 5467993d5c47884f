//! The agent's decisions: the original's cases and our own.

use std::collections::{BTreeMap, BTreeSet};

use fleet_core::agent::{DesiredUnit, Hold, LocalUnit, desired_units, reconcile};
use fleet_core::registry::{Rollout, UnitState, View, Write, writes_for_new_unit};
use fleet_core::{JobState, Machine, MachineId};
use proptest::prelude::*;
use unit_file::{UnitFile, UnitHash, UnitName};

use JobState::{Inactive, Launched, Loaded};

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

fn hash(number: u8) -> UnitHash {
    UnitHash([number; 20])
}

/// `desired`: unit, hash, state, hold; `local`: unit, hash, state.
fn check(desired: &[(&str, u8, JobState, Option<Hold>)], local: &[(&str, u8, JobState)], expected: &[&str]) {
    let desired = desired
        .iter()
        .map(|(unit, number, desired, hold)| {
            (name(unit), DesiredUnit { hash: hash(*number), state: *desired, hold: *hold })
        })
        .collect();
    let local = local
        .iter()
        .map(|(unit, number, state)| (name(unit), LocalUnit { hash: hash(*number), state: *state }))
        .collect();
    let tasks: Vec<_> = reconcile(&desired, &local)
        .iter()
        .map(|task| match task.unit() {
            Some(unit) => format!("{} {unit}", task.kind()),
            None => task.kind().to_owned(),
        })
        .collect();
    assert_eq!(tasks, expected, "{desired:?} {local:?}");
}

#[test]
fn one_unit() {
    let unload = ["UnloadUnit a.service", "ReloadUnitFiles"];
    let load = ["LoadUnit a.service", "ReloadUnitFiles"];
    let load_and_start = ["LoadUnit a.service", "ReloadUnitFiles", "StartUnit a.service"];
    check(&[], &[("a.service", 1, Launched)], &unload);
    check(&[("a.service", 1, Inactive, None)], &[("a.service", 1, Loaded)], &unload);
    check(&[("a.service", 1, Inactive, None)], &[], &[]);
    check(&[("a.service", 1, Loaded, None)], &[], &load);
    check(&[("a.service", 1, Launched, None)], &[], &load_and_start);
    // fleetd has just started: states are unknown.
    check(&[("a.service", 1, Loaded, None)], &[("a.service", 1, Inactive)], &load);
    check(&[("a.service", 1, Launched, None)], &[("a.service", 1, Inactive)], &load_and_start);
    check(&[("a.service", 1, Launched, None)], &[("a.service", 1, Loaded)], &["StartUnit a.service"]);
    check(&[("a.service", 1, Loaded, None)], &[("a.service", 1, Launched)], &["StopUnit a.service"]);
    check(&[("a.service", 1, Launched, None)], &[("a.service", 1, Launched)], &[]);
    let replace = ["UnloadUnit a.service", "LoadUnit a.service", "ReloadUnitFiles", "StartUnit a.service"];
    check(&[("a.service", 2, Launched, None)], &[("a.service", 1, Launched)], &replace);
    check(&[("a.service", 2, Loaded, None)], &[("a.service", 1, Launched)], &replace[..3]);
}

#[test]
fn many_units_in_order() {
    check(
        &[
            ("a.service", 1, Launched, None),
            ("b.service", 1, Loaded, None),
            ("c.service", 2, Launched, None),
            ("e.service", 1, Launched, None),
        ],
        &[
            ("b.service", 1, Launched),
            ("c.service", 1, Launched),
            ("d.service", 1, Loaded),
            ("e.service", 1, Loaded),
        ],
        &[
            "UnloadUnit c.service",
            "UnloadUnit d.service",
            "LoadUnit a.service",
            "LoadUnit c.service",
            "ReloadUnitFiles",
            "StopUnit b.service",
            "StartUnit a.service",
            "StartUnit c.service",
            "StartUnit e.service",
        ],
    );
}

#[test]
fn held_units_are_not_changed() {
    let rollout = Some(Hold::Rollout);
    check(&[("a.service", 2, Launched, rollout)], &[("a.service", 1, Launched)], &[]);
    check(&[("a.service", 2, Loaded, rollout)], &[("a.service", 1, Launched)], &["StopUnit a.service"]);
    check(&[("a.service", 2, Launched, rollout)], &[("a.service", 1, Inactive)], &["StartUnit a.service"]);
    check(
        &[("a.service", 2, Inactive, rollout)],
        &[("a.service", 1, Launched)],
        &["UnloadUnit a.service", "ReloadUnitFiles"],
    );
    check(&[("a.service", 2, Launched, Some(Hold::Handover))], &[("a.service", 1, Launched)], &[]);
    check(&[("a.service", 2, Launched, Some(Hold::Elsewhere))], &[("a.service", 1, Launched)], &[]);
    check(
        &[("a.service", 1, Loaded, Some(Hold::Elsewhere))],
        &[("a.service", 1, Launched)],
        &["StopUnit a.service"],
    );
}

#[test]
fn reasons_are_the_original_s() {
    let desired =
        BTreeMap::from([(name("a.service"), DesiredUnit { hash: hash(1), state: Launched, hold: None })]);
    let tasks = reconcile(&desired, &BTreeMap::new());
    let text = format!("{:?}", tasks[0]);
    assert!(text.contains("ScheduledButUnloaded"), "{text}");
    let fleet_core::agent::Task::Load { reason, .. } = &tasks[0] else { panic!("{text}") };
    assert_eq!(reason.to_string(), "unit scheduled here but not loaded");
}

fn submit(view: &mut View, unit: &str, section: &str, desired: JobState) {
    let file = UnitFile::from_text(&format!("[X-Fleet]\n{section}\n")).unwrap();
    for write in writes_for_new_unit(&name(unit), &file, desired) {
        let (Write::Set { key, value } | Write::Create { key, value }) = write else { panic!("{write:?}") };
        view.put(&key.path(), &value).unwrap();
    }
}

/// The desired units of `machine` with their holds.
fn belongs(view: &View, local: &[&str]) -> Vec<String> {
    let mut machine = Machine::new("me");
    machine.metadata.insert("az".into(), "x".into());
    let local: BTreeSet<_> = local.iter().map(|unit| name(unit)).collect();
    let units = desired_units(view, &machine, &local);
    units.iter().map(|(unit, desired)| format!("{unit} {:?}", desired.hold)).collect()
}

#[test]
fn desired_units_of_a_machine() {
    let mut view = View::default();
    submit(&mut view, "a.service", "", Launched);
    submit(&mut view, "b.service", "", Launched);
    submit(&mut view, "c.service", "", Inactive);
    submit(&mut view, "g.service", "Global=true\nMachineMetadata=az=x", Loaded);
    submit(&mut view, "h.service", "Global=true\nMachineMetadata=az=y", Loaded);
    submit(&mut view, "i.service", "Global=true", Inactive);
    for (unit, target) in [("a.service", "me"), ("b.service", "other"), ("c.service", "me")] {
        view.put(&format!("job/{unit}/target"), target).unwrap();
    }
    assert_eq!(belongs(&view, &[]), ["a.service None", "g.service None"]);
}

/// Of two conflicting global units the running one stays. Units that are not desired do not conflict.
#[test]
fn global_units_that_conflict() {
    let mut view = View::default();
    submit(&mut view, "g1.service", "Global=true\nConflicts=g*", Launched);
    submit(&mut view, "g2.service", "Global=true", Launched);
    assert_eq!(belongs(&view, &[]), ["g1.service None"]);
    assert_eq!(belongs(&view, &["g2.service"]), ["g2.service None"]);
    view.put("job/g1.service/target-state", "inactive").unwrap();
    assert_eq!(belongs(&view, &["g1.service"]), ["g2.service None"]);
    // Assigned units have precedence over global ones.
    submit(&mut view, "z.service", "Conflicts=g2*", Launched);
    view.put("job/z.service/target", "me").unwrap();
    assert_eq!(belongs(&view, &["g2.service"]), ["z.service None"]);
}

#[test]
fn a_rolling_unit_waits_for_its_permit() {
    let mut view = View::default();
    submit(&mut view, "g.service", "Global=true\nUpdatePolicy=rolling", Launched);
    assert_eq!(belongs(&view, &[]), ["g.service None"]);
    assert_eq!(belongs(&view, &["g.service"]), ["g.service Some(Rollout)"]);
    let rollout = |hash| Rollout { hash, machines: vec![MachineId::new("me")] }.encode();
    view.put("job/g.service/rollout", &rollout(hash(9))).unwrap();
    assert_eq!(belongs(&view, &["g.service"]), ["g.service Some(Rollout)"]);
    let hash = view.hash(&name("g.service")).unwrap();
    view.put("job/g.service/rollout", &rollout(hash)).unwrap();
    assert_eq!(belongs(&view, &["g.service"]), ["g.service None"]);
}

#[test]
fn a_unit_that_may_overlap_waits_for_its_successor() {
    let mut view = View::default();
    submit(&mut view, "a.service", "AllowOverlap=yes", Launched);
    submit(&mut view, "b.service", "", Launched);
    for unit in ["a.service", "b.service"] {
        view.put(&format!("job/{unit}/target"), "other").unwrap();
    }
    let local = ["a.service", "b.service"];
    assert_eq!(belongs(&view, &local), ["a.service Some(Handover)"]);
    let state = |active: &str| UnitState {
        load: "loaded".into(),
        active: active.into(),
        sub: "x".into(),
        machine: MachineId::new("other"),
        hash: hash(1),
        refusal: None,
    };
    view.put("states/a.service/other", &state("activating").encode()).unwrap();
    assert_eq!(belongs(&view, &local), ["a.service Some(Handover)"]);
    view.put("states/a.service/other", &state("active").encode()).unwrap();
    assert_eq!(belongs(&view, &local), [""; 0]);
}

/// Two ran while the unit was moved; then it got a version that may not overlap.
#[test]
fn a_version_that_may_not_overlap_waits_for_the_other_machine() {
    let mut view = View::default();
    submit(&mut view, "a.service", "", Launched);
    view.put("job/a.service/target", "me").unwrap();
    let state = UnitState {
        load: "loaded".into(),
        active: "deactivating".into(),
        sub: "x".into(),
        machine: MachineId::new("other"),
        hash: hash(1),
        refusal: None,
    };
    view.put("states/a.service/other", &state.encode()).unwrap();
    assert_eq!(belongs(&view, &["a.service"]), ["a.service None"], "the other one is dead");
    view.put("machines/other/object", r#"{"ID":"other"}"#).unwrap();
    assert_eq!(belongs(&view, &["a.service"]), ["a.service Some(Elsewhere)"]);
    assert_eq!(belongs(&view, &[]), ["a.service None"], "it is not here");
    view.delete("states/a.service/other");
    assert_eq!(belongs(&view, &["a.service"]), ["a.service None"]);
}

fn state() -> impl Strategy<Value = JobState> {
    prop_oneof![Just(Inactive), Just(Loaded), Just(Launched)]
}

proptest! {
    /// No tasks remain after one pass.
    #[test]
    fn one_pass_is_enough(
        desired in prop::collection::btree_map("[a-f]", (0..3_u8, state()), 0..6),
        local in prop::collection::btree_map("[a-f]", (0..3_u8, state()), 0..6),
    ) {
        let unit = |letter: &String| name(&format!("{letter}.service"));
        let desired: BTreeMap<_, _> = desired.iter()
            .map(|(letter, (number, desired))| (unit(letter), DesiredUnit { hash: hash(*number), state: *desired, hold: None }))
            .collect();
        let mut local: BTreeMap<_, _> = local.iter()
            .map(|(letter, (number, state))| (unit(letter), LocalUnit { hash: hash(*number), state: *state }))
            .collect();
        for task in reconcile(&desired, &local) {
            use fleet_core::agent::Task;
            match task {
                Task::Unload { unit, .. } => { local.remove(&unit).unwrap(); }
                Task::Load { unit, .. } => {
                    local.insert(unit.clone(), LocalUnit { hash: desired[&unit].hash, state: Loaded });
                }
                Task::ReloadUnitFiles => {}
                Task::Stop { unit, .. } => local.get_mut(&unit).unwrap().state = Loaded,
                Task::Start { unit, .. } => local.get_mut(&unit).unwrap().state = Launched,
            }
        }
        prop_assert_eq!(reconcile(&desired, &local), []);
        for (unit, local) in &local {
            prop_assert_eq!((local.hash, local.state), (desired[unit].hash, desired[unit].state));
        }
    }
}
