//! The read-only part of `/api`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rollout::{Application, Machine, Track, UpdateState};
use serde_json::{Value, json};

use crate::api::ApiError;
use crate::key_sets::KeySets;
use crate::limits::PAGE;
use crate::overview;

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

/// `segments` are those of the path below `/api/`.
pub fn query(
    state: &UpdateState,
    sets: &KeySets,
    segments: &[&str],
    query: &Query,
) -> Result<Value, ApiError> {
    match segments {
        ["overview"] => return Ok(overview::overview(state, sets)),
        ["activity"] => return Ok(activity(state, query)),
        ["apps"] => {
            let apps: Vec<Value> =
                state.apps().map(|(key, app)| overview::application(key, app, sets)).collect();
            return Ok(json!({ "applications": apps, "totalCount": apps.len() }));
        }
        _ => {}
    }
    let ["apps", id, rest @ ..] = segments else { return Err(ApiError::NotFound) };
    let (key, app) = state.app(id).ok_or_else(|| rollout::OperateError::AppNotFound((*id).to_owned()))?;
    match rest {
        [] => Ok(overview::application(key, app, sets)),
        ["channels"] => Ok(json!(app.channels.values().collect::<Vec<_>>())),
        ["channels", channel] => {
            let channel: Track = channel.parse()?;
            let found = app.channels.get(&channel).ok_or(rollout::OperateError::ChannelNotFound(channel))?;
            Ok(json!(found))
        }
        ["packages"] => Ok(json!(app.packages.values().rev().map(overview::package).collect::<Vec<_>>())),
        ["groups"] => Ok(json!(app.groups.values().map(overview::group).collect::<Vec<_>>())),
        ["groups", group, rest @ ..] => group_query(app, group, rest, query),
        ["instances"] => Ok(instances(app, None, query)),
        ["instances", id] => {
            let machine = app.machines.get(*id);
            let machine = machine.ok_or_else(|| rollout::OperateError::MachineNotFound((*id).to_owned()))?;
            Ok(json!(overview::machine(machine)))
        }
        ["instances", id, "status_history"] => {
            let machine = app.machines.get(*id);
            let machine = machine.ok_or_else(|| rollout::OperateError::MachineNotFound((*id).to_owned()))?;
            Ok(json!(machine.history))
        }
        _ => Err(ApiError::NotFound),
    }
}

fn group_query(app: &Application, group: &str, rest: &[&str], query: &Query) -> Result<Value, ApiError> {
    let track: Track = group.parse()?;
    let state = app.groups.get(&track).ok_or_else(|| rollout::OperateError::GroupNotFound(track.clone()))?;
    match rest {
        [] => Ok(overview::group(state)),
        ["timeline" | "version_timeline" | "status_timeline"] => Ok(json!(state.timeline)),
        ["version_breakdown"] => Ok(json!(state.counts.versions)),
        ["instances_stats"] => {
            let counts = state.counts.statuses.iter().map(|(status, count)| (status.as_str(), *count));
            Ok(json!({ "total": state.counts.machines, "statuses": counts.collect::<BTreeMap<_, _>>() }))
        }
        ["instancescount"] => Ok(json!({ "count": state.counts.machines })),
        ["instances"] => Ok(instances(app, Some(&track), query)),
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
