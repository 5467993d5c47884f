//! `gc`: removes pods that exited some time ago, and what interrupted commands left.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use command_line::{Flag, ParsedArgs, ValueKind};
use pod::PodState;

use super::removal;
use crate::command::{Command, Run};
use crate::context::Context;
use crate::exit_code;
use crate::pod_folder::PodFolder;
use crate::pods::{EXITED_GARBAGE, Pods};

/// Its folder was created, but its lock may be about to be taken.
const EMBRYO_AGE: Duration = Duration::from_secs(60);

pub const COMMAND: Command = Command {
    name: "gc",
    arguments: "",
    summary: "remove pods that have exited",
    description: &[
        "Pods that exited are marked, and removed when they have been marked for the grace period.",
    ],
    flags: &[
        Flag::new("grace-period", ValueKind::Duration, "time from the mark to the removal").default("30m"),
        Flag::new("expire-prepared", ValueKind::Duration, "age at which prepared pods are removed")
            .default("24h"),
        Flag::switch("mark-only", "mark pods, remove none"),
    ],
    examples: &[
        ("rkt gc", "remove what exited half an hour ago"),
        ("rkt gc --grace-period=0s", "remove everything that does not run"),
    ],
    run: Run::Action(gc),
};

struct Periods {
    grace: Duration,
    prepared: Duration,
    mark_only: bool,
}

/// Continues after a pod that cannot be removed.
fn gc(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let pods = context.pods()?;
    let periods = Periods {
        grace: args.duration_or_default("grace-period"),
        prepared: args.duration_or_default("expire-prepared"),
        mark_only: args.is_set("mark-only"),
    };
    let mut code = 0;
    for mut pod in pods.list()? {
        match collect(&pods, &mut pod, &periods) {
            Ok(Some(what)) => eprintln!("gc: {what} pod {}", pod.uuid),
            Ok(None) => {}
            Err(_) if !pod.path.exists() => {}
            Err(error) => {
                eprintln!("gc: pod {}: {}", pod.uuid, service::error::chain(error.as_ref()));
                code = exit_code::FAILURE;
            }
        }
    }
    Ok(code)
}

fn collect(pods: &Pods, pod: &mut PodFolder, periods: &Periods) -> anyhow::Result<Option<&'static str>> {
    let state = pod.state()?;
    let age = age(pod)?;
    let is_due = match state {
        PodState::Preparing | PodState::Running | PodState::Deleting => return Ok(None),
        PodState::Exited => {
            let _lock = pod.lock()?;
            pods.move_to(pod, EXITED_GARBAGE)?;
            // The grace period begins with the mark.
            pod.write("marked", b"")?;
            if !periods.grace.is_zero() || periods.mark_only {
                return Ok(Some("marked"));
            }
            true
        }
        PodState::ExitedGarbage => age >= periods.grace,
        PodState::Prepared => age >= periods.prepared,
        PodState::Embryo => age >= EMBRYO_AGE,
        PodState::AbortedPrepare | PodState::Garbage => true,
    };
    if !is_due || periods.mark_only {
        return Ok(None);
    }
    let _lock = pod.lock()?;
    removal::remove(pods, pod)?;
    Ok(Some("removed"))
}

/// Since the pod's folder last changed.
fn age(pod: &PodFolder) -> anyhow::Result<Duration> {
    let metadata =
        std::fs::metadata(&pod.path).with_context(|| format!("cannot read {}", pod.path.display()))?;
    let changed = metadata.modified().context("time of the pod's folder")?;
    // A clock that was set back shows no age.
    Ok(SystemTime::now().duration_since(changed).unwrap_or_default())
}
