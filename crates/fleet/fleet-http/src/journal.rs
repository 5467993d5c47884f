//! `GET /units/NAME/journal`: what a unit wrote on this machine, as it comes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fleet_api::ErrorDocument;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use crate::answer::{Answered, TEXT, refuse, with};
use crate::backend::Backend;
use crate::front::Front;
use crate::limits::{JOURNAL_LINES, JOURNAL_PIECE_BYTES, JOURNAL_PIECES};
use crate::payload::Payload;
use crate::program::Running;
use crate::request::Target;
use crate::status::on_this_machine;
use crate::stop::Stopping;
use crate::stream::Stream;

/// When nobody waits any more for what a unit will write.
pub struct Ends {
    pub client: Arc<Stream>,
    pub stopping: Stopping,
}

pub fn get<B: Backend>(front: &Front<B>, name: &str, target: &Target, ends: Ends) -> Answered {
    let lines = lines(target)?;
    let follow = follow(target)?;
    let output = output(target)?;
    let name = on_this_machine(front, name, target)?;
    let mut words = vec!["--unit", name.as_str(), "--no-pager", "-n", &lines];
    if let Some(mode) = output {
        words.extend(["--output", mode]);
    }
    if follow {
        words.push("-f");
    }
    let running = Running::start(&front.programs.journalctl, &words, &front.places)?;
    let (sender, pieces) = mpsc::channel(JOURNAL_PIECES);
    tokio::spawn(pass_on(running, sender, ends, follow));
    Ok(with(TEXT, Payload::Pieces(pieces)))
}

fn wrong(value: &str, name: &str, right: &str) -> ErrorDocument {
    refuse(400, format!("invalid value {value:?} for {name}: {right}"))
}

fn lines(target: &Target) -> Result<String, ErrorDocument> {
    let Some(given) = target.value("lines") else { return Ok(JOURNAL_LINES.to_string()) };
    match given.parse::<u32>() {
        Ok(lines) => Ok(lines.to_string()),
        Err(_) => Err(wrong(given, "lines", "use a whole number")),
    }
}

fn follow(target: &Target) -> Result<bool, ErrorDocument> {
    match target.value("follow") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(wrong(other, "follow", "use `true` or `false`")),
    }
}

/// One of journalctl's modes, which are words.
fn output(target: &Target) -> Result<Option<&str>, ErrorDocument> {
    let Some(mode) = target.value("output") else { return Ok(None) };
    let is_word = mode.starts_with(|c: char| c.is_ascii_lowercase())
        && mode.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    if is_word { Ok(Some(mode)) } else { Err(wrong(mode, "output", "use a mode of journalctl's --output")) }
}

/// Until the program ends, or nobody reads on. A client that has closed its half of the connection still gets all
/// that there is; it is not waited for with what comes later.
async fn pass_on(mut running: Running, to: mpsc::Sender<Bytes>, mut ends: Ends, follow: bool) {
    let gone = async {
        match follow {
            true => ends.client.ended().await,
            false => std::future::pending().await,
        }
    };
    tokio::pin!(gone);
    let mut piece = BytesMut::new();
    let by_itself = loop {
        piece.reserve(JOURNAL_PIECE_BYTES);
        tokio::select! {
            read = running.output.read_buf(&mut piece) => match read {
                Ok(0) => break true,
                Ok(_) if to.send(piece.split().freeze()).await.is_ok() => {}
                Ok(_) => break false,
                Err(error) => {
                    tracing::warn!(%error, "reading the journal");
                    break false;
                }
            },
            () = &mut gone => break false,
            () = to.closed() => break false,
            () = ends.stopping.reached() => break false,
        }
    };
    if let Err(error) = running.end(!by_itself).await {
        tracing::warn!(%error, "ending journalctl");
    }
    // Only now the answer ends: what waits for the connection has waited for the program.
    drop(to);
}
