//! `rm`: removes pods that do not run.

use anyhow::bail;
use command_line::{Flag, ParsedArgs, ValueKind};

use crate::EXIT_FAILURE;
use crate::command::{Command, Run};
use crate::context::Context;
use crate::pod_folder::PodFolder;
use crate::pods::Pods;
use crate::run_file;
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

/// The pods of a command line: of its arguments, or of `--uuid-file`.
pub fn selected(pods: &Pods, args: &ParsedArgs) -> anyhow::Result<Vec<PodFolder>> {
    if let Some(path) = args.text("uuid-file") {
        if !args.arguments.is_empty() {
            bail!("--uuid-file and UUIDs exclude each other");
        }
        return Ok(vec![pods.find(run_file::read_uuid(path)?.as_str())?]);
    }
    if args.arguments.is_empty() {
        bail!("a UUID of a pod is required");
    }
    args.arguments.iter().map(|prefix| pods.find(prefix)).collect()
}

/// Continues after a pod that cannot be removed.
fn rm(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let pods = context.pods()?;
    let mut code = 0;
    for mut pod in selected(&pods, args)? {
        match remove(&pods, &mut pod) {
            Ok(()) => print(&format!("\"{}\"\n", pod.uuid))?,
            Err(error) => {
                eprintln!("rm: {}", service::error::chain(error.as_ref()));
                code = EXIT_FAILURE;
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
    pods.remove(pod)
}
