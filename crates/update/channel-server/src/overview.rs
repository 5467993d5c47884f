//! JSON views of the state, for the page and the API.

use std::collections::BTreeMap;

use rollout::{Application, Channel, GroupState, Image, Machine, Package, Reason, UpdateState};
use serde::Serialize;
use serde_json::{Value, json};
use tuf::Root;
use update_core::roots::{expires, version};

use crate::limits::ROOT_EXPIRY_WARNING;
use crate::repository::{Repositories, lists_images};
use crate::server::{Server, now};

/// Activity entries in the overview.
const NEWEST: usize = 40;

/// Everything that the page shows, except the machines.
pub fn overview(state: &UpdateState, server: &Server) -> Value {
    let apps: Vec<Value> = state.apps().map(|(key, app)| application(key, app, server)).collect();
    let activity: Vec<_> = state.activity().rev().take(NEWEST).collect();
    json!({ "now": now(), "apps": apps, "activity": activity })
}

pub fn application(key: &str, app: &Application, server: &Server) -> Value {
    let repositories = &server.repositories;
    json!({
        "now": now(),
        "key": key,
        "id": app.app.id,
        "name": app.app.name,
        "product_id": app.app.product_id,
        "machines": app.machines.len(),
        "channels": channels(key, app, repositories),
        "groups": app.groups.values().map(group).collect::<Vec<_>>(),
        "packages": packages(key, app, server),
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

/// Newest first, with the images that channels serve.
pub fn packages(key: &str, app: &Application, server: &Server) -> Vec<Value> {
    let targets = server.repositories.targets(key).filter(|_| app.app.id == server.settings.app.id);
    let is_served =
        |package: &Package| targets.as_ref().is_some_and(|stored| lists_images(&stored.targets, package));
    let view = |one: &Package| package(app, one, is_served(one));
    app.packages.values().rev().map(view).collect()
}

/// The image files of a version. `url` is the path at which its channel serves it, if it does.
fn images(app: &Application, package: &Package, is_served: bool) -> Vec<Value> {
    let view = |image: &Image| {
        let channel = app.channels.values().find(|channel| {
            let track = &channel.track;
            track.name() == image.channel && track.arch() == package.arch && channel.has_had(&package.version)
        });
        let served = channel.filter(|_| is_served && !package.is_withdrawn_from(&image.channel));
        let url = served.map(|_| {
            let Package { board, version, .. } = package;
            format!("/images/{}/{board}/{version}/{}", image.channel, image.file.name)
        });
        json!({
            "name": image.file.name, "channel": image.channel, "format": image.format, "size": image.file.size,
            "sha256": image.file.sha256, "url": url,
        })
    };
    package.images.iter().flat_map(|images| &images.files).map(view).collect()
}

fn package(app: &Application, package: &Package, is_served: bool) -> Value {
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
        "images": images(app, package, is_served),
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
