//! Machines that a stranger invents: the server cannot authenticate them.

use omaha::{ErrorCode, Event};
use rollout::{Policy, Reason, Rollout};

use crate::support::World;

const KNOWN: [&str; 4] = ["a", "b", "c", "d"];
const INVENTED: [&str; 3] = ["x", "y", "z"];

/// Machines `KNOWN` run 2.0.0 when the channel begins to point to 3.0.0.
fn world(policy: Policy) -> World {
    let mut world = World::new(policy);
    for machine in KNOWN {
        world.check(machine, "2.0.0").unwrap_err();
    }
    world.point_channel("3.0.0");
    world.now += 1;
    world
}

fn rollout(world: &World) -> &Rollout {
    world.group().rollout.as_ref().unwrap()
}

#[test]
fn their_failures_do_not_pause_a_rollout() {
    let mut world = world(Policy::default());
    for machine in INVENTED {
        assert_eq!(world.check(machine, "2.0.0"), Ok("3.0.0".into()));
        world.fail(machine, "2.0.0", ErrorCode::ROLLBACK);
    }
    assert_eq!((world.group().paused.is_some(), rollout(&world).failed), (false, 0));
    for machine in KNOWN {
        assert_eq!(world.check(machine, "2.0.0"), Ok("3.0.0".into()));
    }
    for machine in &KNOWN[..3] {
        world.fail(machine, "2.0.0", ErrorCode::ROLLBACK);
    }
    assert_eq!(world.group().paused.as_ref().unwrap().why, "3 of 4 machines failed with 3.0.0");
}

#[test]
fn their_success_does_not_hide_failures() {
    let mut world = world(Policy { max_failures: Some(2), failure_percent: 50, ..Policy::default() });
    for machine in INVENTED {
        assert_eq!(world.check(machine, "2.0.0"), Ok("3.0.0".into()));
        world.install(machine, "2.0.0");
        world.check_with(machine, "3.0.0", Event::rebooted("2.0.0")).unwrap_err();
    }
    assert_eq!((rollout(&world).attempted, rollout(&world).succeeded), (0, 0));
    for machine in KNOWN {
        assert_eq!(world.check(machine, "2.0.0"), Ok("3.0.0".into()));
    }
    world.fail("a", "2.0.0", ErrorCode::ROLLBACK);
    world.fail("b", "2.0.0", ErrorCode::ROLLBACK);
    assert!(world.group().paused.is_some(), "{:?}", rollout(&world));
}

#[test]
fn they_do_not_go_first_in_safe_mode_and_their_silence_does_not_pause() {
    let mut world = world(Policy { safe_mode: true, ..Policy::default() });
    assert_eq!(world.check("x", "2.0.0"), Err(Reason::SafeMode));
    assert_eq!(world.check("a", "2.0.0"), Ok("3.0.0".into()));
    world.check_with("a", "3.0.0", Event::rebooted("2.0.0")).unwrap_err();
    assert_eq!(world.check("x", "2.0.0"), Ok("3.0.0".into()));
    world.now += 3600;
    assert_eq!(world.check("b", "2.0.0"), Ok("3.0.0".into()), "{:?}", world.group().paused);
}

#[test]
fn they_leave_half_of_the_slots_for_a_day() {
    let mut world = world(Policy { max_in_progress: Some(4), timeout: 2 * 86_400, ..Policy::default() });
    assert_eq!(INVENTED.map(|machine| world.check(machine, "2.0.0").is_ok()), [true, true, false]);
    assert_eq!(world.check("z", "2.0.0"), Err(Reason::MaxInProgress));
    assert_eq!(world.check("a", "2.0.0"), Ok("3.0.0".into()));
    world.now += 86_400;
    assert_eq!(world.check("z", "2.0.0"), Ok("3.0.0".into()));
}

#[test]
fn a_limit_of_none_is_none_and_one_place_is_not_kept_from_them() {
    let mut none = world(Policy { max_in_progress: Some(0), ..Policy::default() });
    assert_eq!(none.check("x", "2.0.0"), Err(Reason::MaxInProgress));
    let mut one = world(Policy { max_in_progress: Some(1), ..Policy::default() });
    assert_eq!(one.check("x", "2.0.0"), Ok("3.0.0".into()));
}

#[test]
fn a_new_machine_counts_where_no_other_has_to_update() {
    let mut world = World::new(Policy { safe_mode: true, ..Policy::default() });
    for machine in KNOWN {
        world.check(machine, "3.0.0").unwrap_err();
    }
    world.point_channel("3.0.0");
    world.now += 1;
    assert_eq!(world.check("new", "2.0.0"), Ok("3.0.0".into()));
    assert_eq!((rollout(&world).known, rollout(&world).attempted), (0, 1));
}

#[test]
fn machines_of_a_day_count_though_the_known_ones_are_gone() {
    let mut world = world(Policy::default());
    for machine in INVENTED {
        world.check(machine, "4.0.0").unwrap_err();
    }
    world.now += 86_400;
    for machine in INVENTED {
        assert_eq!(world.check(machine, "2.0.0"), Ok("3.0.0".into()));
        world.fail(machine, "2.0.0", ErrorCode::ROLLBACK);
    }
    assert_eq!(world.group().paused.as_ref().unwrap().why, "3 of 3 machines failed with 3.0.0");
}

#[test]
fn known_machines_count_after_the_clock_was_set_back() {
    let mut world = world(Policy { safe_mode: true, ..Policy::default() });
    world.now -= 10 * 86_400;
    world.state.tick(world.now, &crate::support::zones);
    assert_eq!(world.check("a", "2.0.0"), Ok("3.0.0".into()));
    world.check_with("a", "3.0.0", Event::rebooted("2.0.0")).unwrap_err();
    assert_eq!((rollout(&world).attempted, rollout(&world).succeeded), (1, 1));
    // In the next rollout, too.
    world.check("b", "3.0.0").unwrap_err();
    world.point_channel("4.0.0");
    assert_eq!(world.check("b", "3.0.0"), Ok("4.0.0".into()));
}
