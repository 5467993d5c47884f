//! Limits on what an application has.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod support;

use rollout::{OperateError, Policy};
use support::{World, track};

/// `publish` ensures its channel each time.
#[test]
fn a_known_channel_is_ensured_although_no_other_fits() {
    let mut world = World::new(Policy::default());
    let count = world.fleet.app("keelson").unwrap().1.groups.len();
    for number in count..1024 {
        let group = track(&format!("group-{number}"));
        world.fleet.put_group("keelson", &group, &track("alpha"), world.now).unwrap();
    }
    let error = world.fleet.ensure_channel("keelson", &track("gamma"), world.now).unwrap_err();
    assert_eq!(error, OperateError::Many { what: "channels or groups", limit: 1024 });
    world.fleet.ensure_channel("keelson", &track("alpha"), world.now).unwrap();
    world.point("3.0.0");
}
