//! Runs programs from `PATH` and reports their output on failure.

use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Why a program had no success.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ProgramError {
    #[error("cannot run {program}")]
    Run { program: &'static str, source: io::Error },
    #[error("{program} failed with {status}: {output}")]
    Failed { program: &'static str, status: String, output: String },
}

impl ProgramError {
    /// The program is not installed.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Run { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Runs a program to completion. `input` is written to its stdin and never logged.
///
/// # Errors
/// It cannot be run or fails; its output is part of the message.
pub fn run<A: AsRef<str>>(program: &'static str, arguments: &[A], input: &str) -> Result<(), ProgramError> {
    let failed = |source| ProgramError::Run { program, source };
    let mut command = Command::new(program);
    command.args(arguments.iter().map(AsRef::as_ref));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        match pipe.write_all(input.as_bytes()) {
            // A program that exits without reading its input reports the reason in its exit status.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(failed(error)),
            _ => {}
        }
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&text).trim().to_owned();
    Err(ProgramError::Failed { program, status: output.status.to_string(), output: output_text })
}
