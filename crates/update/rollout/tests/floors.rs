//! Versions that machines must not skip.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod support;

use omaha::Event;
use rollout::{Policy, Reason, Wave};
use support::{World, package, track};

#[test]
fn a_floor_is_a_version_that_may_be_in_the_channel() {
    let mut world = World::new(Policy::default());
    let version = "1.0.0".parse().unwrap();
    world.fleet.ban("keelson", &version, "amd64", Some("broken"), world.now).unwrap();
    let error = world.fleet.add_floor("keelson", &track("alpha"), &version, world.now).unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
}

/// Ten per cent of the machines, not ten per cent of ten per cent.
#[test]
fn a_share_is_that_of_the_rollout_also_on_the_way_over_floors() {
    let waves = vec![Wave { after: 0, percent: 30 }];
    let mut world = World::new(Policy { waves, ..Policy::default() });
    world.point("3.0.0");
    world.fleet.add_floor("keelson", &track("alpha"), &"2.0.0".parse().unwrap(), world.now).unwrap();
    let mut arrived = 0;
    for number in 0..300 {
        let machine = format!("m{number}");
        if world.check(&machine, "1.0.0") == Ok("2.0.0".into()) {
            let event = Event::rebooted("1.0.0");
            arrived += u32::from(world.check_with(&machine, "2.0.0", event) == Ok("3.0.0".into()));
        }
    }
    assert!((60..120).contains(&arrived), "{arrived}");
    assert_eq!(world.group().rollout.as_ref().unwrap().attempted, arrived);
}

#[test]
fn floors_are_passed_one_by_one() {
    let mut world = World::new(Policy::default());
    world.point("4.0.0");
    for version in ["3.0.0", "2.0.0"] {
        world.fleet.add_floor("keelson", &track("alpha"), &version.parse().unwrap(), world.now).unwrap();
    }
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Ok("3.0.0".into()));
    assert_eq!(world.check_with("a", "3.0.0", Event::rebooted("2.0.0")), Ok("4.0.0".into()));
    assert_eq!(world.check("b", "2.5.0"), Ok("3.0.0".into()));
    // One that cannot be reached directly, and no floor before it.
    let package = rollout::Package { min_from: Some("4.0.0".parse().unwrap()), ..package("5.0.0") };
    world.fleet.add_package("keelson", package).unwrap();
    world.point("5.0.0");
    assert_eq!(world.check("c", "3.5.0"), Err(Reason::TooOld));
    world.fleet.add_floor("keelson", &track("alpha"), &"4.0.0".parse().unwrap(), world.now).unwrap();
    assert_eq!(world.check("c", "3.5.0"), Ok("4.0.0".into()));
}
