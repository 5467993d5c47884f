//! `enter`: runs a program in an app of a running pod.

use std::fs::File;
use std::io::IsTerminal as _;

use anyhow::{Context as _, bail};
use command_line::{Flag, ParsedArgs, ValueKind};
use nix::sched::{CloneFlags, setns};
use pod::PodState;

use crate::command::{Command, Run};
use crate::context::Context;
use crate::crun;
use crate::exit_code;

const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

pub const COMMAND: Command = Command {
    name: "enter",
    arguments: "UUID [COMMAND [ARGUMENTS...]]",
    summary: "run a command, or a shell, in an app of a running pod",
    description: &["The exit status is the command's."],
    flags: &[Flag::new("app", ValueKind::Text, "the app, if the pod has several")],
    examples: &[
        ("rkt enter 0b6b5f2e", "a shell in the only app"),
        ("rkt enter --app=etcd 0b6b5f2e /bin/ls /", "a command in one of several apps"),
    ],
    run: Run::Leading(enter),
};

fn enter(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let Some((uuid, command)) = args.arguments.split_first() else { bail!("a UUID of a pod is required") };
    let pod = context.pods()?.find(uuid)?;
    let state = pod.state()?;
    if state != PodState::Running {
        bail!("pod {} is {state}, not running", pod.uuid);
    }
    let manifest = pod.manifest()?;
    let app = match (args.text("app"), manifest.apps.as_slice()) {
        (Some(name), apps) => {
            apps.iter().find(|app| app.name == name).with_context(|| format!("there is no app {name:?}"))?
        }
        (None, [only]) => only,
        (None, apps) => {
            let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
            bail!("the pod has several apps; choose one with --app: {}", names.join(", "))
        }
    };
    let pid: i32 = pod.number("pid")?.with_context(|| format!("pod {} is starting; try again", pod.uuid))?;
    let open = |name: &str| {
        let path = format!("/proc/{pid}/ns/{name}");
        File::open(&path).with_context(|| format!("cannot open {path}"))
    };
    let (pid_namespace, mounts) = (open("pid")?, open("mnt")?);
    // The number was the pod's if the pod still runs.
    if pod.state()? != PodState::Running {
        bail!("pod {} has ended", pod.uuid);
    }
    setns(&mounts, CloneFlags::CLONE_NEWNS).context("cannot enter the pod's mount namespace")?;
    setns(&pid_namespace, CloneFlags::CLONE_NEWPID).context("cannot enter the pod's PID namespace")?;
    let mut exec = crun::command(&pod.path);
    exec.arg("exec");
    if std::io::stdin().is_terminal() {
        exec.arg("--tty");
    }
    exec.arg(&app.name);
    if command.is_empty() {
        let rootfs = pod.path.join("overlay").join(&app.name).join("rootfs");
        // A link of the app's is not followed.
        let has = |path: &&&str| std::fs::symlink_metadata(rootfs.join(path.trim_start_matches('/'))).is_ok();
        exec.arg(SHELLS.iter().find(has).unwrap_or(&SHELLS[1]));
    } else {
        exec.args(command);
    }
    let status = exec.status().with_context(crun::not_started)?;
    Ok(exit_code::of(status))
}
