//! `rm`: removes pods that do not run.

use anyhow::bail;
use command_line::{Flag, ParsedArgs, ValueKind};

use super::removal;
use super::selection::selected;
use crate::command::{Command, Run};
use crate::context::Context;
use crate::exit_code;
use crate::pod_folder::PodFolder;
use crate::pods::Pods;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "rm",
    arguments: "UUID...",
    summary: "remove pods that do not run",
    description: &[],
    flags: &[Flag::new("uuid-file", ValueKind::File, "file with the pod's UUID")],
    examples: &[
        ("rkt rm 0b6b5f2e", "remove a pod"),
        ("rkt rm --uuid-file=/run/app.uuid", "remove the pod of a unit (ExecStartPre=-)"),
    ],
    run: Run::Action(rm),
};

/// Continues after a pod that cannot be removed.
fn rm(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let pods = context.pods()?;
    let mut code = 0;
    for mut pod in selected(&pods, args)? {
        match remove(&pods, &mut pod) {
            Ok(()) => print(&format!("\"{}\"\n", pod.uuid))?,
            Err(error) => {
                eprintln!("rm: {}", service::error::chain(error.as_ref()));
                code = exit_code::FAILURE;
            }
        }
    }
    Ok(code)
}

fn remove(pods: &Pods, pod: &mut PodFolder) -> anyhow::Result<()> {
    let state = pod.state()?;
    if state.is_busy() {
        bail!("pod {} is {state}; stop it first (rkt stop)", pod.uuid);
    }
    let _lock = pod.lock()?;
    removal::remove(pods, pod)
}
