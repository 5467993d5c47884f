//! `keelson channel`: operations on channels, groups and machines, through the channel server's API.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::output;
use crate::update_server::{ServerFlags, UpdateServer};

#[derive(Debug, clap::Args)]
pub struct Flags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    reached: ServerFlags,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the channels with their versions, and the progress of their groups
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Set a channel to the version of another channel
    Promote {
        from: String,
        to: String,
        #[command(flatten)]
        common: Common,
    },
    /// Set a channel to a version; machines never install an older version than their own
    Set {
        channel: String,
        version: String,
        #[command(flatten)]
        common: Common,
    },
    /// Pause the rollout of a group: its machines are offered no update
    Pause {
        group: String,
        #[arg(long, default_value = "")]
        why: String,
        #[command(flatten)]
        common: Common,
    },
    /// Resume the rollout of a group
    Resume {
        group: String,
        #[command(flatten)]
        common: Common,
    },
    /// Show or change the rollout settings of a group
    Rollout {
        group: String,
        #[command(flatten)]
        changes: Box<Changes>,
        #[command(flatten)]
        common: Common,
    },
    /// List the machines, most recently seen first
    Machines {
        #[arg(long)]
        group: Option<String>,
        #[arg(long)]
        status: Option<String>,
        #[arg(long)]
        version: Option<String>,
        /// Substring of the machine's ID, address or name
        #[arg(long)]
        search: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Print the activity log, newest entry first
    Activity {
        #[command(flatten)]
        common: Common,
    },
    /// Ban a version: no machine is offered it
    Ban {
        version: String,
        #[arg(long, default_value = "by an operator")]
        why: String,
        #[command(flatten)]
        common: Common,
    },
    /// Remove the ban of a version
    Unban {
        version: String,
        #[command(flatten)]
        common: Common,
    },
    /// Clear the failures and the update in progress of a machine
    Reset {
        machine: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Changes {
    /// Percentage of the machines that are offered the version
    #[arg(long)]
    percent: Option<u8>,
    /// Maximum number of machines that update concurrently; none: no limit
    #[arg(long, value_name = "N|none")]
    at_once: Option<String>,
    /// Maximum number of updates that start within a period; none: no limit
    #[arg(long, value_name = "N|none")]
    per_period: Option<String>,
    /// Length of a period
    #[arg(long, value_name = "SECONDS")]
    period: Option<u64>,
    /// Time limit of each step of a machine's update
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Time window in which updates may start, such as "Mon-Fri 22:00-04:00"; none: any time; may be repeated
    #[arg(long, value_name = "WINDOW|none")]
    window: Vec<String>,
    /// Time zone of the windows, such as Europe/Berlin
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Percentage of the machines from this time after the channel changed, such as 3600:10; may be repeated
    #[arg(long, value_name = "SECONDS:PERCENT|none")]
    wave: Vec<String>,
    /// Update one machine alone until one has succeeded
    #[arg(long, value_name = "BOOL")]
    safe_mode: Option<bool>,
    /// Number of failures that pauses the group; none: never
    #[arg(long, value_name = "N|none")]
    max_failures: Option<String>,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let done = match &flags.verb {
        Verb::List { common } => return list(context, &open(context, common)?),
        Verb::Machines { group, status, version, search, common } => {
            let filters = [("group", group), ("status", status), ("version", version), ("search", search)];
            return machines(context, &open(context, common)?, &filters);
        }
        Verb::Activity { common } => return activity(context, &open(context, common)?),
        Verb::Rollout { group, changes, common } => {
            return rollout(context, &open(context, common)?, group, changes);
        }
        Verb::Promote { from, to, common } => {
            let server = open(context, common)?;
            let promoted = server.post(&["channels", to, "promote"], &json!({ "from": from }));
            let promoted = promoted.with_context(|| format!("cannot promote {from} to {to}"))?;
            warn_paused(context, &promoted);
            promoted
        }
        Verb::Set { channel, version, common } => {
            let set = open(context, common)?.put(&["channels", channel], &json!({ "version": version }));
            let set = set.with_context(|| format!("cannot set {channel} to {version}"))?;
            warn_paused(context, &set);
            set
        }
        Verb::Pause { group, why, common } => {
            open(context, common)?.post(&["groups", group, "pause"], &json!({ "why": why }))?
        }
        Verb::Resume { group, common } => {
            open(context, common)?.post(&["groups", group, "resume"], &json!({}))?
        }
        Verb::Ban { version, why, common } => {
            let banned =
                open(context, common)?.post(&["packages", version, "ban"], &json!({ "why": why }))?;
            warn_floors(context, version, &banned);
            banned
        }
        Verb::Unban { version, common } => open(context, common)?.delete(&["packages", version, "ban"])?,
        Verb::Reset { machine, common } => {
            open(context, common)?.post(&["instances", machine, "reset"], &json!({}))?
        }
    };
    if context.json {
        output::print_json(&done)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a note for each paused group: a new version does not resume it.
pub fn warn_paused(context: &Context, pointed: &Value) {
    for paused in pointed["paused"].as_array().into_iter().flatten() {
        let field = |key: &str| paused[key].as_str().unwrap_or_default();
        let (group, why) = (field("group"), field("why"));
        context.progress.note(&format!(
            "group {group} is paused ({why}): its machines get no updates until `cargo keelson channel resume {group}`"
        ));
    }
}

/// Prints a note for each channel that has the banned version as a floor.
fn warn_floors(context: &Context, version: &str, banned: &Value) {
    for channel in banned["floor_of"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        context.progress.note(&format!(
            "{version} is a floor of channel {channel}: machines below it get no updates until the floor is removed or \
             `cargo keelson channel unban {version}`"
        ));
    }
}

fn open(context: &Context, common: &Common) -> anyhow::Result<UpdateServer> {
    UpdateServer::open(context, &common.reached)
}

fn list(context: &Context, server: &UpdateServer) -> anyhow::Result<ExitCode> {
    let app = server.get(&[], &[])?;
    if context.json {
        output::print_json(&app)?;
        return Ok(ExitCode::SUCCESS);
    }
    let channels = items(&app["channels"]).map(|channel| {
        vec![cell(&channel["track"]), cell(&channel["package"]), ago(&app, &channel["changed"])]
    });
    let mut text = output::table(&["CHANNEL", "VERSION", "CHANGED"], &channels.collect::<Vec<_>>());
    text.push_str("\n\n");
    let groups = items(&app["groups"]).map(|group| {
        let rollout = &group["rollout"];
        let updated = rollout["version"].as_str().and_then(|version| group["versions"][version].as_u64());
        vec![
            cell(&group["track"]),
            cell(&group["channel"]),
            format!("{}/{}", updated.unwrap_or_default(), cell(&group["machines"])),
            cell(&group["in_progress"]),
            rollout["failed"].as_u64().unwrap_or_default().to_string(),
            format!("{}%", cell(&group["share"])),
            group["paused"]["why"].as_str().map_or("no", |why| why).to_owned(),
        ]
    });
    let head = ["GROUP", "CHANNEL", "UPDATED", "IN PROGRESS", "FAILED", "SHARE", "PAUSED"];
    text.push_str(&output::table(&head, &groups.collect::<Vec<_>>()));
    output::print(format!("{text}\n"))?;
    if let Some(warning) = app["root"]["warning"].as_str() {
        context.progress.note(&format!("warning: {warning} `keelson keys rotate` creates the next one"));
    }
    Ok(ExitCode::SUCCESS)
}

fn machines(
    context: &Context,
    server: &UpdateServer,
    filters: &[(&str, &Option<String>)],
) -> anyhow::Result<ExitCode> {
    let mut query = vec![("sort", "seen"), ("perpage", "1000")];
    query.extend(filters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
    let found = server.get(&["instances"], &query)?;
    if context.json {
        output::print_json(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = items(&found["instances"]).map(|machine| {
        let name = if machine["alias"].is_string() { &machine["alias"] } else { &machine["id"] };
        let why = if machine["error"].is_string() { &machine["error"] } else { &machine["why"] };
        vec![
            cell(name),
            cell(&machine["track"]),
            cell(&machine["version"]),
            cell(&machine["status"]),
            cell(&machine["ip"]),
            cell(why),
        ]
    });
    let table = output::table(
        &["MACHINE", "GROUP", "VERSION", "STATUS", "ADDRESS", "WHY"],
        &rows.collect::<Vec<_>>(),
    );
    output::print(format!("{table}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn activity(context: &Context, server: &UpdateServer) -> anyhow::Result<ExitCode> {
    let entries = server.activity()?;
    if context.json {
        output::print_json(&entries)?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines =
        items(&entries).map(|entry| format!("{:<8}{}\n", cell(&entry["severity"]), cell(&entry["text"])));
    output::print(lines.collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

fn rollout(
    context: &Context,
    server: &UpdateServer,
    group: &str,
    changes: &Changes,
) -> anyhow::Result<ExitCode> {
    let found = server.get(&["groups", group], &[])?;
    let mut policy = found["policy"].as_object().cloned().unwrap_or_default();
    let before = policy.clone();
    changes.apply(&mut policy)?;
    if policy != before {
        let changed = server.put(&["groups", group, "policy"], &Value::Object(policy.clone()));
        changed.with_context(|| format!("cannot change the rollout of {group}"))?;
    }
    if context.json {
        output::print_json(&Value::Object(policy))?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines = policy.iter().map(|(name, value)| format!("{name:<16}{}\n", setting(value)));
    output::print(lines.collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

impl Changes {
    fn apply(&self, policy: &mut Map<String, Value>) -> anyhow::Result<()> {
        let mut put = |name: &str, value: Value| drop(policy.insert(name.to_owned(), value));
        let plain = [
            ("percent", self.percent.map(Value::from)),
            ("period", self.period.map(Value::from)),
            ("timeout", self.timeout.map(Value::from)),
            ("timezone", self.timezone.clone().map(Value::from)),
            ("safe_mode", self.safe_mode.map(Value::from)),
        ];
        for (name, value) in plain {
            if let Some(value) = value {
                put(name, value);
            }
        }
        let limits = [
            ("max_in_progress", &self.at_once),
            ("max_per_period", &self.per_period),
            ("max_failures", &self.max_failures),
        ];
        for (name, text) in limits {
            match text.as_deref() {
                None => {}
                Some("none") => put(name, Value::Null),
                Some(text) => {
                    let number: u32 =
                        text.parse().with_context(|| format!("{text:?} is neither a number nor `none`"))?;
                    put(name, number.into());
                }
            }
        }
        let without_none = |list: &[String]| -> Vec<String> {
            list.iter().filter(|text| *text != "none").cloned().collect()
        };
        if !self.window.is_empty() {
            put("windows", without_none(&self.window).into());
        }
        if !self.wave.is_empty() {
            let waves: anyhow::Result<Vec<Value>> =
                without_none(&self.wave).iter().map(|text| wave(text)).collect();
            put("waves", waves?.into());
        }
        Ok(())
    }
}

fn wave(text: &str) -> anyhow::Result<Value> {
    let parts = text
        .split_once(':')
        .and_then(|(after, percent)| Some((after.parse::<u64>().ok()?, percent.parse::<u8>().ok()?)));
    match parts {
        Some((after, percent)) => Ok(json!({ "after": after, "percent": percent })),
        None => bail!("invalid wave {text:?}: expected SECONDS:PERCENT, such as 3600:10"),
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn setting(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        other => cell(other),
    }
}

/// Relative to the server's clock.
fn ago(app: &Value, at: &Value) -> String {
    let (Some(now), Some(at)) = (app["now"].as_u64(), at.as_u64()) else { return cell(at) };
    match now.saturating_sub(at) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}
