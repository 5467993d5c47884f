//! A program of this machine, with fixed words and a checked name, never through a shell.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use fleet_api::ErrorDocument;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::{broken, refuse};

/// It runs; it is killed where this is dropped.
pub struct Running {
    child: Child,
    /// All that it says, in its order: stdout and stderr.
    pub output: Receiver,
    _place: OwnedSemaphorePermit,
}

impl Running {
    pub fn start(program: &Path, words: &[&str], places: &Arc<Semaphore>) -> Result<Self, ErrorDocument> {
        let place = places.clone().try_acquire_owned();
        let place =
            place.map_err(|_| refuse(429, "too many statuses and journals at once: try again later"))?;
        let started = start(program, words);
        let (child, output) =
            started.map_err(|error| broken(&format!("running {}", program.display()), &error))?;
        Ok(Self { child, output, _place: place })
    }

    /// Waits for its end; `kill` does not wait for it to come by itself.
    pub async fn end(mut self, kill: bool) -> io::Result<ExitStatus> {
        if kill {
            self.child.start_kill()?;
        }
        drop(self.output);
        self.child.wait().await
    }
}

fn start(program: &Path, words: &[&str]) -> io::Result<(Child, Receiver)> {
    let (reader, writer) = io::pipe()?;
    let child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, Receiver::from_owned_fd(reader.into())?))
}
