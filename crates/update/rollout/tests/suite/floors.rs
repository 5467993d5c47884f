//! Versions that machines must not skip.

use omaha::Event;
use rollout::{Policy, Reason, Wave};

use crate::support::{World, package, track};

#[test]
fn a_banned_version_cannot_be_a_floor() {
    let mut world = World::new(Policy::default());
    let version = "1.0.0".parse().unwrap();
    world.state.ban("keelson", &version, "amd64", Some("broken"), world.now).unwrap();
    let error = world.state.add_floor("keelson", &track("alpha"), &version, world.now).unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
}

/// Ten percent of the machines, not ten percent of ten percent.
#[test]
fn floors_do_not_shrink_the_share() {
    let waves = vec![Wave { after: 0, percent: 30 }];
    let mut world = World::new(Policy { waves, ..Policy::default() });
    world.point_channel("3.0.0");
    world.state.add_floor("keelson", &track("alpha"), &"2.0.0".parse().unwrap(), world.now).unwrap();
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
fn floors_are_installed_in_order() {
    let mut world = World::new(Policy::default());
    world.point_channel("4.0.0");
    for version in ["3.0.0", "2.0.0"] {
        world.state.add_floor("keelson", &track("alpha"), &version.parse().unwrap(), world.now).unwrap();
    }
    assert_eq!(world.check("a", "1.0.0"), Ok("2.0.0".into()));
    assert_eq!(world.check_with("a", "2.0.0", Event::rebooted("1.0.0")), Ok("3.0.0".into()));
    assert_eq!(world.check_with("a", "3.0.0", Event::rebooted("2.0.0")), Ok("4.0.0".into()));
    assert_eq!(world.check("b", "2.5.0"), Ok("3.0.0".into()));
    // A version that cannot be reached directly, without a floor before it.
    let package = rollout::Package { min_from: Some("4.0.0".parse().unwrap()), ..package("5.0.0") };
    world.state.add_package("keelson", package).unwrap();
    world.point_channel("5.0.0");
    assert_eq!(world.check("c", "3.5.0"), Err(Reason::TooOld));
    world.state.add_floor("keelson", &track("alpha"), &"4.0.0".parse().unwrap(), world.now).unwrap();
    assert_eq!(world.check("c", "3.5.0"), Ok("4.0.0".into()));
}
