//! Effects of a pause on waves and on counts of failures.

use omaha::ErrorCode;
use rollout::{Policy, Wave};

use crate::support::{World, track, zones};

#[test]
fn waves_do_not_advance_while_nothing_is_granted() {
    let waves = vec![Wave { after: 100, percent: 50 }, Wave { after: 200, percent: 100 }];
    let mut world = World::new(Policy { waves, ..Policy::default() });
    let pass = |world: &mut World, seconds: u64| {
        for _ in 0..seconds / 10 {
            world.now += 10;
            world.state.tick(world.now, &zones);
        }
    };
    let share = |world: &World| {
        let rollout = world.group().rollout.as_ref().unwrap();
        world.group().policy.share(rollout.age(world.now))
    };
    pass(&mut world, 100);
    assert_eq!(share(&world), 50);
    world.state.pause("keelson", &track("alpha"), "", world.now).unwrap();
    pass(&mut world, 2 * 24 * 3600);
    world.state.resume("keelson", &track("alpha"), world.now).unwrap();
    assert_eq!(share(&world), 50);
    // Waves do not advance while the server is down either.
    world.restart();
    world.now += 24 * 3600;
    world.state.tick(world.now, &zones);
    assert_eq!(share(&world), 50);
    pass(&mut world, 100);
    assert_eq!(share(&world), 100);
}

#[test]
fn failures_count_from_zero_after_a_resume() {
    let mut world = World::new(Policy { max_failures: Some(2), failure_percent: 50, ..Policy::default() });
    let fail = |world: &mut World, machine: &str| {
        assert_eq!(world.check(machine, "1.0.0"), Ok("2.0.0".into()));
        world.fail(machine, "1.0.0", ErrorCode(0x1000_000a));
    };
    for machine in ["c", "d", "e", "f"] {
        assert_eq!(world.check(machine, "1.0.0"), Ok("2.0.0".into()));
    }
    // Three of six are 50 percent. Afterwards two of all six would be a third.
    ["a", "b"].iter().for_each(|machine| fail(&mut world, machine));
    fail(&mut world, "c");
    assert!(world.group().paused.is_some());
    world.now += 1;
    world.state.resume("keelson", &track("alpha"), world.now).unwrap();
    fail(&mut world, "a");
    assert!(world.group().paused.is_none());
    fail(&mut world, "a");
    assert!(world.group().paused.is_none(), "twice the same machine");
    fail(&mut world, "b");
    assert!(world.group().paused.is_some());
}
