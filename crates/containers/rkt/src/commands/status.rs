//! `status`: what a pod does, and the exit statuses of its apps.

use anyhow::bail;
use command_line::{Flag, ParsedArgs};
use pod::PodState;
use serde_json::{Map, Value, json};

use super::format::{FORMAT, wants_json};
use super::selection::selected;
use crate::command::{Command, Run};
use crate::context::Context;
use crate::pod_folder::PodFolder;
use crate::stdout::print;
use crate::times;

pub const COMMAND: Command = Command {
    name: "status",
    arguments: "UUID",
    summary: "print the state of a pod and the exit statuses of its apps",
    description: &[],
    flags: &[
        Flag::switch("wait", "wait until the pod has ended"),
        Flag::switch("json", "print JSON"),
        FORMAT,
        Flag::new("uuid-file", command_line::ValueKind::File, "file with the pod's UUID"),
    ],
    examples: &[
        ("rkt status 0b6b5f2e", "print the state"),
        ("rkt status --wait 0b6b5f2e", "wait, then print the exit statuses"),
    ],
    run: Run::Action(status),
};

fn status(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let pods = context.pods()?;
    let mut found = selected(&pods, args)?;
    let (Some(mut pod), true) = (found.pop(), found.is_empty()) else {
        bail!("exactly one UUID of a pod is required")
    };
    if args.is_set("wait") && pod.state()? == PodState::Running {
        pod.wait()?;
        // A collection of garbage may have moved it.
        pod = pods.find(pod.uuid.as_str())?;
    }
    let text = if wants_json(args) { json_text(&pod)? } else { lines(&pod)? };
    print(&text)?;
    Ok(0)
}

fn lines(pod: &PodFolder) -> anyhow::Result<String> {
    let state = pod.state()?;
    let mut text = format!("state={state}\n");
    if let Ok(manifest) = pod.manifest() {
        text.push_str(&format!("created={}\n", times::full(manifest.created)));
    }
    for (key, file) in [("started", "started"), ("finished", "finished")] {
        if let Some(millis) = pod.number(file)? {
            text.push_str(&format!("{key}={}\n", times::full(millis)));
        }
    }
    if let Some(networks) = pod.text("networks")? {
        text.push_str(&format!("networks={networks}\n"));
    }
    if let Some(pid) = pod.text("pid")? {
        text.push_str(&format!("pid={pid}\nexited={}\n", state.has_exited()));
    }
    if let Ok(manifest) = pod.manifest() {
        for app in manifest.apps {
            if let Some(status) = pod.status(&app.name)? {
                text.push_str(&format!("app-{}={status}\n", app.name));
            }
        }
    }
    Ok(text)
}

fn json_text(pod: &PodFolder) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(&to_json(pod)?)?))
}

/// Also an element of `rkt list --json`.
pub fn to_json(pod: &PodFolder) -> anyhow::Result<Value> {
    let mut object = Map::new();
    let state = pod.state()?;
    object.insert("uuid".to_owned(), json!(pod.uuid));
    object.insert("state".to_owned(), json!(state.to_string()));
    object.insert("exited".to_owned(), json!(state.has_exited()));
    for (key, file) in [("started_at", "started"), ("finished_at", "finished")] {
        if let Some(millis) = pod.number::<u64>(file)? {
            object.insert(key.to_owned(), json!(millis));
        }
    }
    if let Some(pid) = pod.number::<u32>("pid")? {
        object.insert("pid".to_owned(), json!(pid));
    }
    if let Some(networks) = pod.text("networks")? {
        object.insert("networks".to_owned(), json!(networks));
    }
    if let Ok(manifest) = pod.manifest() {
        object.insert("created_at".to_owned(), json!(manifest.created));
        let mut apps = Vec::new();
        for app in &manifest.apps {
            let exit = pod.status(&app.name)?;
            let id = crate::images::id(app.image);
            apps.push(
                json!({ "name": app.name, "image": app.image_name, "image_id": id, "exit_status": exit }),
            );
        }
        object.insert("apps".to_owned(), json!(apps));
    }
    Ok(Value::Object(object))
}
