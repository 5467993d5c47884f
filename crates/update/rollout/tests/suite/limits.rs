//! Limits on what an application has.

use rollout::{OperateError, Policy};

use crate::support::{World, track};

/// `publish` ensures its channel each time.
#[test]
fn an_existing_channel_is_ensured_at_the_limit() {
    let mut world = World::new(Policy::default());
    let count = world.state.app("keelson").unwrap().1.groups.len();
    for number in count..1024 {
        let group = track(&format!("group-{number}"));
        world.state.put_group("keelson", &group, &track("alpha"), world.now).unwrap();
    }
    let error = world.state.ensure_channel("keelson", &track("gamma"), world.now).unwrap_err();
    assert_eq!(error, OperateError::LimitExceeded { what: "channels or groups", limit: 1024 });
    world.state.ensure_channel("keelson", &track("alpha"), world.now).unwrap();
    world.point_channel("3.0.0");
}
