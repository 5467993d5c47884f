//! What the page and the API tell of an application.

use std::collections::BTreeMap;

use release::KeySet;
use rollout::{Application, Fleet, GroupState, Machine, Package, Reason};
use serde::Serialize;
use serde_json::{Value, json};

use crate::key_sets::KeySets;
use crate::limits::KEY_SET_ENDS_SOON;
use crate::server::now;

/// Entries of the activity that come with the whole.
const NEWEST: usize = 40;

/// Everything that the page shows but the machines.
pub fn overview(fleet: &Fleet, sets: &KeySets) -> Value {
    let apps: Vec<Value> = fleet.apps().map(|(key, app)| application(key, app, sets)).collect();
    let activity: Vec<_> = fleet.activity().rev().take(NEWEST).collect();
    json!({ "now": now(), "apps": apps, "activity": activity })
}

pub fn application(key: &str, app: &Application, sets: &KeySets) -> Value {
    json!({
        "now": now(),
        "key": key,
        "id": app.app.id,
        "name": app.app.name,
        "product_id": app.app.product_id,
        "machines": app.machines.len(),
        "channels": app.channels.values().collect::<Vec<_>>(),
        "groups": app.groups.values().map(group).collect::<Vec<_>>(),
        "packages": app.packages.values().rev().map(package).collect::<Vec<_>>(),
        "key_set": sets.newest(key).map(|set| key_set(&set, now())),
    })
}

/// The keys that count now. Once their time is over machines take no version until there is a newer set.
fn key_set(set: &KeySet, now: u64) -> Value {
    let warning = match set.expires.saturating_sub(now) {
        0 => Some(format!(
            "The time of key set {} is over: machines take nothing until there is a newer one.",
            set.epoch
        )),
        left if left < KEY_SET_ENDS_SOON => {
            Some(format!("The time of key set {} is over in {} days.", set.epoch, left / 86_400))
        }
        _ => None,
    };
    json!({ "epoch": set.epoch, "expires": set.expires, "warning": warning })
}

pub fn group(state: &GroupState) -> Value {
    let group = &state.group;
    let age = group.rollout.as_ref().map_or(0, |rollout| rollout.age(now()));
    let statuses: BTreeMap<&str, usize> =
        state.counts.statuses.iter().map(|(status, count)| (status.word(), *count)).collect();
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

/// A machine with its last refusal in words.
#[derive(Serialize)]
pub struct Shown<'a> {
    #[serde(flatten)]
    machine: &'a Machine,
    status_code: u8,
    why: Option<&'static str>,
    /// Of its last failure, in words.
    error: Option<String>,
}

pub fn machine(machine: &Machine) -> Shown<'_> {
    Shown {
        machine,
        status_code: machine.status.number(),
        why: machine.refusal.map(Reason::sentence),
        error: machine.failure.as_ref().map(|failure| omaha::ErrorCode(failure.code).to_string()),
    }
}
