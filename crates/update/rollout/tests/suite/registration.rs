//! Machines that prove the registration token, and others that cannot.

use omaha::{ErrorCode, Event};
use rollout::{AppOutcome, Policy, Reason};

use crate::support::World;

const REGISTERED: [&str; 4] = ["a", "b", "c", "d"];
const INVENTED: [&str; 3] = ["x", "y", "z"];
const DAY: u64 = 86_400;

/// All machines run 2.0.0 for two days when the channel begins to point to 3.0.0.
fn world(policy: Policy) -> World {
    let mut world = World::new(policy);
    world.registered = REGISTERED.map(str::to_owned).into();
    for machine in REGISTERED.iter().chain(&INVENTED) {
        world.check(machine, "2.0.0").unwrap_err();
    }
    world.now += 2 * DAY;
    world.point_channel("3.0.0");
    world
}

fn counts(world: &World) -> (u32, u32, u32) {
    let rollout = world.group().rollout.as_ref().unwrap();
    (rollout.attempted, rollout.succeeded, rollout.failed)
}

#[test]
fn others_do_not_count_however_old_they_are() {
    let mut world = world(Policy::default());
    for machine in INVENTED {
        assert_eq!(world.check(machine, "2.0.0"), Ok("3.0.0".into()));
        world.fail(machine, "2.0.0", ErrorCode::ROLLBACK);
    }
    assert_eq!((world.group().paused.is_some(), counts(&world)), (false, (0, 0, 0)));
    for machine in REGISTERED {
        assert_eq!(world.check(machine, "2.0.0"), Ok("3.0.0".into()));
    }
    for machine in &REGISTERED[..3] {
        world.fail(machine, "2.0.0", ErrorCode::ROLLBACK);
    }
    assert_eq!(world.group().paused.as_ref().unwrap().why, "3 of 4 machines failed with 3.0.0");
}

#[test]
fn a_new_registered_machine_counts() {
    let mut world = world(Policy { safe_mode: true, max_in_progress: Some(4), ..Policy::default() });
    world.registered.insert("new".to_owned());
    assert_eq!(world.check("x", "2.0.0"), Err(Reason::SafeMode));
    assert_eq!(world.check("new", "2.0.0"), Ok("3.0.0".into()));
    world.check_with("new", "3.0.0", Event::rebooted("2.0.0")).unwrap_err();
    assert_eq!(counts(&world), (1, 1, 0));
    // The others have half of the slots.
    assert_eq!(INVENTED.map(|machine| world.check(machine, "2.0.0").is_ok()), [true, true, false]);
    assert_eq!(world.check("a", "2.0.0"), Ok("3.0.0".into()));
}

#[test]
fn others_go_first_after_a_day() {
    let mut world = world(Policy { safe_mode: true, ..Policy::default() });
    world.now += DAY;
    assert_eq!(world.check("x", "2.0.0"), Ok("3.0.0".into()));
}

#[test]
fn nobody_else_uses_the_id_of_a_registered_machine() {
    let mut world = world(Policy::default());
    world.check("a", "2.0.0").unwrap();
    world.registered.remove("a");
    let forged =
        omaha::App { events: vec![Event::failed(ErrorCode::ROLLBACK)], ..World::app_request("a", "2.0.0") };
    assert_eq!(world.handle(&forged), AppOutcome::NotRegistered);
    assert_eq!((counts(&world), world.machine("a").grant.is_some()), ((1, 0, 0), true));
    world.restart();
    assert_eq!(world.handle(&forged), AppOutcome::NotRegistered);
    // A machine that lost its token is another one a day later.
    world.now += DAY;
    assert_eq!(world.handle(&forged), AppOutcome::Known(None));
    assert_eq!(
        (counts(&world), world.machine("a").registered, world.machine("a").first_seen),
        ((1, 0, 0), None, world.now)
    );
}

#[test]
fn a_machine_that_registers_during_a_rollout_counts_from_then_on() {
    let mut world = world(Policy::default());
    world.check("x", "2.0.0").unwrap();
    world.registered.insert("x".to_owned());
    assert_eq!(world.check("x", "2.0.0"), Ok("3.0.0".into()));
    assert_eq!(counts(&world), (1, 0, 0));
    world.check_with("x", "3.0.0", Event::rebooted("2.0.0")).unwrap_err();
    assert_eq!(counts(&world), (1, 1, 0));
}

#[test]
fn all_machines_of_a_group_count_if_none_that_has_to_update_is_registered() {
    let mut world = world(Policy::default());
    for machine in REGISTERED {
        world.check(machine, "3.0.0").unwrap_err();
    }
    world.point_channel("4.0.0");
    world.point_channel("3.0.0");
    for machine in INVENTED {
        assert_eq!(world.check(machine, "2.0.0"), Ok("3.0.0".into()));
        world.fail(machine, "2.0.0", ErrorCode::ROLLBACK);
    }
    assert!(world.group().paused.is_some());
}
