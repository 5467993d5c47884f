//! A command or a shell over there, with our standard input and output.

use std::io::{self, IsTerminal as _, Read as _};
use std::sync::atomic::Ordering;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::connection::Connection;
use crate::error::Error;
use crate::limits::{INPUT_BUFFERS, INPUT_BYTES, OUTPUT_BYTES};
use crate::terminal::{self, Raw};

/// What runs over there.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    Command(&'a str),
    /// With a terminal where we have one.
    Shell,
}

const TERMINAL: &str = "xterm-256color";

/// The code of what was ended by a signal, as ssh gives it.
const SIGNALLED: u8 = 255;

/// The extended data that is standard error.
const STDERR: u32 = 1;

impl Connection {
    /// Runs it to its end; gives its exit code.
    pub async fn run(&self, what: What<'_>, forward_agent: bool) -> Result<u8, Error> {
        let channel = self.handle.channel_open_session().await?;
        if forward_agent && self.agent.is_some() {
            self.progress.forwarding.store(true, Ordering::Relaxed);
            channel.agent_forward(true).await?;
        }
        let mut raw = None;
        match what {
            What::Command(command) => channel.exec(true, command).await?,
            What::Shell => {
                if io::stdin().is_terminal() {
                    let (columns, rows) = terminal::size();
                    channel.request_pty(true, TERMINAL, columns, rows, 0, 0, &[]).await?;
                    raw = Raw::begin().map_err(Error::Terminal)?;
                }
                channel.request_shell(true).await?;
            }
        }
        let resized = signal(SignalKind::window_change()).map_err(Error::Terminal)?;
        let (read, write) = channel.split();
        let ended = exchange(read, write, resized, raw.is_some()).await;
        drop(raw);
        ended
    }

    /// Runs a command that is told nothing; gives its exit code and what it wrote, up to a limit. What it says on
    /// standard error is shown.
    pub async fn output(&self, command: &str) -> Result<(u8, Vec<u8>), Error> {
        let mut channel = self.handle.channel_open_session().await?;
        channel.exec(true, command).await?;
        channel.eof().await?;
        let (mut code, mut output) = (None, Vec::new());
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Data { data }) => {
                    let room = OUTPUT_BYTES.saturating_sub(output.len());
                    output.extend_from_slice(&data[..data.len().min(room)]);
                }
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => show(&mut io::stderr(), &data)?,
                Some(ChannelMsg::ExitStatus { exit_status }) => code = Some(exit_status.min(255) as u8),
                Some(ChannelMsg::ExitSignal { .. }) => code = Some(SIGNALLED),
                Some(ChannelMsg::Failure) => return Err(Error::Refused("run it")),
                Some(ChannelMsg::Close) | None => return Ok((code.ok_or(Error::Cut)?, output)),
                Some(_) => {}
            }
        }
    }
}

async fn exchange(
    mut read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    mut resized: Signal,
    on_terminal: bool,
) -> Result<u8, Error> {
    let mut input = input();
    let mut typing = true;
    let mut code = None;
    loop {
        tokio::select! {
            said = read.wait() => match said {
                Some(ChannelMsg::Data { data }) => show(&mut io::stdout(), &data)?,
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => show(&mut io::stderr(), &data)?,
                Some(ChannelMsg::ExitStatus { exit_status }) => code = Some(exit_status.min(255) as u8),
                Some(ChannelMsg::ExitSignal { .. }) => code = Some(SIGNALLED),
                Some(ChannelMsg::Failure) => return Err(Error::Refused("run it")),
                Some(ChannelMsg::Close) | None => return code.ok_or(Error::Cut),
                Some(_) => {}
            },
            typed = input.recv(), if typing => match typed {
                Some(bytes) => write.data_bytes(bytes).await?,
                None => {
                    typing = false;
                    write.eof().await?;
                }
            },
            Some(()) = resized.recv(), if on_terminal => {
                let (columns, rows) = terminal::size();
                write.window_change(columns, rows, 0, 0).await?;
            }
        }
    }
}

fn show(to: &mut impl io::Write, bytes: &[u8]) -> Result<(), Error> {
    to.write_all(bytes).and_then(|()| to.flush()).map_err(Error::Terminal)
}

/// Standard input, read by a thread of its own: a read of a terminal can not be given up.
fn input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(INPUT_BUFFERS);
    std::thread::spawn(move || {
        let mut buffer = vec![0; INPUT_BYTES];
        while let Ok(length) = io::stdin().read(&mut buffer) {
            if length == 0 || sender.blocking_send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
