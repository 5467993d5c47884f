//! Machines that decline a granted version, or are slow.

use omaha::{ErrorCode, Event, EventResult, EventType};
use rollout::{Policy, Reason, Status};

use crate::support::World;

/// A manual rollback on one machine does not stop the rollout for others.
#[test]
fn a_rejected_version_does_not_count_as_failed() {
    let policy = Policy {
        max_failures: Some(1),
        failure_percent: 1,
        max_in_progress: Some(1),
        max_per_period: Some(1),
        ..Policy::default()
    };
    let mut world = World::new(policy);
    for machine in ["a", "b", "c"] {
        assert_eq!(world.check(machine, "1.0.0"), Ok("2.0.0".into()));
        world.fail(machine, "1.0.0", ErrorCode(0x1000_0000 | ErrorCode::IGNORED_PER_POLICY.0));
        assert_eq!(world.machine(machine).status, Status::Error);
        assert_eq!(world.check(machine, "1.0.0"), Err(Reason::GivenUp));
    }
    let rollout = world.group().rollout.as_ref().unwrap();
    assert_eq!((rollout.attempted, rollout.failed, world.group().paused.is_some()), (0, 0, false));
    assert!(world.log().contains(
        &"a rejected 2.0.0: error 35 OmahaUpdateIgnoredPerPolicy (268435491 sent: custom server); it is not offered to this machine again"
    ), "{:?}", world.log());
    // `update-agent retry` checks on demand.
    assert_eq!(world.check_on_demand("a", "1.0.0"), Ok("2.0.0".into()));
    // Only the last grant of this version counts in the period.
    assert_eq!(world.check("d", "1.0.0"), Err(Reason::MaxPerPeriod));
    assert_eq!(world.group().rollout.as_ref().unwrap().attempted, 1);
}

/// For example a site without a network.
#[test]
fn failed_downloads_do_not_pause_the_group() {
    let policy = Policy {
        max_failures: Some(1),
        failure_percent: 1,
        max_in_progress: Some(1),
        safe_mode: true,
        ..Policy::default()
    };
    let mut world = World::new(policy);
    for machine in ["a", "b", "c"] {
        assert_eq!(world.check(machine, "1.0.0"), Ok("2.0.0".into()));
        world.fail(machine, "1.0.0", ErrorCode::DOWNLOAD_TRANSFER);
        assert_eq!(world.machine(machine).status, Status::Error);
    }
    let rollout = world.group().rollout.as_ref().unwrap();
    assert_eq!((rollout.attempted, rollout.failed, world.group().paused.is_some()), (0, 0, false));
    // It is offered again.
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
}

#[test]
fn a_held_machine_takes_no_slot_and_does_not_pause_the_group() {
    let mut world = World::new(Policy { safe_mode: true, timeout: 3600, ..Policy::default() });
    for _ in 0..3 {
        assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
        world.event("a", "1.0.0", Event::new(EventType::UPDATE_COMPLETE, EventResult::DEFERRED));
        assert_eq!((world.machine("a").status, &world.machine("a").grant), (Status::OnHold, &None));
        world.now += 2700;
    }
    assert_eq!((world.group().rollout.as_ref().unwrap().attempted, &world.group().paused), (0, &None));
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.check("a", "1.0.0"), Err(Reason::SafeMode));
}

#[test]
fn a_slow_download_keeps_its_grant_for_a_day_at_most() {
    let mut world = World::new(Policy { max_in_progress: Some(1), timeout: 3600, ..Policy::default() });
    let progress = Event::new(EventType::DOWNLOAD_STARTED, EventResult::SUCCESS);
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    for _ in 0..23 * 4 {
        world.event("a", "1.0.0", progress.clone());
        assert_eq!(world.check("b", "1.0.0"), Err(Reason::MaxInProgress));
        world.now += 900;
    }
    for _ in 0..2 * 4 {
        world.event("a", "1.0.0", progress.clone());
        world.now += 900;
    }
    assert_eq!(world.check("b", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.machine("a").grant, None);
}
