//! Remote commands and shells with the standard streams of this process.

use std::fs::File;
use std::io::{self, IsTerminal as _, PipeReader, PipeWriter, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};

use crate::connection::{Connection, control_error};
use crate::control::{Control, Event};
use crate::copy::{copy, on_thread};
use crate::error::Error;
use crate::input::Interruptible;
use crate::limits::OUTPUT_BYTES;
use crate::terminal::RawMode;

/// What the server runs.
#[derive(Debug, Clone, Copy)]
pub enum SessionRequest<'a> {
    /// Executed by the user's shell on the server.
    Command(&'a str),
    /// With a terminal if standard input is one.
    Shell,
}

const TERMINAL: &str = "xterm-256color";

/// Exit code for a command that a signal ended, as in `ssh`.
const SIGNALLED: u8 = 255;

impl Connection {
    /// Runs to completion; returns the exit code.
    ///
    /// `ssh` inherits only a terminal, whose modes and size it needs. It sets inherited files to non-blocking, which
    /// would affect all processes that share them.
    pub async fn run(&self, request: SessionRequest<'_>) -> Result<u8, Error> {
        let terminal = matches!(request, SessionRequest::Shell) && io::stdin().is_terminal();
        let (input, stdin_pipe) = if terminal { terminal_input() } else { piped_input() }?;
        let (output, stdout) = io::pipe().map_err(Error::Local)?;
        let (errors, stderr) = io::pipe().map_err(Error::Local)?;
        let command = if let SessionRequest::Command(command) = request { command } else { "" };
        let files = [input, stdout.into(), stderr.into()];
        let control = self.session(command, terminal.then_some(TERMINAL), files).await?;
        // The server has received the terminal's modes.
        let raw = terminal.then(RawMode::enable).transpose().map_err(Error::Terminal)?;
        let stop_stdin = stdin_pipe.map(forward_stdin).transpose().map_err(Error::Local)?;
        // Output from before a disconnect is printed; a failed write ends the wait.
        let code = async { Ok::<_, Error>(self.exit_code(control).await) };
        let results = tokio::try_join!(
            code,
            forward_output(output, io::stdout()),
            forward_output(errors, io::stderr())
        );
        drop((raw, stop_stdin));
        results?.0
    }

    /// Runs a command without input; returns its exit code and its output up to `OUTPUT_BYTES`. Its standard error is
    /// forwarded.
    pub async fn output(&self, command: &str) -> Result<(u8, Vec<u8>), Error> {
        let input = File::open("/dev/null").map_err(Error::Local)?;
        let (output, stdout) = io::pipe().map_err(Error::Local)?;
        let (errors, stderr) = io::pipe().map_err(Error::Local)?;
        let control = self.session(command, None, [input.into(), stdout.into(), stderr.into()]).await?;
        let output = async { on_thread(move || read_limited(output)).await.map_err(Error::Local) };
        let code = self.exit_code(control);
        let (code, output, ()) = tokio::try_join!(code, output, forward_output(errors, io::stderr()))?;
        Ok((code, output))
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
        // The master still responds, so a signal ended the command.
        self.master.control().await.map_err(control_error)?;
        Ok(SIGNALLED)
    }
}

type Input = (OwnedFd, Option<PipeWriter>);

fn terminal_input() -> Result<Input, Error> {
    Ok((io::stdin().as_fd().try_clone_to_owned().map_err(Error::Terminal)?, None))
}

fn piped_input() -> Result<Input, Error> {
    let (input, stdin_pipe) = io::pipe().map_err(Error::Local)?;
    Ok((input.into(), Some(stdin_pipe)))
}

/// Forwards standard input until the result is dropped.
fn forward_stdin(stdin_pipe: PipeWriter) -> io::Result<PipeWriter> {
    let (stop_reader, stop) = io::pipe()?;
    // The command sees the end of the input, or an error.
    std::thread::spawn(move || drop(copy(Interruptible(io::stdin(), stop_reader), stdin_pipe)));
    Ok(stop)
}

async fn forward_output(from: PipeReader, to: impl io::Write + Send + 'static) -> Result<(), Error> {
    on_thread(move || copy(from, to)).await.map_err(Error::Terminal)
}

/// Discards output over the limit, so that the command can exit.
fn read_limited(mut pipe: PipeReader) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    pipe.by_ref().take(OUTPUT_BYTES).read_to_end(&mut output)?;
    copy(pipe, io::sink())?;
    Ok(output)
}
