//! Warnings in API responses: commands whose effect may differ from what the operator expects.

use rollout::{Track, UpdateState};
use semver::Version;
use serde_json::{Value, json};

/// Adds the paused groups of the channel: a new version does not lift a pause.
pub fn with_paused(state: &UpdateState, app: &str, channel: &Track, mut response: Value) -> Value {
    let groups = state.app(app).into_iter().flat_map(|(_, app)| app.groups.values());
    let of_channel = groups.map(|state| &state.group).filter(|group| group.channel == *channel);
    let paused = of_channel.filter_map(|group| {
        let paused = group.paused.as_ref()?;
        Some(json!({ "group": group.track.to_string(), "why": paused.why }))
    });
    let paused: Vec<Value> = paused.collect();
    if !paused.is_empty() {
        response["paused"] = paused.into();
    }
    response
}

/// Adds the channels that have the banned version as a floor: machines below it get no updates there.
pub fn with_floors(
    state: &UpdateState,
    app: &str,
    (version, arch): (&Version, &str),
    mut response: Value,
) -> Value {
    let channels = state.app(app).into_iter().flat_map(|(_, app)| app.floor_of(version, arch));
    let channels: Vec<Value> = channels.map(|channel| channel.to_string().into()).collect();
    if !channels.is_empty() {
        response["floor_of"] = channels.into();
    }
    response
}
