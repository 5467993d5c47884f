//! Keys and values byte for byte, and views built from them. Long because they are one contract.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_core::registry::{
    EngineVersion, JobObject, Key, Lease, LeaseFacts, LeaseStep, MachineObject, Rollout, Subject, UnitObject,
    UnitState, View, Write, writes_for_new_unit, writes_for_task,
};
use fleet_core::schedule::Scheduler;
use fleet_core::{Capacity, Cordon, FenceKey, JobState, MachineId, Refusal, RefusalScope, RefusedStep};
use proptest::prelude::*;
use unit_file::{UnitFile, UnitHash, UnitName};

const HELLO: &str = "e55c0aeb44ba0b68004ceb8a200e685194448b45";

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

fn hello() -> UnitHash {
    HELLO.parse().unwrap()
}

/// The original ignored such a unit, too.
#[test]
fn a_text_has_the_hash_of_its_key() {
    let file = UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap();
    let job = JobObject { name: "a.service".into(), hash: file.hash() }.encode();
    let path = format!("unit/{}", file.hash());
    let other = UnitObject { raw: "[Service]\nExecStart=/b\n".into() }.encode();
    let (mut view, errors) = View::read([("job/a.service/object", &*job), (&*path, &*other)]);
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(texts.len() == 1 && texts[0].contains(&path) && texts[0].contains("has the hash"), "{texts:?}");
    assert_eq!(view.unit(&name("a.service")), None);
    let right = UnitObject { raw: "[Service]\nExecStart=/a\n".into() }.encode();
    view.put(&path, &right).unwrap();
    assert_eq!(view.unit_names().collect::<Vec<_>>(), [&name("a.service")]);
}

#[test]
fn the_original_s_bytes() {
    let mut machine = MachineObject {
        id: MachineId::new("113f16a7"),
        public_ip: "172.17.8.101".into(),
        metadata: BTreeMap::from([("k".into(), "v".into())]),
        disable_engine: false,
        version: "1.0.0".into(),
    };
    let text = r#"{"ID":"113f16a7","PublicIP":"172.17.8.101","Metadata":{"k":"v"},"Capabilities":{"DISABLE_ENGINE":false,"GRPC":false},"Version":"1.0.0"}"#;
    assert_eq!(machine.encode(), text);
    assert_eq!(MachineObject::decode(text).unwrap(), machine);
    let old =
        r#"{"ID":"113f16a7","PublicIP":"172.17.8.101","Metadata":{"k":"v"},"Version":"1.0.0","New":[1]}"#;
    assert_eq!(MachineObject::decode(old).unwrap(), machine);
    machine.metadata.clear();
    machine.public_ip.clear();
    assert_eq!(
        MachineObject::decode(r#"{"ID":"113f16a7","Metadata":null,"Version":"1.0.0"}"#).unwrap(),
        machine
    );
    assert!(MachineObject::decode(r#"{"PublicIP":"1.2.3.4"}"#).is_err());

    let job = JobObject { name: "hello.service".into(), hash: hello() };
    let text = r#"{"Name":"hello.service","UnitHash":[229,92,10,235,68,186,11,104,0,76,235,138,32,14,104,81,148,68,139,69]}"#;
    assert_eq!(job.encode(), text);
    assert_eq!(JobObject::decode(text).unwrap(), job);
    assert!(JobObject::decode(r#"{"Name":"hello.service","UnitHash":[1,2]}"#).is_err());

    let unit = UnitObject { raw: "[Service]\nExecStart=/bin/sh -c \"a && b > c\"\n".into() };
    let text = r#"{"Raw":"[Service]\nExecStart=/bin/sh -c \"a \u0026\u0026 b \u003e c\"\n"}"#;
    assert_eq!(unit.encode(), text);
    assert_eq!(UnitObject::decode(text).unwrap(), unit);

    let state = UnitState {
        load: "loaded".into(),
        active: "active".into(),
        sub: "running".into(),
        machine: MachineId::new("113f16a7"),
        hash: hello(),
        refusal: None,
    };
    let text = format!(
        r#"{{"loadState":"loaded","activeState":"active","subState":"running","machineState":{{"ID":"113f16a7","PublicIP":"","Metadata":null,"Capabilities":null,"Version":""}},"unitHash":"{HELLO}"}}"#
    );
    assert_eq!(state.encode(), text);
    assert_eq!(UnitState::decode(&text).unwrap(), state);
    assert!(UnitState::decode(&text.replace(HELLO, "")).is_err());

    let lease = Lease::ours(MachineId::new("113f16a7"));
    assert_eq!(lease.encode(), r#"{"MachineID":"113f16a7","Version":1}"#);
    assert_eq!(Lease::decode(&lease.encode()), lease);
    assert_eq!(Lease::decode("113f16a7"), Lease { machine: lease.machine.clone(), version: 0 });

    let rollout = Rollout { hash: hello(), machines: vec![MachineId::new("a")] };
    assert_eq!(Rollout::decode(&rollout.encode()).unwrap(), rollout);
    let capacity = Capacity { units: Some(9), memory: None, cpu: Some(2000) };
    assert_eq!(Capacity::decode(&capacity.encode()).unwrap(), capacity);
}

#[test]
fn the_fence_key_is_in_no_message() {
    let key = FenceKey([0xa7; FenceKey::BYTES]);
    let text = key.encode();
    assert_eq!(FenceKey::decode(&text), Ok(key.clone()));
    let (mut view, errors) = View::read([("fence/key", text.as_str())]);
    assert_eq!((view.fence_key(), errors), (Some(&key), Vec::new()));
    assert!(!format!("{view:?}").contains("167"), "0xa7 is 167");
    for bad in ["", &text[1..], &format!("{text}{text}"), "secret"] {
        let error = view.put("fence/key", bad).unwrap_err();
        assert_eq!(error.to_string(), "the value of fence/key cannot be read: not 32 bytes in Base64");
        assert_eq!(view.fence_key(), None);
    }
}

#[test]
fn keys() {
    let (unit, machine) = (name("a@1.service"), MachineId::new("m"));
    for (key, path) in [
        (Key::MachineObject(machine.clone()), "machines/m/object".to_owned()),
        (Key::MachineMetadata(machine.clone(), "k".into()), "machines/m/metadata/k".into()),
        (Key::MachineInstance(machine.clone()), "machines/m/instance".into()),
        (Key::MachineCapacity(machine.clone()), "machines/m/capacity".into()),
        (Key::MachineCordon(machine.clone()), "machines/m/cordon".into()),
        (Key::JobObject(unit.clone()), "job/a@1.service/object".into()),
        (Key::TargetState(unit.clone()), "job/a@1.service/target-state".into()),
        (Key::Target(unit.clone()), "job/a@1.service/target".into()),
        (Key::JobState(unit.clone()), "job/a@1.service/job-state".into()),
        (Key::Pin(unit.clone()), "job/a@1.service/pin".into()),
        (Key::Rollout(unit.clone()), "job/a@1.service/rollout".into()),
        (Key::Unit(hello()), format!("unit/{HELLO}")),
        (Key::State(unit.clone(), machine), "states/a@1.service/m".into()),
        (Key::LegacyState(unit), "state/a@1.service".into()),
        (Key::EngineLeader, "lease/engine-leader".into()),
        (Key::EngineVersion, "engine/version".into()),
        (Key::FenceKey, "fence/key".into()),
    ] {
        assert_eq!(key.path(), path);
        assert_eq!(Key::parse(&path), Some(key.clone()));
        assert_eq!(Key::parse(&format!("/{path}")), Some(key));
    }
    for none in
        ["", "job", "job/a.service", "job/no suffix/object", "unit/xyz", "states/a.service", "offer/1"]
    {
        assert_eq!(Key::parse(none), None, "{none}");
    }
}

/// A small cluster in the store.
fn pairs() -> Vec<(String, String)> {
    let file = UnitFile::from_text("[Service]\nExecStart=/bin/sleep 1\n").unwrap();
    let global = UnitFile::from_text("[X-Fleet]\nGlobal=true\n").unwrap();
    let mut pairs = Vec::new();
    for (unit, file) in [("a.service", &file), ("b.service", &file), ("g.service", &global)] {
        for write in writes_for_new_unit(&name(unit), file, JobState::Launched) {
            match write {
                Write::Set { key, value } | Write::Create { key, value } => pairs.push((key.path(), value)),
                other => panic!("{other:?}"),
            }
        }
    }
    for id in ["m1", "m2"] {
        let object =
            format!(r#"{{"ID":"{id}","PublicIP":"","Metadata":{{"az":"x","disk":"ssd"}},"Version":"1"}}"#);
        pairs.push((format!("machines/{id}/object"), object));
    }
    let state = UnitState {
        load: "loaded".into(),
        active: "active".into(),
        sub: "running".into(),
        machine: MachineId::new("m1"),
        hash: file.hash(),
        refusal: None,
    };
    pairs.push(("job/a.service/target".into(), "m1".into()));
    pairs.push(("states/a.service/m1".into(), state.encode()));
    pairs.push(("job/a.service/job-state".into(), "m1".into()));
    pairs
}

fn view(pairs: &[(String, String)]) -> View {
    let (view, errors) = View::read(pairs.iter().map(|(path, value)| (path.as_str(), value.as_str())));
    assert_eq!(errors, []);
    view
}

fn refused(cause: &str, step: RefusedStep, hash: UnitHash, load: &str) -> String {
    let refusal = Refusal { cause: cause.into(), scope: RefusalScope::Machine, step };
    let state = UnitState {
        load: load.into(),
        active: "inactive".into(),
        sub: "dead".into(),
        machine: MachineId::new("m1"),
        hash,
        refusal: Some(refusal),
    };
    assert_eq!(UnitState::decode(&state.encode()), Ok(state.clone()));
    state.encode()
}

/// A unit that could not be loaded may run elsewhere. A unit that could not be started is still held.
#[test]
fn a_refusal_is_no_hold_and_no_launch() {
    let mut view = view(&pairs());
    let unit = name("a.service");
    let hash = view.hash(&unit).unwrap();
    let (m1, m2) = (MachineId::new("m1"), MachineId::new("m2"));
    let seen = |view: &View| (view.current_state(&unit).unwrap(), view.is_loaded_elsewhere(&unit, &m2));
    assert_eq!(seen(&view), (JobState::Launched, true));
    // The claim of the last attempt exists.
    view.put("states/a.service/m1", &refused("masked", RefusedStep::Load, hash, "masked")).unwrap();
    assert_eq!(seen(&view), (JobState::Inactive, false));
    view.put("states/a.service/m1", &refused("no", RefusedStep::Start, hash, "loaded")).unwrap();
    assert_eq!(seen(&view), (JobState::Loaded, true));
    view.put("states/a.service/m1", &refused("no", RefusedStep::Start, hash, "not-found")).unwrap();
    assert_eq!(seen(&view), (JobState::Inactive, false));
    assert_eq!(view.refusal(&unit, &m1).unwrap().to_string(), "the machine cannot start it: no");
    // It concerned another version.
    view.put("states/a.service/m1", &refused("no", RefusedStep::Load, hello(), "error")).unwrap();
    assert_eq!(view.refusal(&unit, &m1), None);
}

/// A refusal with fields of a newer fleetd must not make the state invalid.
#[test]
fn unknown_refusal_scopes_are_temporary() {
    let text = refused("no", RefusedStep::Load, hello(), "error").replace(r#""machine""#, r#""cluster""#);
    let refusal = UnitState::decode(&text).unwrap().refusal.unwrap();
    assert_eq!(refusal.scope, RefusalScope::Temporary);
    assert!(!refusal.lasts());
}

/// The unit moves away from a machine that refuses it, and may return with a new version.
#[test]
fn a_unit_leaves_a_machine_that_refuses_it() {
    let mut view = view(&pairs());
    let unit = name("a.service");
    let refusal = refused("masked", RefusedStep::Load, view.hash(&unit).unwrap(), "masked");
    let mut scheduler = Scheduler::new();
    for subject in view.subjects() {
        view.update_scheduler(&subject, &BTreeMap::new(), &mut scheduler);
    }
    scheduler.pass();
    for subject in view.put("states/a.service/m1", &refusal).unwrap() {
        view.update_scheduler(&subject, &BTreeMap::new(), &mut scheduler);
    }
    let tasks: Vec<_> = scheduler.pass().iter().map(ToString::to_string).collect();
    assert_eq!(tasks, ["unschedule a.service from m1: Machine(m1) cannot run it"]);
    // As its machine does after observing that.
    for path in ["job/a.service/target", "job/a.service/job-state"] {
        for subject in view.delete(path) {
            view.update_scheduler(&subject, &BTreeMap::new(), &mut scheduler);
        }
    }
    let tasks: Vec<_> = scheduler.pass().iter().map(ToString::to_string).collect();
    assert_eq!(tasks, ["schedule a.service to m2: target state launched and unit not scheduled"]);
    let explained = scheduler.explain("a.service").unwrap();
    let of_m1 = explained.candidates.iter().find(|candidate| candidate.machine.as_str() == "m1").unwrap();
    assert_eq!(of_m1.obstacles[0].to_string(), "the machine cannot load it: masked");

    let file = UnitFile::from_text("[Service]\nExecStart=/bin/sleep 2\n").unwrap();
    for write in writes_for_new_unit(&unit, &file, JobState::Launched) {
        let (Write::Set { key, value } | Write::Create { key, value }) = write else { panic!("{write:?}") };
        for subject in view.put(&key.path(), &value).unwrap() {
            view.update_scheduler(&subject, &BTreeMap::new(), &mut scheduler);
        }
    }
    let explained = scheduler.explain("a.service").unwrap();
    assert!(explained.candidates.iter().all(|candidate| candidate.obstacles.is_empty()));
}

#[test]
fn current_states() {
    let mut view = view(&pairs());
    let state = |view: &View| view.current_state(&name("a.service"));
    assert_eq!(state(&view), Some(JobState::Launched));
    assert_eq!(view.current_state(&name("b.service")), Some(JobState::Inactive));
    assert_eq!(view.current_state(&name("g.service")), None);
    view.put("job/a.service/job-state", "m2").unwrap();
    assert_eq!(state(&view), Some(JobState::Loaded));
    view.delete("states/a.service");
    assert_eq!(state(&view), Some(JobState::Inactive));
}

#[test]
fn api_metadata_overrides_the_machine_s() {
    let mut view = view(&pairs());
    let id = MachineId::new("m1");
    view.put("machines/m1/metadata/az", "y").unwrap();
    view.put("machines/m1/metadata/disk", "").unwrap();
    view.put("machines/m1/metadata/new", "1").unwrap();
    let expected = BTreeMap::from([("az".to_owned(), "y".to_owned()), ("new".into(), "1".into())]);
    assert_eq!(view.machine(&id).unwrap().metadata, expected);
    view.put("machines/m1/cordon", "draining").unwrap();
    assert_eq!(view.machine(&id).unwrap().cordon, Cordon::Draining);
    // They survive the machine.
    view.delete("machines/m1/object");
    assert_eq!(view.machine(&id), None);
    view.put("machines/m1/object", r#"{"ID":"m1"}"#).unwrap();
    assert_eq!(view.machine(&id).unwrap().metadata, expected);
}

#[test]
fn invalid_values_are_tolerated() {
    let mut view = view(&pairs());
    // A remnant of a delayed heartbeat.
    view.put("job/ghost.service/job-state", "m1").unwrap();
    assert_eq!(view.unit(&name("ghost.service")), None);
    // A unit file that does not exist (yet).
    let hash = UnitFile::from_text("[Unit]\nA=1\n").unwrap().hash();
    view.put("job/c.service/object", &JobObject { name: "c.service".into(), hash }.encode()).unwrap();
    assert_eq!(view.unit(&name("c.service")), None);
    let subjects = view.put(&format!("unit/{hash}"), r#"{"Raw":"[Unit]\nA=1\n"}"#).unwrap();
    assert_eq!(subjects, [Subject::Unit(name("c.service"))]);
    assert!(view.unit(&name("c.service")).is_some());
    // An invalid desired state.
    view.put("job/a.service/target-state", "bogus").unwrap();
    assert_eq!(view.unit(&name("a.service")).unwrap().desired, JobState::Inactive);
    // An invalid value.
    let error = view.put("job/a.service/object", "{").unwrap_err();
    assert_eq!(error.path, "job/a.service/object");
    assert_eq!(view.unit(&name("a.service")), None);
    assert_eq!(view.put("job/a.service/unheard-of", "1").unwrap(), []);
}

#[test]
fn destroyed_units_and_unused_files() {
    let mut view = view(&pairs());
    assert!(view.file(&name("a.service")).is_some());
    // The claim is deleted, too.
    let claim = Subject::State(name("a.service"), MachineId::new("m1"));
    assert_eq!(view.delete("job/a.service"), [Subject::Unit(name("a.service")), claim]);
    assert_eq!(view.unit(&name("a.service")), None);
    assert!(view.file(&name("b.service")).is_some());
    // Its machine still holds it.
    assert!(view.state(&name("a.service"), &MachineId::new("m1")).is_some());
}

/// The engine's task for `a.service`.
fn placement(view: &View) -> String {
    let mut scheduler = Scheduler::new();
    for subject in view.subjects() {
        view.update_scheduler(&subject, &BTreeMap::new(), &mut scheduler);
    }
    let tasks = scheduler.pass().into_iter().map(|task| task.to_string());
    tasks.filter(|task| task.contains("a.service")).collect()
}

/// A claim holds a unit before its state is published.
#[test]
fn a_claim_holds_a_unit() {
    let mut view = view(&pairs());
    let unit = name("a.service");
    view.delete("states/a.service/m1");
    view.delete("job/a.service/target");
    let told = view.put("job/a.service/job-state", "m2").unwrap();
    let of = |machine: &str| Subject::State(unit.clone(), MachineId::new(machine));
    assert!(told.contains(&of("m1")) && told.contains(&of("m2")), "{told:?}");
    assert!(placement(&view).starts_with("schedule a.service to m2"), "m2 claims it: {}", placement(&view));
    assert!(view.delete("job/a.service/job-state").contains(&of("m2")));
    assert!(placement(&view).starts_with("schedule a.service to m1"), "{}", placement(&view));
}

/// A loaded unit may run: a timer or another unit may have started it.
#[test]
fn a_unit_is_held_where_it_is_loaded() {
    let mut view = view(&pairs());
    view.delete("job/a.service/target");
    view.delete("job/a.service/job-state");
    assert!(placement(&view).starts_with("schedule a.service to m1"), "{}", placement(&view));
    let loaded = view.state(&name("a.service"), &MachineId::new("m1")).unwrap().encode();
    view.delete("states/a.service/m1");
    view.put("states/a.service/m2", &loaded.replace("m1", "m2")).unwrap();
    assert!(placement(&view).starts_with("schedule a.service to m2"), "{}", placement(&view));
    let other = UnitState { load: "not-found".into(), ..UnitState::decode(&loaded).unwrap() };
    view.put("states/a.service/m2", &other.encode()).unwrap();
    assert!(placement(&view).starts_with("schedule a.service to m1"), "{}", placement(&view));
}

/// The unit file is in the store already, so there is no event for it.
#[test]
fn resubmitting_a_destroyed_unit() {
    let mut view = view(&pairs());
    let unit = name("g.service");
    let hash = view.hash(&unit).unwrap();
    view.delete("job/g.service");
    assert_eq!(view.unreferenced_files().collect::<Vec<_>>(), [hash]);
    let object = JobObject { name: "g.service".into(), hash };
    view.put("job/g.service/object", &object.encode()).unwrap();
    assert!(view.unit(&unit).unwrap().requirements.global);
    assert_eq!(view.unreferenced_files().count(), 0);
    // Used unit files are kept, unused ones are not.
    view.delete(&format!("unit/{hash}"));
    assert!(view.unit(&unit).is_some());
    view.delete("job/g.service");
    view.delete(&format!("unit/{hash}"));
    assert_eq!(view.unreferenced_files().count(), 0);
}

/// From the store to tasks and back.
#[test]
fn updating_a_scheduler() {
    let mut view = view(&pairs());
    let mut scheduler = Scheduler::new();
    for subject in view.subjects() {
        view.update_scheduler(&subject, &BTreeMap::new(), &mut scheduler);
    }
    let tasks = scheduler.pass();
    let texts: Vec<_> = tasks.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["schedule b.service to m2: target state launched and unit not scheduled"]);
    let writes = writes_for_task(&tasks[0]);
    assert_eq!(writes, [Write::Create { key: Key::Target(name("b.service")), value: "m2".into() }]);
    view.put("job/b.service/target", "m2").unwrap();
    view.delete("machines/m1/object");
    for subject in [Subject::Unit(name("b.service")), Subject::Machine(MachineId::new("m1"))] {
        view.update_scheduler(&subject, &BTreeMap::new(), &mut scheduler);
    }
    let mut texts = || scheduler.pass().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(), ["unschedule a.service from m1: target Machine(m1) went away"]);
    // Earlier writes are not observed yet: the machine may have claimed the unit.
    assert_eq!(texts(), [""; 0]);
    view.delete("job/a.service/target");
    view.update_scheduler(&Subject::Unit(name("a.service")), &BTreeMap::new(), &mut scheduler);
    let texts: Vec<_> = scheduler.pass().iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["schedule a.service to m2: target state launched and unit not scheduled"]);
}

proptest! {
    /// The order of keys does not matter, and deleted keys leave nothing.
    #[test]
    fn key_order_does_not_matter(order in Just(pairs()).prop_shuffle()) {
        let shuffled = view(&order);
        prop_assert_eq!(&shuffled, &view(&pairs()));
        let mut emptied = shuffled;
        for path in ["job/a.service", "job/b.service", "job/g.service", "states/a.service", "machines/m1", "machines/m2"] {
            emptied.delete(path);
        }
        prop_assert_eq!(emptied.units().count() + emptied.machines().count() + emptied.states().count(), 0);
    }
}

fn facts(machine: &str, version: u64) -> LeaseFacts {
    let lease = Lease { machine: MachineId::new(machine), version };
    LeaseFacts { lease, index: 7, remaining: Duration::from_secs(4) }
}

#[test]
fn lease_steps() {
    let (me, ttl) = (MachineId::new("me"), Duration::from_secs(10));
    let decide = |found: Option<&LeaseFacts>, held| LeaseStep::decide(found, &me, held, ttl);
    assert_eq!(decide(None, Some(7)), LeaseStep::Acquire);
    assert_eq!(decide(Some(&facts("me", 1)), Some(7)), LeaseStep::Renew { index: 7 });
    // With this machine's id, but of an earlier process or of a machine with the same id.
    assert_eq!(decide(Some(&facts("me", 1)), Some(6)), LeaseStep::Follow { leader: me.clone() });
    assert_eq!(decide(Some(&facts("me", 1)), None), LeaseStep::Follow { leader: me.clone() });
    let other = MachineId::new("other");
    assert_eq!(decide(Some(&facts("other", 1)), None), LeaseStep::Follow { leader: other.clone() });
    assert_eq!(decide(Some(&facts("other", 2)), None), LeaseStep::Follow { leader: other });
    let (all, rest) = (Duration::from_secs(14), Duration::from_secs(4));
    assert_eq!(decide(Some(&facts("other", 0)), None), LeaseStep::Steal { index: 7, ttl: all, wait: rest });
}

#[test]
fn engine_version() {
    assert_eq!(EngineVersion::decide(Some("1")), EngineVersion::Same);
    assert_eq!(EngineVersion::decide(Some("2")), EngineVersion::Incompatible);
    assert_eq!(EngineVersion::decide(Some("0")), EngineVersion::Raise { found: Some(0) });
    assert_eq!(EngineVersion::decide(None), EngineVersion::Raise { found: None });
    assert_eq!(EngineVersion::ours(), "1");
}
