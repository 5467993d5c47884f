//! Invariants under any order of requests, commands and clock changes: no limit is exceeded, no version is offered
//! downward, no machine waits forever, and the persisted records suffice to continue.

use omaha::{ErrorCode, Event, EventResult, EventType};
use proptest::collection::vec;
use proptest::prelude::*;
use rollout::{Counts, Policy, Wave};
use semver::Version;

use crate::support::{MemoryStorage, World, track, zones};

const MACHINES: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    Check(usize),
    CheckOnDemand(usize),
    /// Into the granted version.
    Reboot(usize),
    Event(usize, u32, u32, u32),
    Wait(u64),
    /// The clock is set back.
    Back(u64),
    TimelinePoint(u64),
    Pause,
    Resume,
    Ban(u64, bool),
    Reset(usize),
    Tick,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let machine = 0..MACHINES;
    prop_oneof![
        8 => machine.clone().prop_map(Step::Check),
        1 => machine.clone().prop_map(Step::CheckOnDemand),
        3 => machine.clone().prop_map(Step::Reboot),
        5 => (machine.clone(), prop::sample::select(vec![3, 13, 14, 800]),
            prop::sample::select(vec![0_u32, 1, 2, 9]), prop::sample::select(vec![9_u32, 35, 36, 44, 0x1000_000a]))
            .prop_map(|(machine, kind, result, code)| Step::Event(machine, kind, result, code)),
        3 => (1_u64..900).prop_map(Step::Wait),
        1 => (1_u64..5000).prop_map(Step::Back),
        2 => (1_u64..5).prop_map(Step::TimelinePoint),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
        1 => (1_u64..5, any::<bool>()).prop_map(|(version, is_banned)| Step::Ban(version, is_banned)),
        1 => machine.prop_map(Step::Reset),
        1 => Just(Step::Tick),
        1 => Just(Step::Restart),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    (proptest::option::of(1_u32..4), proptest::option::of(1_u32..4), 1_u64..1000, 1_u64..1000, any::<bool>())
        .prop_map(|(max_per_period, max_in_progress, period, timeout, has_waves)| {
            let waves = vec![Wave { after: 0, percent: 50 }, Wave { after: 500, percent: 100 }];
            Policy {
                max_per_period,
                max_in_progress,
                period,
                timeout,
                waves: if has_waves { waves } else { Vec::new() },
                ..Policy::default()
            }
        })
}

/// The server, the machines' versions and the persisted records.
struct Simulation {
    world: World,
    running: Vec<Version>,
    storage: MemoryStorage,
}

impl Simulation {
    fn step(&mut self, step: &Step) {
        if matches!(step, Step::Restart) {
            self.world.state = self.storage.load();
        }
        let (world, version) = (&mut self.world, |number: &u64| Version::new(*number, 0, 0));
        let name = |machine: &usize| format!("machine-{machine}");
        match step {
            Step::Check(machine) | Step::CheckOnDemand(machine) => {
                let (name, running) = (name(machine), &self.running[*machine]);
                let checked = match step {
                    Step::Check(_) => world.check(&name, &running.to_string()),
                    _ => world.check_on_demand(&name, &running.to_string()),
                };
                if let Ok(offered) = checked {
                    let offered: Version = offered.parse().unwrap();
                    assert!(offered > *running, "{running} -> {offered}");
                }
            }
            Step::Reboot(machine) => {
                let app = world.state.app("keelson").unwrap().1;
                let granted =
                    app.machines.get(name(machine).as_str()).and_then(|machine| machine.grant.clone());
                if let Some(grant) = granted {
                    let before = std::mem::replace(&mut self.running[*machine], grant.version.clone());
                    let event = Event::rebooted(&before.to_string());
                    world.check_with(&name(machine), &grant.version.to_string(), event).ok();
                }
            }
            Step::Event(machine, kind, result, code) => {
                let mut event = Event::new(EventType(*kind), EventResult(*result));
                event.error = Some(ErrorCode(*code));
                world.event(&name(machine), &self.running[*machine].to_string(), event);
            }
            Step::Wait(seconds) => world.now += seconds,
            Step::Back(seconds) => world.now -= seconds,
            Step::TimelinePoint(number) => {
                // Fails if the version is banned.
                world.state.point_channel("keelson", &track("alpha"), Some(&version(number)), world.now).ok();
            }
            Step::Pause => world.state.pause("keelson", &track("alpha"), "", world.now).unwrap(),
            Step::Resume => world.state.resume("keelson", &track("alpha"), world.now).unwrap(),
            Step::Ban(number, is_banned) => {
                let why = is_banned.then_some("why");
                world.state.ban("keelson", &version(number), "amd64", why, world.now).unwrap();
            }
            Step::Reset(machine) => {
                // Fails if the machine is not registered yet.
                world.state.reset_machine("keelson", &name(machine), world.now).ok();
            }
            Step::Tick => world.state.tick(world.now, &zones),
            Step::Restart => {}
        }
    }

    /// Checks the invariants by iterating over the machines, independently of the counts.
    fn assert_invariants(&self, clock_went_back: bool) {
        let (_, app) = self.world.state.app("keelson").unwrap();
        let state = &app.groups[&track("alpha")];
        let (policy, now) = (&state.group.policy, self.world.now);
        let recent = app.machines.values().filter_map(|machine| machine.last_grant.as_ref());
        let recent = recent.filter(|(_, at)| at + policy.period > now).count();
        let live = |machine: &&rollout::Machine| {
            machine.grant.as_ref().is_some_and(|grant| grant.renewed + policy.timeout > now)
        };
        let in_progress = app.machines.values().filter(live).count();
        // After the clock was set back, past grants count as recent.
        if !clock_went_back {
            assert!(
                policy.max_per_period.is_none_or(|limit| recent <= limit as usize),
                "{recent} in a period"
            );
            assert!(
                policy.max_in_progress.is_none_or(|limit| in_progress <= limit as usize),
                "{in_progress} at once"
            );
        }
        let counts: &Counts = &state.counts;
        let statuses: usize = counts.statuses.values().sum();
        assert_eq!((counts.machines, statuses), (app.machines.len(), app.machines.len()));
        for (version, count) in &counts.versions {
            assert_eq!(app.machines.values().filter(|machine| machine.version == *version).count(), *count);
        }
        let granted = app.machines.values().filter(|machine| machine.grant.is_some()).count();
        assert_eq!(counts.in_progress(), granted);
        for machine in app.machines.values() {
            let fits = match machine.status.number() {
                2 | 6 | 7 => machine.grant.is_some(),
                // The reboot may be pending for longer than the grant lasts.
                5 => true,
                _ => machine.grant.is_none(),
            };
            assert!(fits, "a status without its grant: {machine:?}");
        }
    }

    /// After the longest timeout, a new machine gets the channel's version.
    fn assert_liveness(&mut self) {
        let world = &mut self.world;
        for number in 1..5 {
            world.state.ban("keelson", &Version::new(number, 0, 0), "amd64", None, world.now).unwrap();
        }
        world.state.resume("keelson", &track("alpha"), world.now).unwrap();
        // The server observes a clock that was set back.
        world.state.tick(world.now, &zones);
        world.now += 2000;
        assert!(world.check("somebody-new", "0.1.0").is_ok(), "{:?}", world.group());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_for_any_history(policy in policy(), steps in vec(step(), 1..120)) {
        let world = World::new(policy);
        let mut run = Simulation { world, running: vec![Version::new(1, 0, 0); MACHINES], storage: MemoryStorage::default() };
        run.storage.persist(&mut run.world.state);
        let mut clock_went_back = false;
        for step in &steps {
            run.step(step);
            clock_went_back |= matches!(step, Step::Back(_));
            run.storage.persist(&mut run.world.state);
            run.assert_invariants(clock_went_back);
        }
        let (loaded, state) = (run.storage.load(), &run.world.state);
        let (one, other) = (loaded.app("keelson").unwrap().1, state.app("keelson").unwrap().1);
        prop_assert_eq!(&one.machines, &other.machines);
        prop_assert_eq!(&one.channels, &other.channels);
        prop_assert_eq!(&one.packages, &other.packages);
        for (track, state) in &other.groups {
            prop_assert_eq!(&one.groups[track].group, &state.group);
            prop_assert_eq!(&one.groups[track].timeline, &state.timeline);
        }
        prop_assert!(loaded.activity().eq(state.activity()));
        run.assert_liveness();
    }
}
