//! A command or a shell on the other side, with our standard input and output.

use std::fs::File;
use std::io::{self, IsTerminal as _, PipeReader, PipeWriter, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};

use crate::connection::{Connection, broken};
use crate::control::{Control, Event};
use crate::error::Error;
use crate::input::Until;
use crate::limits::OUTPUT_BYTES;
use crate::pump::{on_thread, pump};
use crate::terminal::Raw;

/// What runs over there.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    Command(&'a str),
    /// With a terminal where we have one.
    Shell,
}

const TERMINAL: &str = "xterm-256color";

/// The code of a command that a signal ended, as ssh gives it.
const SIGNALLED: u8 = 255;

impl Connection {
    /// Runs it to its end; gives its exit code.
    ///
    /// Of our own files `ssh` gets the terminal alone, whose modes and size it needs. It would set others to non-blocking, for
    /// every process that has them.
    pub async fn run(&self, what: What<'_>) -> Result<u8, Error> {
        let terminal = matches!(what, What::Shell) && io::stdin().is_terminal();
        let (input, typed) = if terminal { own_input() } else { piped_input() }?;
        let (output, stdout) = io::pipe().map_err(Error::Local)?;
        let (errors, stderr) = io::pipe().map_err(Error::Local)?;
        let command = if let What::Command(command) = what { command } else { "" };
        let files = [input, stdout.into(), stderr.into()];
        let control = self.session(command, terminal.then_some(TERMINAL), files).await?;
        // The other side has the terminal's modes by now.
        let raw = terminal.then(Raw::begin).transpose().map_err(Error::Terminal)?;
        let feeding = typed.map(feed).transpose().map_err(Error::Local)?;
        // What was written before the connection broke is shown; where it cannot be shown, nothing is waited for.
        let code = async { Ok::<_, Error>(self.exit_code(control).await) };
        let ended = tokio::try_join!(code, show(output, io::stdout()), show(errors, io::stderr()));
        drop((raw, feeding));
        ended?.0
    }

    /// Runs a command that reads nothing; gives its exit code and what it wrote, up to a limit. What it writes to
    /// standard error is shown.
    pub async fn output(&self, command: &str) -> Result<(u8, Vec<u8>), Error> {
        let input = File::open("/dev/null").map_err(Error::Local)?;
        let (output, stdout) = io::pipe().map_err(Error::Local)?;
        let (errors, stderr) = io::pipe().map_err(Error::Local)?;
        let control = self.session(command, None, [input.into(), stdout.into(), stderr.into()]).await?;
        let kept = async { on_thread(move || keep(output)).await.map_err(Error::Local) };
        let code = self.exit_code(control);
        let (code, kept, ()) = tokio::try_join!(code, kept, show(errors, io::stderr()))?;
        Ok((code, kept))
    }

    async fn exit_code(&self, mut control: Control) -> Result<u8, Error> {
        let mut code = None;
        loop {
            match (control.event().await.map_err(Error::Local)?, code) {
                (Event::Exit(value), _) => code = Some(value.min(255) as u8),
                (Event::NoTerminal, _) => return Err(Error::Refused("give a terminal".to_owned())),
                (Event::Closed, Some(code)) => return Ok(code),
                (Event::Closed, None) => break,
            }
        }
        // A master that still answers has seen the command end, and by a signal.
        self.master.control().await.map_err(broken)?;
        Ok(SIGNALLED)
    }
}

type Input = (OwnedFd, Option<PipeWriter>);

fn own_input() -> Result<Input, Error> {
    Ok((io::stdin().as_fd().try_clone_to_owned().map_err(Error::Terminal)?, None))
}

fn piped_input() -> Result<Input, Error> {
    let (input, typed) = io::pipe().map_err(Error::Local)?;
    Ok((input.into(), Some(typed)))
}

/// Passes our standard input on until the result is dropped.
fn feed(typed: PipeWriter) -> io::Result<PipeWriter> {
    let (until, stop) = io::pipe()?;
    // Its end is the command's to notice, and so is an error of it.
    std::thread::spawn(move || drop(pump(Until(io::stdin(), until), typed)));
    Ok(stop)
}

async fn show(from: PipeReader, to: impl io::Write + Send + 'static) -> Result<(), Error> {
    on_thread(move || pump(from, to)).await.map_err(Error::Terminal)
}

/// What is over the limit is read, so that the command ends.
fn keep(mut output: PipeReader) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    output.by_ref().take(OUTPUT_BYTES).read_to_end(&mut kept)?;
    pump(output, io::sink())?;
    Ok(kept)
}
