//! `stop`: stops running pods.

use anyhow::{Context as _, bail};
use command_line::{Flag, ParsedArgs, ValueKind};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::selection::selected;
use crate::command::{Command, Run};
use crate::context::Context;
use crate::exit_code;
use crate::pod_folder::PodFolder;
use crate::stdout::print;
use pod::PodState;

pub const COMMAND: Command = Command {
    name: "stop",
    arguments: "UUID...",
    summary: "stop pods, and wait until they have ended",
    description: &["Apps that do not exit within 30 s are killed."],
    flags: &[
        Flag::switch("force", "kill the pods"),
        Flag::new("uuid-file", ValueKind::File, "file with the pod's UUID"),
    ],
    examples: &[
        ("rkt stop 0b6b5f2e", "stop a pod"),
        ("rkt stop --uuid-file=/run/app.uuid", "stop the pod of a unit (ExecStop=)"),
    ],
    run: Run::Action(stop),
};

/// Continues after a pod that cannot be stopped.
fn stop(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let pods = context.pods()?;
    let mut code = 0;
    for pod in selected(&pods, args)? {
        match stop_one(&pod, args.is_set("force")) {
            Ok(()) => print(&format!("\"{}\"\n", pod.uuid))?,
            Err(error) => {
                eprintln!("stop: {}", service::error::chain(error.as_ref()));
                code = exit_code::FAILURE;
            }
        }
    }
    Ok(code)
}

fn stop_one(pod: &PodFolder, force: bool) -> anyhow::Result<()> {
    let state = pod.state()?;
    if state != PodState::Running {
        bail!("pod {} is {state}, not running", pod.uuid);
    }
    let number: i32 =
        pod.number("pid")?.with_context(|| format!("pod {} is starting; try again", pod.uuid))?;
    let pid = Pid::from_raw(number).with_context(|| format!("pod {} has no process", pod.uuid))?;
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => {
            // The process is the pod's if the pod still runs after its number was resolved.
            if pod.state()? == PodState::Running {
                let signal = if force { Signal::KILL } else { Signal::TERM };
                let sent = pidfd_send_signal(&process, signal);
                sent.or_else(|error| if error == rustix::io::Errno::SRCH { Ok(()) } else { Err(error) })
                    .with_context(|| format!("cannot signal pod {}", pod.uuid))?;
            }
        }
        Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot signal pod {}", pod.uuid)),
    }
    pod.wait()
}
