//! The read-only part of `/api`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rollout::{Application, Machine, Track, UpdateState};
use serde_json::{Value, json};

use crate::api_error::ApiError;
use crate::endpoint::View;
use crate::limits::PAGE;
use crate::overview;
use crate::server::Server;

/// The parameters of a URL's query.
pub struct Query(BTreeMap<String, String>);

impl Query {
    pub fn read(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }
}

/// `parameters` are those of the path.
pub fn query(
    state: &UpdateState,
    server: &Server,
    view: View,
    parameters: &[&str],
    query: &Query,
) -> Result<Value, ApiError> {
    let repositories = &server.repositories;
    match view {
        View::Overview => return Ok(overview::overview(state, server)),
        View::Activity => return Ok(activity(state, query)),
        View::Apps => {
            let apps: Vec<Value> =
                state.apps().map(|(key, app)| overview::application(key, app, server)).collect();
            return Ok(json!({ "applications": apps, "totalCount": apps.len() }));
        }
        _ => {}
    }
    let [id, rest @ ..] = parameters else { return Err(ApiError::NotFound) };
    let (key, app) = state.app(id).ok_or_else(|| rollout::OperateError::AppNotFound((*id).to_owned()))?;
    match (view, rest) {
        (View::App, []) => Ok(overview::application(key, app, server)),
        (View::Channels, []) => Ok(json!(overview::channels(key, app, repositories))),
        (View::Channel, [channel]) => {
            let channel: Track = channel.parse()?;
            let found = app.channels.get(&channel).ok_or(rollout::OperateError::ChannelNotFound(channel))?;
            Ok(json!(overview::channel(key, app, found, repositories)))
        }
        (View::Packages, []) => Ok(json!(overview::packages(key, app, server))),
        (View::Groups, []) => Ok(json!(app.groups.values().map(overview::group).collect::<Vec<_>>())),
        (View::Instances, []) => Ok(instances(app, None, query)),
        (View::Instance, [id]) => Ok(json!(overview::machine(machine(app, id)?))),
        (View::StatusHistory, [id]) => Ok(json!(machine(app, id)?.history)),
        (_, [group]) => group_query(app, group, view, query),
        // invariant: the routes have these parameters.
        _ => Err(ApiError::NotFound),
    }
}

fn machine<'a>(app: &'a Application, id: &str) -> Result<&'a Machine, ApiError> {
    let machine = app.machines.get(id);
    Ok(machine.ok_or_else(|| rollout::OperateError::MachineNotFound(id.to_owned()))?)
}

fn group_query(app: &Application, group: &str, view: View, query: &Query) -> Result<Value, ApiError> {
    let track: Track = group.parse()?;
    let state = app.groups.get(&track).ok_or_else(|| rollout::OperateError::GroupNotFound(track.clone()))?;
    match view {
        View::Group => Ok(overview::group(state)),
        View::Timeline => Ok(json!(state.timeline)),
        View::VersionBreakdown => Ok(json!(state.counts.versions)),
        View::InstancesStats => {
            let counts = state.counts.statuses.iter().map(|(status, count)| (status.as_str(), *count));
            Ok(json!({ "total": state.counts.machines, "statuses": counts.collect::<BTreeMap<_, _>>() }))
        }
        View::InstancesCount => Ok(json!({ "count": state.counts.machines })),
        View::GroupInstances => Ok(instances(app, Some(&track), query)),
        _ => Err(ApiError::NotFound),
    }
}

/// One page of machines. Parameters: `group`, `status`, `version`, `oem`, `search`, `sort` (`seen`, `version`, `id`),
/// `page` from 1, `perpage`.
fn instances(app: &Application, group: Option<&Track>, query: &Query) -> Value {
    let is_match = |machine: &&Machine| {
        let is = |name: &str, value: &str| query.text(name).is_none_or(|is_match| is_match == value);
        let searchable: Cow<'_, str> = match &machine.alias {
            Some(alias) => format!("{} {} {alias}", machine.id, machine.ip).into(),
            None => format!("{} {}", machine.id, machine.ip).into(),
        };
        group.is_none_or(|group| machine.track == *group)
            && is("group", &machine.track.to_string())
            && is("status", machine.status.as_str())
            && is("version", &machine.version)
            && is("oem", &machine.oem)
            && query.text("search").is_none_or(|text| searchable.contains(text))
    };
    let mut found: Vec<&Machine> = app.machines.values().filter(is_match).collect();
    match query.text("sort") {
        Some("version") => found.sort_by(|one, other| one.version.cmp(&other.version)),
        Some("seen") => found.sort_by_key(|machine| std::cmp::Reverse(machine.last_seen)),
        _ => {}
    }
    let size = query.number("perpage", 50).clamp(1, PAGE);
    let first = query.number("page", 1).saturating_sub(1).saturating_mul(size);
    let page: Vec<_> =
        found.iter().skip(first).take(size).map(|machine| overview::machine(machine)).collect();
    json!({ "total": found.len(), "instances": page })
}

/// Newest first. Parameters: `app` (key), `group`, `version`, `before` (entry number), `perpage`.
fn activity(state: &UpdateState, query: &Query) -> Value {
    let before = query.number("before", usize::MAX);
    let is_match = |entry: &&rollout::Entry| {
        usize::try_from(entry.number).is_ok_and(|number| number < before)
            && query.text("app").is_none_or(|app| entry.app == app)
            && query
                .text("group")
                .is_none_or(|group| entry.group.as_ref().is_some_and(|of| of.to_string() == group))
            && query.text("version").is_none_or(|version| entry.version.as_deref() == Some(version))
    };
    let size = query.number("perpage", 100).clamp(1, PAGE);
    json!(state.activity().rev().filter(is_match).take(size).collect::<Vec<_>>())
}
