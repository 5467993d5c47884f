//! Runs local programs with fixed arguments and a validated unit name, without a shell.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use fleet_api::ErrorDocument;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::response::{api_error, internal_error};

/// Killed on drop.
pub struct RunningProgram {
    child: Child,
    /// Standard output and error, interleaved.
    pub output: Receiver,
    _permit: OwnedSemaphorePermit,
}

impl RunningProgram {
    pub fn start(program: &Path, args: &[&str], permits: &Arc<Semaphore>) -> Result<Self, ErrorDocument> {
        let permit = permits.clone().try_acquire_owned();
        let permit =
            permit.map_err(|_| api_error(429, "too many statuses and journals at once: try again later"))?;
        let spawned = start(program, args);
        let (child, output) =
            spawned.map_err(|error| internal_error(&format!("running {}", program.display()), &error))?;
        Ok(Self { child, output, _permit: permit })
    }

    /// Waits for the exit, after killing the program if `kill` is set.
    pub async fn finish(mut self, kill: bool) -> io::Result<ExitStatus> {
        if kill {
            self.child.start_kill()?;
        }
        drop(self.output);
        self.child.wait().await
    }
}

fn start(program: &Path, args: &[&str]) -> io::Result<(Child, Receiver)> {
    let (reader, writer) = io::pipe()?;
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, Receiver::from_owned_fd(reader.into())?))
}
