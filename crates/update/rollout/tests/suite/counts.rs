//! How a rollout counts machines.

use omaha::Event;
use rollout::{Policy, Rollout, Status};

use crate::support::World;

fn rollout(world: &World) -> &Rollout {
    world.group().rollout.as_ref().unwrap()
}

fn update(world: &mut World, from: &str, to: &str) {
    assert_eq!(world.check("a", from), Ok(to.into()));
    world.install("a", from);
    world.check_with("a", to, Event::rebooted(from)).unwrap_err();
}

#[test]
fn a_machine_succeeds_once_per_rollout_despite_reset_or_fallback() {
    let mut world = World::new(Policy::default());
    update(&mut world, "1.0.0", "2.0.0");
    assert_eq!((rollout(&world).attempted, rollout(&world).succeeded), (1, 1));
    world.state.reset_machine("keelson", "a", world.now).unwrap();
    world.restart();
    world.check("a", "2.0.0").unwrap_err();
    assert_eq!(world.machine("a").status, Status::Complete);
    assert_eq!((rollout(&world).attempted, rollout(&world).succeeded), (1, 1));
    world.state.reset_machine("keelson", "a", world.now).unwrap();
    update(&mut world, "1.0.0", "2.0.0");
    assert_eq!((rollout(&world).attempted, rollout(&world).succeeded), (1, 1));
    // Another rollout counts separately, even one of the same version.
    for version in ["3.0.0", "2.0.0", "3.0.0"] {
        world.now += 1;
        world.point_channel(version);
    }
    update(&mut world, "2.0.0", "3.0.0");
    assert_eq!((rollout(&world).attempted, rollout(&world).succeeded), (1, 1));
}
