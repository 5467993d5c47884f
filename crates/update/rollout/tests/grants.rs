//! Who gets what, step by step.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod support;

use omaha::{ErrorCode, Event, EventResult, EventType};
use rollout::{Answer, PausedBy, Policy, Reason, Status, Wave};
use support::{World, package, track, zones};

#[test]
fn an_update_from_its_grant_to_its_end() {
    let mut world = World::new(Policy::default());
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.machine("a").status, Status::Granted);
    for (kind, status) in [
        (EventType::DOWNLOAD_STARTED, Status::Downloading),
        (EventType::DOWNLOAD_FINISHED, Status::Downloaded),
        (EventType::UPDATE_COMPLETE, Status::Installed),
        (EventType::COMPLETION_HELD, Status::Installed),
    ] {
        world.event("a", "1.0.0", Event::new(kind, EventResult::SUCCESS));
        assert_eq!(world.machine("a").status, status);
    }
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Err(Reason::UpToDate));
    let machine = world.machine("a");
    assert_eq!((machine.status, machine.grant.is_some()), (Status::Complete, false));
    let rollout = world.group().rollout.clone().unwrap();
    assert_eq!((rollout.attempted, rollout.succeeded, rollout.failed), (1, 1, 0));
    assert_eq!(
        world.told(),
        [
            "channel alpha: nothing -> 2.0.0",
            "group alpha begins to take 2.0.0",
            "group alpha has 2.0.0 on all of its machines: 1"
        ]
    );
    let past: Vec<u8> = world.machine("a").history.iter().map(|past| past.status.number()).collect();
    assert_eq!(past, [2, 7, 6, 5, 4]);
}

#[test]
fn nothing_is_offered_downward() {
    let mut world = World::new(Policy::default());
    assert_eq!(world.check("a", "2.0.0"), Err(Reason::UpToDate));
    assert_eq!(world.check("a", "2.0.0+another-build"), Err(Reason::UpToDate));
    assert_eq!(world.check("a", "2.1.0-rc.1"), Err(Reason::Newer));
    assert_eq!(world.check("a", "2.0.0-rc.1"), Ok("2.0.0".into()));
    world.point("1.0.0");
    assert_eq!(world.check("b", "2.0.0"), Err(Reason::Newer));
    assert!(
        world.told().contains(&"channel alpha: 2.0.0 -> 1.0.0; machines that run a newer version stay on it")
    );
}

#[test]
fn who_is_not_known_is_told_so() {
    let mut world = World::new(Policy::default());
    let said = |app_id: &str, track: &str, version: &str, machine: &str| omaha::App {
        app_id: app_id.into(),
        track: track.into(),
        update_check: true,
        boot_id: String::new(),
        ..World::said(machine, version)
    };
    let id = omaha::COREOS_APP_ID;
    assert_eq!(world.call(&said("", "alpha", "1.0.0", "a")), Answer::NoAppId);
    assert_eq!(world.call(&said("{other}", "alpha", "1.0.0", "a")), Answer::UnknownApp);
    assert_eq!(world.call(&said(id, "gamma", "1.0.0", "a")), Answer::UnknownGroup);
    assert_eq!(world.call(&said(id, "al/pha", "1.0.0", "a")), Answer::UnknownGroup);
    assert_eq!(world.call(&said(id, "alpha", "one", "a")), Answer::InvalidVersion);
    assert_eq!(world.call(&said(id, "alpha", "1.0.0", "")), Answer::NotRegistered);
    assert_eq!(world.call(&said(id, "alpha", "1.0.0", &"a".repeat(129))), Answer::NotRegistered);
    let bare = id.trim_matches(['{', '}']).to_uppercase();
    assert!(matches!(world.call(&said(&bare, "alpha", "1.0.0", "a")), Answer::Known(Some(_))));
    let arm = omaha::App { board: "arm64-usr".into(), ..said(id, "alpha", "1.0.0", "a") };
    assert_eq!(world.call(&arm), Answer::UnknownGroup, "another architecture is another group");
}

#[test]
fn a_channel_without_a_version_is_no_error_of_its_machines() {
    let mut world = World::new(Policy::default());
    world.fleet.point("keelson", &track("alpha"), None, world.now).unwrap();
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::NoPackage));
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::NoPackage));
    let told = world.told().iter().filter(|text| text.contains("its channel has nothing")).count();
    assert_eq!(told, 1);
}

#[test]
fn as_many_as_may_in_a_period_and_at_once() {
    let mut world = World::new(Policy { max_per_period: Some(2), period: 600, ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.check("c", "1.0.0"), Err(Reason::MaxPerPeriod));
    assert_eq!(world.machine("c").status, Status::OnHold);
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()), "it has its place");
    world.now += 600;
    assert_eq!(world.check("c", "1.0.0"), Ok("2.0.0".into()));

    let mut world = World::new(Policy { max_in_progress: Some(1), ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.install("a", "1.0.0");
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::MaxInProgress));
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::UpdateInProgress), "not booted yet");
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Err(Reason::UpToDate));
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
}

#[test]
fn a_machine_that_goes_away_gives_its_place_back() {
    let mut world = World::new(Policy { max_in_progress: Some(1), timeout: 3600, ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.now += 1800;
    world.event("a", "1.0.0", Event::new(EventType::DOWNLOAD_FINISHED, EventResult::SUCCESS));
    // A step gives an hour more; the same step again does not.
    world.now += 3599;
    world.event("a", "1.0.0", Event::new(EventType::DOWNLOAD_FINISHED, EventResult::SUCCESS));
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::MaxInProgress));
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()), "it may take up what it began");
    world.now += 1;
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.machine("a").status, Status::Undefined);
    assert_eq!(world.group().rollout.as_ref().unwrap().timed_out, 1);
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::MaxInProgress));
    world.now += 3600;
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
}

#[test]
fn one_machine_goes_first_in_safe_mode() {
    let policy = || Policy { safe_mode: true, ..Policy::default() };
    let mut world = World::new(policy());
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::SafeMode));
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Err(Reason::UpToDate));
    for machine in ["b", "c", "d"] {
        assert_eq!(world.check(machine, "1.0.0"), Ok("2.0.0".into()));
    }

    let mut world = World::new(policy());
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.now += 3600;
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::Paused));
    assert_eq!(world.group().paused.as_ref().unwrap().by, PausedBy::TimeOuts);
    world.fleet.resume("keelson", &track("alpha"), world.now).unwrap();
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
}

/// A version that does not boot cannot report its failure.
#[test]
fn machines_that_are_not_heard_of_after_they_installed_a_version_stop_it() {
    let hour = 3600;
    let lost = |policy: Policy, machines: &[&str]| {
        let mut world = World::new(policy);
        for machine in machines {
            assert_eq!(world.check(machine, "1.0.0"), Ok("2.0.0".into()));
            world.install(machine, "1.0.0");
        }
        // Machines without the version ask on.
        for _ in 0..4 {
            world.now += hour;
            world.check("z", "2.0.0").unwrap_err();
        }
        world
    };
    let mut world = lost(Policy { safe_mode: true, ..Policy::default() }, &["a"]);
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::Paused));
    assert_eq!(world.group().paused.as_ref().unwrap().by, PausedBy::TimeOuts);
    assert!(world.told().contains(&"a installed 2.0.0 and stopped reporting"), "{:?}", world.told());
    let policy = Policy { max_failures: Some(2), failure_percent: 50, ..Policy::default() };
    let mut world = lost(policy, &["a", "b"]);
    assert_eq!(world.check("c", "1.0.0"), Err(Reason::Paused));
    let paused = world.group().paused.clone().unwrap();
    assert_eq!((paused.by, paused.why.as_str()), (PausedBy::Failures, "2 of 2 machines failed with 2.0.0"));
    // They were switched off, and come back with it.
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Err(Reason::UpToDate));
    assert_eq!(world.group().rollout.as_ref().unwrap().failed, 1);
}

#[test]
fn a_machine_that_waits_for_its_window_is_not_lost_and_takes_no_place() {
    let mut world = World::new(Policy { safe_mode: true, timeout: 3600, ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.install("a", "1.0.0");
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::UpdateInProgress));
    for _ in 0..24 {
        world.now += 2700;
        // It has it, and passes that over. Until it has booted it nobody else tries it.
        world.check("a", "1.0.0").map(|version| assert_eq!(version, "2.0.0")).unwrap_or_default();
        assert_eq!(world.check("b", "1.0.0"), Err(Reason::SafeMode));
    }
    assert_eq!(world.group().paused, None);
    let rollout = world.group().rollout.as_ref().unwrap();
    assert_eq!((rollout.attempted, rollout.timed_out, rollout.failed), (1, 0, 0));
    assert_eq!(world.machine("a").grant, None);
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Err(Reason::UpToDate));
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));

    // Where several may go at once, it holds up nobody.
    let mut world = World::new(Policy { max_in_progress: Some(1), timeout: 3600, ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.install("a", "1.0.0");
    world.now += 3600;
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.machine("a").grant, None);
}

/// The machines' silence of a time in which nobody listened says nothing.
#[test]
fn a_server_that_was_down_takes_nobody_for_lost_at_once() {
    let mut world = World::new(Policy { safe_mode: true, ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.install("a", "1.0.0");
    world.now += 3600;
    world.fleet.tick(world.now, &zones);
    world.restart();
    world.now += 24 * 3600;
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::SafeMode));
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Err(Reason::UpToDate));
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
}

#[test]
fn failures_pause_the_group_and_a_version_that_was_given_up_does_not_come_again() {
    let mut world = World::new(Policy { max_failures: Some(2), failure_percent: 50, ..Policy::default() });
    for machine in ["a", "b", "c", "d"] {
        assert_eq!(world.check(machine, "1.0.0"), Ok("2.0.0".into()));
        world.install(machine, "1.0.0");
    }
    world.fail("a", "1.0.0", ErrorCode(0x1000_000a));
    assert_eq!((world.machine("a").status, world.group().paused.is_some()), (Status::Error, false));
    // Trying again is its right, failing again is nothing new.
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.fail("a", "1.0.0", ErrorCode::PAYLOAD_HASH_MISMATCH);
    assert_eq!(world.group().paused, None);
    // Its time is over, since it was long on its way; it is heard nevertheless.
    world.now += 3600;
    assert_eq!(world.check_with("b", "1.0.0", Event::failed(ErrorCode::ROLLBACK)), Err(Reason::GivenUp));
    let paused = world.group().paused.clone().unwrap();
    assert_eq!((paused.by, paused.why.as_str()), (PausedBy::Failures, "2 of 4 machines failed with 2.0.0"));
    assert_eq!(world.check("e", "1.0.0"), Err(Reason::Paused));
    let told = world.told();
    assert!(
        told.contains(&"a failed with 2.0.0: error 10 PayloadHashMismatchError (268435466 sent: own server)"),
        "{told:?}"
    );
    assert!(told.contains(&"b booted 2.0.0 and went back"));

    world.fleet.resume("keelson", &track("alpha"), world.now).unwrap();
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::GivenUp));
    assert_eq!(world.check("e", "1.0.0"), Ok("2.0.0".into()));
    world.point("3.0.0");
    assert_eq!(world.check("b", "1.0.0"), Ok("3.0.0".into()));
    world.point("2.0.0");
    world.fleet.reset_machine("keelson", "b", world.now).unwrap();
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
}

#[test]
fn a_machine_that_succeeds_after_all_has_not_failed() {
    let mut world = World::new(Policy::default());
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.fail("a", "1.0.0", ErrorCode::PAYLOAD_HASH_MISMATCH);
    assert_eq!(world.group().rollout.as_ref().unwrap().failed, 1);
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Err(Reason::UpToDate));
    let rollout = world.group().rollout.as_ref().unwrap();
    assert_eq!((rollout.attempted, rollout.succeeded, rollout.failed), (1, 1, 0));
}

#[test]
fn events_of_updates_that_nobody_gave_are_dropped() {
    let mut world = World::new(Policy::default());
    world.install("a", "1.0.0");
    world.fail("a", "1.0.0", ErrorCode::PAYLOAD_HASH_MISMATCH);
    world.fail("a", "1.0.0", ErrorCode::ROLLBACK);
    let machine = world.machine("a").clone();
    assert_eq!((machine.status, machine.given_up.len()), (Status::Undefined, 0));
    world.event("a", "1.0.0", Event::new(EventType::UPDATE_COMPLETE, EventResult::DEFERRED));
    world.fail("a", "1.0.0", ErrorCode::IGNORED_PER_POLICY);
    assert_eq!(world.machine("a"), &machine);
    // Unknown.
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.event("a", "1.0.0", Event::new(EventType(777), EventResult(1)));
    assert_eq!(world.machine("a").status, Status::Granted);
}

#[test]
fn a_machine_without_a_version_is_not_registered() {
    let mut world = World::new(Policy::default());
    for version in ["", "new", "1.0.0.0"] {
        let said = omaha::App { update_check: true, ..World::said("a", version) };
        assert_eq!(world.call(&said), Answer::InvalidVersion);
    }
    assert_eq!(world.fleet.app("keelson").unwrap().1.machines.len(), 0);
    // What machines invent does not grow without limit in the statistics.
    for number in 0..100 {
        world.check(&format!("m{number}"), &format!("0.0.{number}")).ok();
    }
    world.check("twin", "0.0.99").ok();
    let versions = world.fleet.app("keelson").unwrap().1.groups[&track("alpha")].counts.common_versions();
    assert_eq!((versions.len(), versions["other"], versions["0.0.99"]), (65, 36, 2));
}

/// It installed, booted something else, and says nothing of it: it was made anew, or the fall-back is mute.
#[test]
fn a_machine_that_lost_its_update_is_not_stuck() {
    let mut world = World::new(Policy::default());
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.install("a", "1.0.0");
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::UpdateInProgress));
    let mut said = omaha::App { update_check: true, ..World::said("a", "1.0.0") };
    said.boot_id = "{another boot}".into();
    assert!(matches!(world.call(&said), Answer::Known(Some(rollout::Verdict::Update { .. }))));
}

#[test]
fn a_pending_machine_gets_what_is_newer() {
    let mut world = World::new(Policy { max_in_progress: Some(1), ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.install("a", "1.0.0");
    world.point("3.0.0");
    assert_eq!(world.check("a", "1.0.0"), Ok("3.0.0".into()));
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::MaxInProgress));
}

#[test]
fn shares_and_waves() {
    let mut world = World::new(Policy { percent: 20, ..Policy::default() });
    let machines: Vec<String> = (0..200).map(|number| format!("machine-{number}")).collect();
    let granted =
        |world: &mut World| machines.iter().filter(|machine| world.check(machine, "1.0.0").is_ok()).count();
    let first = granted(&mut world);
    assert!((20..60).contains(&first), "{first}");
    assert_eq!(granted(&mut world), first, "the same ones");
    let refused = machines.iter().find(|machine| world.machine(machine).refusal.is_some()).unwrap();
    assert_eq!(world.check(refused, "1.0.0"), Err(Reason::Share));

    let waves = vec![Wave { after: 100, percent: 50 }, Wave { after: 200, percent: 100 }];
    let mut world = World::new(Policy { waves, ..Policy::default() });
    assert_eq!(granted(&mut world), 0);
    world.now += 100;
    let half = granted(&mut world);
    assert!((70..130).contains(&half), "{half}");
    world.now += 100;
    assert_eq!(granted(&mut world), 200);
}

#[test]
fn what_operators_cannot_do() {
    let mut world = World::new(Policy::default());
    let version = |text: &str| text.parse().unwrap();
    let mut signed = package("5.0.0");
    signed.channels = vec!["beta".into()];
    world.fleet.add_package("keelson", signed.clone()).unwrap();
    let refused = |done: Result<(), rollout::OperateError>| done.unwrap_err().to_string();
    let fleet = &mut world.fleet;
    assert_eq!(
        refused(fleet.point("keelson", &track("alpha"), Some(&version("5.0.0")), 0)),
        "version 5.0.0 is not signed for channel alpha: it may be in beta"
    );
    fleet.point("keelson", &track("beta"), Some(&version("5.0.0")), 0).unwrap();
    assert!(fleet.promote("keelson", &track("beta"), &track("alpha"), 0).is_err());
    signed.payload.size += 1;
    assert_eq!(
        refused(fleet.add_package("keelson", signed)),
        "version 5.0.0 is there already, and its files are others: what was published never changes"
    );
    assert_eq!(
        refused(fleet.remove_package("keelson", &version("5.0.0"), "amd64")),
        "version 5.0.0 is in channel beta"
    );
    fleet.ban("keelson", &version("2.0.0"), "amd64", Some("it panics"), 0).unwrap();
    assert_eq!(
        refused(fleet.point("keelson", &track("beta"), Some(&version("2.0.0")), 0)),
        "version 2.0.0 is banned: it panics"
    );
    assert_eq!(refused(fleet.pause("other", &track("beta"), "", 0)), "there is no application \"other\"");
    assert_eq!(
        refused(fleet.remove_channel("keelson", &track("beta"), 0)),
        "group beta takes its versions from channel beta"
    );
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::Banned), "though the channel had it already");
}

#[test]
fn a_clock_that_was_ahead_holds_nobody_up() {
    let mut world =
        World::new(Policy { max_in_progress: Some(1), max_per_period: Some(1), ..Policy::default() });
    world.now += 1_000_000_000;
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.now -= 1_000_000_000;
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::MaxPerPeriod));
    world.now += 3600;
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
}
