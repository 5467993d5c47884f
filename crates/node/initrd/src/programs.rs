//! Runs the initrd's programs.

use std::io;
use std::process::{Command, ExitStatus};

use crate::kernel_log;

#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("cannot start {program}")]
    Start { program: String, source: io::Error },
    #[error("{program}: {status}")]
    Failed { program: String, status: ExitStatus },
}

/// The kernel sets no `PATH`.
const PATH: &str = "/usr/bin:/usr/sbin";

/// Runs a program to completion; its output goes to the kernel log.
pub fn run(command: &mut Command) -> Result<(), ProgramError> {
    run_accepting(command, &[0])
}

/// Like [`run`], with these exit codes counted as success.
pub fn run_accepting(command: &mut Command, codes: &[i32]) -> Result<(), ProgramError> {
    output_accepting(command, codes).map(drop)
}

/// Like [`run`]; returns the first line that the program prints.
pub fn first_line(command: &mut Command) -> Result<String, ProgramError> {
    let output = output_accepting(command, &[0])?;
    Ok(output.lines().next().unwrap_or_default().to_owned())
}

fn output_accepting(command: &mut Command, codes: &[i32]) -> Result<String, ProgramError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("PATH", PATH)
        .output()
        .map_err(|source| ProgramError::Start { program: program.clone(), source })?;
    let is_success = output.status.code().is_some_and(|code| codes.contains(&code));
    let log = if is_success { kernel_log::info } else { kernel_log::warning };
    for output in [&output.stdout, &output.stderr] {
        log(&String::from_utf8_lossy(output));
    }
    if is_success {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(ProgramError::Failed { program, status: output.status })
    }
}
