//! Grants, step by step.

use omaha::{ErrorCode, Event, EventResult, EventType};
use rollout::{AppOutcome, PausedBy, Policy, Reason, Status, Wave};

use crate::support::{World, package, track, zones};

#[test]
fn an_update_from_grant_to_completion() {
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
        world.log(),
        [
            "channel alpha: no version -> 2.0.0",
            "group alpha started the rollout of 2.0.0",
            "group alpha finished the rollout of 2.0.0: 1 machines"
        ]
    );
    let past: Vec<u8> = world.machine("a").history.iter().map(|past| past.status.number()).collect();
    assert_eq!(past, [2, 7, 6, 5, 4]);
}

#[test]
fn no_downgrade_is_offered() {
    let mut world = World::new(Policy::default());
    assert_eq!(world.check("a", "2.0.0"), Err(Reason::UpToDate));
    assert_eq!(world.check("a", "2.0.0+another-build"), Err(Reason::UpToDate));
    assert_eq!(world.check("a", "2.1.0-rc.1"), Err(Reason::Newer));
    assert_eq!(world.check("a", "2.0.0-rc.1"), Ok("2.0.0".into()));
    world.point_channel("1.0.0");
    assert_eq!(world.check("b", "2.0.0"), Err(Reason::Newer));
    assert!(world.log().contains(&"channel alpha: 2.0.0 -> 1.0.0; machines with a newer version keep it"));
}

#[test]
fn unknown_apps_groups_and_machines_are_reported() {
    let mut world = World::new(Policy::default());
    let app_request = |app_id: &str, track: &str, version: &str, machine: &str| omaha::App {
        app_id: app_id.into(),
        track: track.into(),
        update_check: true,
        boot_id: String::new(),
        ..World::app_request(machine, version)
    };
    let id = omaha::COREOS_APP_ID;
    assert_eq!(world.handle(&app_request("", "alpha", "1.0.0", "a")), AppOutcome::NoAppId);
    assert_eq!(world.handle(&app_request("{other}", "alpha", "1.0.0", "a")), AppOutcome::UnknownApp);
    assert_eq!(world.handle(&app_request(id, "gamma", "1.0.0", "a")), AppOutcome::UnknownGroup);
    assert_eq!(world.handle(&app_request(id, "al/pha", "1.0.0", "a")), AppOutcome::UnknownGroup);
    assert_eq!(world.handle(&app_request(id, "alpha", "one", "a")), AppOutcome::InvalidVersion);
    assert_eq!(world.handle(&app_request(id, "alpha", "1.0.0", "")), AppOutcome::NotRegistered);
    assert_eq!(world.handle(&app_request(id, "alpha", "1.0.0", &"a".repeat(129))), AppOutcome::NotRegistered);
    let bare = id.trim_matches(['{', '}']).to_uppercase();
    assert!(matches!(world.handle(&app_request(&bare, "alpha", "1.0.0", "a")), AppOutcome::Known(Some(_))));
    let arm = omaha::App { board: "arm64-usr".into(), ..app_request(id, "alpha", "1.0.0", "a") };
    assert_eq!(world.handle(&arm), AppOutcome::UnknownGroup, "another architecture is another group");
}

#[test]
fn an_empty_channel_is_logged_once_per_machine() {
    let mut world = World::new(Policy::default());
    world.state.point_channel("keelson", &track("alpha"), None, world.now).unwrap();
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::NoPackage));
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::NoPackage));
    let count = world.log().iter().filter(|text| text.contains("its channel has no version")).count();
    assert_eq!(count, 1);
}

#[test]
fn limits_per_period_and_in_progress() {
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
fn an_expired_grant_releases_its_slot() {
    let mut world = World::new(Policy { max_in_progress: Some(1), timeout: 3600, ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.now += 1800;
    world.event("a", "1.0.0", Event::new(EventType::DOWNLOAD_FINISHED, EventResult::SUCCESS));
    // A new step renews the grant; a repeated one does not.
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
    world.state.resume("keelson", &track("alpha"), world.now).unwrap();
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
}

/// A version that does not boot cannot report its failure.
#[test]
fn machines_lost_after_installing_pause_the_group() {
    let hour = 3600;
    let lost = |policy: Policy, machines: &[&str]| {
        let mut world = World::new(policy);
        for machine in machines {
            assert_eq!(world.check(machine, "1.0.0"), Ok("2.0.0".into()));
            world.install(machine, "1.0.0");
        }
        // Machines with the new version continue to check.
        for _ in 0..4 {
            world.now += hour;
            world.check("z", "2.0.0").unwrap_err();
        }
        world
    };
    let mut world = lost(Policy { safe_mode: true, ..Policy::default() }, &["a"]);
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::Paused));
    assert_eq!(world.group().paused.as_ref().unwrap().by, PausedBy::TimeOuts);
    assert!(world.log().contains(&"a installed 2.0.0 and stopped reporting"), "{:?}", world.log());
    let policy = Policy { max_failures: Some(2), failure_percent: 50, ..Policy::default() };
    let mut world = lost(policy, &["a", "b"]);
    assert_eq!(world.check("c", "1.0.0"), Err(Reason::Paused));
    let paused = world.group().paused.clone().unwrap();
    assert_eq!((paused.by, paused.why.as_str()), (PausedBy::Failures, "2 of 2 machines failed with 2.0.0"));
    // The machines were switched off and come back with the new version.
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Err(Reason::UpToDate));
    assert_eq!(world.group().rollout.as_ref().unwrap().failed, 1);
}

#[test]
fn a_machine_waiting_for_its_reboot_window_is_not_lost_and_holds_no_slot() {
    let mut world = World::new(Policy { safe_mode: true, timeout: 3600, ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.install("a", "1.0.0");
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::UpdateInProgress));
    for _ in 0..24 {
        world.now += 2700;
        // The machine ignores a repeated offer. Until it boots, no other machine tries the version.
        world.check("a", "1.0.0").map(|version| assert_eq!(version, "2.0.0")).unwrap_or_default();
        assert_eq!(world.check("b", "1.0.0"), Err(Reason::SafeMode));
    }
    assert_eq!(world.group().paused, None);
    let rollout = world.group().rollout.as_ref().unwrap();
    assert_eq!((rollout.attempted, rollout.timed_out, rollout.failed), (1, 0, 0));
    assert_eq!(world.machine("a").grant, None);
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Err(Reason::UpToDate));
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));

    // With a limit on machines in progress, it blocks no other machine.
    let mut world = World::new(Policy { max_in_progress: Some(1), timeout: 3600, ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.install("a", "1.0.0");
    world.now += 3600;
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.machine("a").grant, None);
}

/// Machines cannot report while the server is down.
#[test]
fn server_downtime_does_not_make_machines_lost() {
    let mut world = World::new(Policy { safe_mode: true, ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.install("a", "1.0.0");
    world.now += 3600;
    world.state.tick(world.now, &zones);
    world.restart();
    world.now += 24 * 3600;
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::SafeMode));
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Err(Reason::UpToDate));
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
}

#[test]
fn failures_pause_the_group_and_given_up_versions_are_not_offered() {
    let mut world = World::new(Policy { max_failures: Some(2), failure_percent: 50, ..Policy::default() });
    for machine in ["a", "b", "c", "d"] {
        assert_eq!(world.check(machine, "1.0.0"), Ok("2.0.0".into()));
        world.install(machine, "1.0.0");
    }
    world.fail("a", "1.0.0", ErrorCode(0x1000_000a));
    assert_eq!((world.machine("a").status, world.group().paused.is_some()), (Status::Error, false));
    // A repeated failure of the same machine does not count twice.
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.fail("a", "1.0.0", ErrorCode::PAYLOAD_HASH_MISMATCH);
    assert_eq!(world.group().paused, None);
    // A rollback counts even after the grant expired.
    world.now += 3600;
    assert_eq!(world.check_with("b", "1.0.0", Event::failed(ErrorCode::ROLLBACK)), Err(Reason::GivenUp));
    let paused = world.group().paused.clone().unwrap();
    assert_eq!((paused.by, paused.why.as_str()), (PausedBy::Failures, "2 of 4 machines failed with 2.0.0"));
    assert_eq!(world.check("e", "1.0.0"), Err(Reason::Paused));
    let log = world.log();
    assert!(
        log.contains(
            &"a failed with 2.0.0: error 10 PayloadHashMismatchError (268435466 sent: custom server)"
        ),
        "{log:?}"
    );
    assert!(log.contains(&"b booted 2.0.0 and rolled back"));

    world.state.resume("keelson", &track("alpha"), world.now).unwrap();
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::GivenUp));
    assert_eq!(world.check("e", "1.0.0"), Ok("2.0.0".into()));
    world.point_channel("3.0.0");
    assert_eq!(world.check("b", "1.0.0"), Ok("3.0.0".into()));
    world.point_channel("2.0.0");
    world.state.reset_machine("keelson", "b", world.now).unwrap();
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
}

#[test]
fn a_later_success_clears_the_failure() {
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
fn events_without_a_grant_are_dropped() {
    let mut world = World::new(Policy::default());
    world.install("a", "1.0.0");
    world.fail("a", "1.0.0", ErrorCode::PAYLOAD_HASH_MISMATCH);
    world.fail("a", "1.0.0", ErrorCode::ROLLBACK);
    let machine = world.machine("a").clone();
    assert_eq!((machine.status, machine.given_up.len()), (Status::Undefined, 0));
    world.event("a", "1.0.0", Event::new(EventType::UPDATE_COMPLETE, EventResult::DEFERRED));
    world.fail("a", "1.0.0", ErrorCode::IGNORED_PER_POLICY);
    assert_eq!(world.machine("a"), &machine);
    // An unknown event.
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.event("a", "1.0.0", Event::new(EventType(777), EventResult(1)));
    assert_eq!(world.machine("a").status, Status::Granted);
}

#[test]
fn a_machine_without_a_version_is_not_registered() {
    let mut world = World::new(Policy::default());
    for version in ["", "new", "1.0.0.0"] {
        let request = omaha::App { update_check: true, ..World::app_request("a", version) };
        assert_eq!(world.handle(&request), AppOutcome::InvalidVersion);
    }
    assert_eq!(world.state.app("keelson").unwrap().1.machines.len(), 0);
    // Versions that machines make up do not grow the statistics without limit.
    for number in 0..100 {
        world.check(&format!("m{number}"), &format!("0.0.{number}")).ok();
    }
    world.check("twin", "0.0.99").ok();
    let versions = world.state.app("keelson").unwrap().1.groups[&track("alpha")].counts.common_versions();
    assert_eq!((versions.len(), versions["other"], versions["0.0.99"]), (65, 36, 2));
}

/// The machine installed a version, booted another one and does not report: it was reprovisioned or fell back
/// silently.
#[test]
fn a_machine_that_lost_its_update_gets_it_again() {
    let mut world = World::new(Policy::default());
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.install("a", "1.0.0");
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::UpdateInProgress));
    let mut request = omaha::App { update_check: true, ..World::app_request("a", "1.0.0") };
    request.boot_id = "{another boot}".into();
    assert!(matches!(world.handle(&request), AppOutcome::Known(Some(rollout::CheckResult::Update { .. }))));
}

#[test]
fn a_machine_with_a_pending_reboot_gets_a_newer_version() {
    let mut world = World::new(Policy { max_in_progress: Some(1), ..Policy::default() });
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.install("a", "1.0.0");
    world.point_channel("3.0.0");
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
fn invalid_operations_are_rejected() {
    let mut world = World::new(Policy::default());
    let version = |text: &str| text.parse().unwrap();
    let mut signed = package("5.0.0");
    signed.channels = vec!["beta".into()];
    world.state.add_package("keelson", signed.clone()).unwrap();
    let refused = |done: Result<(), rollout::OperateError>| done.unwrap_err().to_string();
    let state = &mut world.state;
    assert_eq!(
        refused(state.point_channel("keelson", &track("alpha"), Some(&version("5.0.0")), 0)),
        "version 5.0.0 is not signed for channel alpha, only for beta"
    );
    state.point_channel("keelson", &track("beta"), Some(&version("5.0.0")), 0).unwrap();
    assert!(state.promote("keelson", &track("beta"), &track("alpha"), 0).is_err());
    signed.payload.size += 1;
    assert_eq!(
        refused(state.add_package("keelson", signed)),
        "version 5.0.0 is already published with other files: published versions are immutable"
    );
    assert_eq!(
        refused(state.remove_package("keelson", &version("5.0.0"), "amd64")),
        "version 5.0.0 is in use by channel beta"
    );
    state.ban("keelson", &version("2.0.0"), "amd64", Some("it panics"), 0).unwrap();
    assert_eq!(
        refused(state.point_channel("keelson", &track("beta"), Some(&version("2.0.0")), 0)),
        "version 2.0.0 is banned: it panics"
    );
    assert_eq!(refused(state.pause("other", &track("beta"), "", 0)), "application \"other\" does not exist");
    assert_eq!(
        refused(state.remove_channel("keelson", &track("beta"), 0)),
        "channel beta is in use by group beta"
    );
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::Banned), "though the channel had it already");
}

#[test]
fn a_clock_that_was_ahead_blocks_no_machine() {
    let mut world =
        World::new(Policy { max_in_progress: Some(1), max_per_period: Some(1), ..Policy::default() });
    world.now += 1_000_000_000;
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    world.now -= 1_000_000_000;
    assert_eq!(world.check("b", "1.0.0"), Err(Reason::MaxPerPeriod));
    world.now += 3600;
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
}
