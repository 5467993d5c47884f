//! `list`: all pods.

use command_line::{Flag, ParsedArgs};

use super::format::{FORMAT, wants_json};
use super::status::to_json;
use crate::command::{Command, Run};
use crate::context::Context;
use crate::pod_folder::PodFolder;
use crate::stdout::{print, table};
use crate::{images, times};

const SHORT_ID: usize = 12;

pub const COMMAND: Command = Command {
    name: "list",
    arguments: "",
    summary: "list pods",
    description: &[],
    flags: &[
        Flag::switch("full", "whole UUIDs, image IDs and times"),
        Flag::switch("no-legend", "without the line of column names"),
        Flag::switch("json", "print JSON"),
        FORMAT,
    ],
    examples: &[("rkt list", "list pods"), ("rkt list --full --no-legend", "for scripts")],
    run: Run::Action(list),
};

fn list(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let pods = context.pods()?.list()?;
    if wants_json(args) {
        let values: Vec<_> = pods.iter().filter_map(|pod| to_json(pod).ok()).collect();
        return print(&format!("{}\n", serde_json::to_string_pretty(&values)?)).map(|()| 0);
    }
    let full = args.is_set("full");
    let mut rows = Vec::new();
    if !args.is_set("no-legend") {
        let id: &[&str] = if full { &["IMAGE ID"] } else { &[] };
        let columns =
            [&["UUID", "APP", "IMAGE NAME"], id, &["STATE", "CREATED", "STARTED", "NETWORKS"]].concat();
        rows.push(columns.into_iter().map(str::to_owned).collect());
    }
    for pod in &pods {
        match pod_rows(pod, full) {
            Ok(more) => rows.extend(more),
            // It moved or was removed meanwhile.
            Err(_) if !pod.path.exists() => {}
            Err(error) => eprintln!("list: pod {}: {}", pod.uuid, service::error::chain(error.as_ref())),
        }
    }
    print(&table(&rows)).map(|()| 0)
}

/// A line for each app, of which the first has what the pod's apps share.
fn pod_rows(pod: &PodFolder, full: bool) -> anyhow::Result<Vec<Vec<String>>> {
    let state = pod.state()?.to_string();
    let uuid = if full { pod.uuid.as_str() } else { pod.uuid.short() };
    let now = times::now();
    let time = |millis: Option<u64>| match millis {
        Some(millis) if full => times::full(millis),
        Some(millis) => times::ago(millis, now),
        None => String::new(),
    };
    let empty = String::new;
    // A pod whose preparation was interrupted has none.
    let Ok(manifest) = pod.manifest() else {
        let id = full.then(|| "-".to_owned());
        let first = [uuid.to_owned(), "-".to_owned(), "-".to_owned()];
        return Ok(vec![first.into_iter().chain(id).chain([state, empty(), empty(), empty()]).collect()]);
    };
    let mut rows = Vec::new();
    for (index, app) in manifest.apps.iter().enumerate() {
        let is_first = index == 0;
        let shared = |text: String| if is_first { text } else { String::new() };
        let id = images::id(app.image);
        let short_id = id.get(..ID_LENGTH).unwrap_or(&id);
        let mut row = vec![shared(uuid.to_owned()), app.name.clone(), app.image_name.clone()];
        if full {
            row.push(short_id.to_owned());
        }
        row.push(shared(state.clone()));
        row.push(shared(time(Some(manifest.created))));
        row.push(shared(time(pod.number("started")?)));
        row.push(shared(pod.text("networks")?.unwrap_or_default()));
        rows.push(row);
    }
    Ok(rows)
}

/// `sha256-` and digits.
const ID_LENGTH: usize = 7 + SHORT_ID;
