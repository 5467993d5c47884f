//! The OCI runtime: crun starts an app's process in its bundle and exits.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

pub const PROGRAM: &str = "crun";
/// State of the runtime, in the pod's folder: it is removed with the pod.
const STATE: &str = "crun";
/// Overrides the program, for tests.
const PROGRAM_VARIABLE: &str = "RKT_RUNTIME";

/// A call of the runtime for a pod.
pub fn command(pod: &Path) -> Command {
    let program = std::env::var_os(PROGRAM_VARIABLE).unwrap_or_else(|| PROGRAM.into());
    let mut command = Command::new(program);
    // The apps remain in the control group of the unit, and so within its limits.
    command.arg("--root").arg(pod.join(STATE)).arg("--cgroup-manager=disabled");
    command
}

/// Starts an app and returns its process, a child of the caller's if that is a PID namespace's first process.
pub fn start(pod: &Path, bundle: &Path, app: &str) -> anyhow::Result<i32> {
    let pid_file = bundle.join("pid");
    let mut run = command(pod);
    run.arg("run").arg("--detach").arg("--bundle").arg(bundle).arg("--pid-file").arg(&pid_file).arg(app);
    let status = run.stdin(Stdio::null()).status().with_context(not_started)?;
    if !status.success() {
        bail!("app {app}: {PROGRAM} failed ({status}); its message is above");
    }
    pid(&pid_file)
}

fn pid(file: &PathBuf) -> anyhow::Result<i32> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    text.trim().parse().with_context(|| format!("{}: {text:?} is no process ID", file.display()))
}

pub fn not_started() -> String {
    format!("cannot start {PROGRAM}, the OCI runtime (package {PROGRAM})")
}
