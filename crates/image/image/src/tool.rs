//! Runs build tools and reports their output on failure.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use sandbox::{Sandbox, SandboxError};

/// Lines of a failed tool's output in an error.
const OUTPUT_LINES: usize = 10;

#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("cannot run {program}")]
    Start { program: String, source: io::Error },
    #[error("{program} failed ({status}):\n{output}")]
    Failed { program: String, status: String, output: String },
    #[error("{0} was interrupted; the same command resumes the build")]
    Interrupted(String),
}

pub fn command(tools: &Sandbox, program: &str) -> Result<Command, ToolError> {
    Ok(tools.command(program)?)
}

#[allow(unsafe_code, reason = "a system call between fork and exec")]
pub fn run(command: &mut Command) -> Result<String, ToolError> {
    let program = command.get_program().to_string_lossy().into_owned();
    // SAFETY: one system call between fork and exec. A tool must not keep writing to the folder of a killed build.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?));
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ToolError::Start { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    // Ctrl-C in a terminal also reaches the tool.
    if output.status.signal() == Some(nix::sys::signal::Signal::SIGINT as i32) {
        return Err(ToolError::Interrupted(program));
    }
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(OUTPUT_LINES)..].join("\n");
    Err(ToolError::Failed { program, status: output.status.to_string(), output: tail })
}
