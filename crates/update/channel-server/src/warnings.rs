//! What an answer of the API adds where an order has less, or more, effect than its operator may expect.

use rollout::{Fleet, Track};
use semver::Version;
use serde_json::{Value, json};

/// With the groups that take from the channel and get nothing of it: a new version does not lift a pause.
pub fn with_paused(fleet: &Fleet, app: &str, channel: &Track, mut answer: Value) -> Value {
    let groups = fleet.app(app).into_iter().flat_map(|(_, app)| app.groups.values());
    let of_channel = groups.map(|state| &state.group).filter(|group| group.channel == *channel);
    let paused = of_channel.filter_map(|group| {
        let paused = group.paused.as_ref()?;
        Some(json!({ "group": group.track.to_string(), "why": paused.why }))
    });
    let paused: Vec<Value> = paused.collect();
    if !paused.is_empty() {
        answer["paused"] = paused.into();
    }
    answer
}

/// With the channels that have the banned version as a floor: machines below it get nothing there.
pub fn with_floors(fleet: &Fleet, app: &str, (version, arch): (&Version, &str), mut answer: Value) -> Value {
    let channels = fleet.app(app).into_iter().flat_map(|(_, app)| app.floor_of(version, arch));
    let channels: Vec<Value> = channels.map(|channel| channel.to_string().into()).collect();
    if !channels.is_empty() {
        answer["floor_of"] = channels.into();
    }
    answer
}
