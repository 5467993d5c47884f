//! JSON views of the state, for the page and the API.

use std::collections::BTreeMap;

use rollout::{Application, Channel, GroupState, Machine, Package, Reason, UpdateState};
use serde::Serialize;
use serde_json::{Value, json};
use tuf::Root;
use update_core::roots::{expires, version};

use crate::limits::ROOT_EXPIRY_WARNING;
use crate::repository::Repositories;
use crate::server::now;

/// Activity entries in the overview.
const NEWEST: usize = 40;

/// Everything that the page shows, except the machines.
pub fn overview(state: &UpdateState, repositories: &Repositories) -> Value {
    let apps: Vec<Value> = state.apps().map(|(key, app)| application(key, app, repositories)).collect();
    let activity: Vec<_> = state.activity().rev().take(NEWEST).collect();
    json!({ "now": now(), "apps": apps, "activity": activity })
}

pub fn application(key: &str, app: &Application, repositories: &Repositories) -> Value {
    json!({
        "now": now(),
        "key": key,
        "id": app.app.id,
        "name": app.app.name,
        "product_id": app.app.product_id,
        "machines": app.machines.len(),
        "channels": channels(key, app, repositories),
        "groups": app.groups.values().map(group).collect::<Vec<_>>(),
        "packages": app.packages.values().rev().map(package).collect::<Vec<_>>(),
        "root": repositories.roots.newest(key).map(|root| self::root(&root, now())),
    })
}

/// A channel, and why its version is not offered.
#[derive(Serialize)]
pub struct ChannelView<'a> {
    #[serde(flatten)]
    channel: &'a Channel,
    warning: Option<String>,
}

pub fn channel<'a>(
    key: &str,
    app: &Application,
    channel: &'a Channel,
    repositories: &Repositories,
) -> ChannelView<'a> {
    ChannelView { channel, warning: repositories.channel_problem(key, app, channel) }
}

pub fn channels<'a>(key: &str, app: &'a Application, repositories: &Repositories) -> Vec<ChannelView<'a>> {
    app.channels.values().map(|one| channel(key, app, one, repositories)).collect()
}

/// The newest root metadata. After its expiry machines accept no version until there is a newer root.
fn root(root: &Root, now: u64) -> Value {
    json!({ "version": version(root), "expires": expires(root), "warning": expiry_warning(root, now) })
}

/// What operators have to do soon, if anything.
pub fn expiry_warning(root: &Root, now: u64) -> Option<String> {
    let number = version(root);
    match expires(root).saturating_sub(now) {
        0 => Some(format!(
            "Root version {number} has expired: machines install no updates until a newer version is published."
        )),
        left if left < ROOT_EXPIRY_WARNING => {
            Some(format!("Root version {number} expires in {} days.", left / 86_400))
        }
        _ => None,
    }
}

pub fn group(state: &GroupState) -> Value {
    let group = &state.group;
    let age = group.rollout.as_ref().map_or(0, |rollout| rollout.age(now()));
    let statuses: BTreeMap<&str, usize> =
        state.counts.statuses.iter().map(|(status, count)| (status.as_str(), *count)).collect();
    json!({
        "track": group.track,
        "channel": group.channel,
        "policy": group.policy,
        "paused": group.paused,
        "rollout": group.rollout,
        "share": group.policy.share(age),
        "machines": state.counts.machines,
        "versions": state.counts.versions,
        "statuses": statuses,
        "in_progress": state.counts.in_progress(),
    })
}

pub fn package(package: &Package) -> Value {
    json!({
        "version": package.version,
        "arch": package.arch,
        "board": package.board,
        "size": package.payload.size,
        "channels": package.channels,
        "min_from": package.min_from,
        "files_at": package.files_at,
        "notes_url": package.notes_url,
        "created": package.created,
        "banned": package.banned,
        "release_sha256": package.release_sha256,
    })
}

/// A machine, with its last refusal and error as text.
#[derive(Serialize)]
pub struct MachineView<'a> {
    #[serde(flatten)]
    machine: &'a Machine,
    status_code: u8,
    why: Option<&'static str>,
    /// Description of the last error code.
    error: Option<String>,
}

pub fn machine(machine: &Machine) -> MachineView<'_> {
    MachineView {
        machine,
        status_code: machine.status.number(),
        why: machine.refusal.map(Reason::description),
        error: machine.failure.as_ref().map(|failure| omaha::ErrorCode(failure.code).to_string()),
    }
}
