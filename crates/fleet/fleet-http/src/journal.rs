//! `GET /units/NAME/journal`: streams a unit's journal from this machine.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fleet_api::ErrorDocument;
use http_server::Shutdown;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use crate::backend::Backend;
use crate::context::ApiContext;
use crate::limits::{JOURNAL_CHUNK_BYTES, JOURNAL_CHUNKS, JOURNAL_LINES};
use crate::payload::Payload;
use crate::program::RunningProgram;
use crate::request::Target;
use crate::response::{ApiResult, TEXT, api_error, response};
use crate::status::local_unit;
use crate::stream::Stream;

/// Conditions that end a followed journal.
pub struct Cancellation {
    pub client: Arc<Stream>,
    pub shutdown: Shutdown,
}

pub fn get<B: Backend>(
    context: &ApiContext<B>,
    name: &str,
    target: &Target,
    cancellation: Cancellation,
) -> ApiResult {
    let lines = lines(target)?;
    let follow = follow(target)?;
    let output = output(target)?;
    let name = local_unit(context, name, target)?;
    let mut args = vec!["--unit", name.as_str(), "--no-pager", "-n", &lines];
    if let Some(mode) = output {
        args.extend(["--output", mode]);
    }
    if follow {
        args.push("-f");
    }
    let running = RunningProgram::start(&context.programs.journalctl, &args, &context.permits)?;
    let (sender, chunks) = mpsc::channel(JOURNAL_CHUNKS);
    tokio::spawn(forward(running, sender, cancellation, follow));
    Ok(response(TEXT, Payload::Chunks(chunks)))
}

fn invalid_value(value: &str, name: &str, expected: &str) -> ErrorDocument {
    api_error(400, format!("invalid value {value:?} for {name}: {expected}"))
}

fn lines(target: &Target) -> Result<String, ErrorDocument> {
    let Some(value) = target.value("lines") else { return Ok(JOURNAL_LINES.to_string()) };
    match value.parse::<u32>() {
        Ok(lines) => Ok(lines.to_string()),
        Err(_) => Err(invalid_value(value, "lines", "use a whole number")),
    }
}

fn follow(target: &Target) -> Result<bool, ErrorDocument> {
    match target.value("follow") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(invalid_value(other, "follow", "use `true` or `false`")),
    }
}

/// A mode of journalctl's `--output`: lower-case letters and dashes.
fn output(target: &Target) -> Result<Option<&str>, ErrorDocument> {
    let Some(mode) = target.value("output") else { return Ok(None) };
    let is_word = mode.starts_with(|c: char| c.is_ascii_lowercase())
        && mode.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    if is_word {
        Ok(Some(mode))
    } else {
        Err(invalid_value(mode, "output", "use a mode of journalctl's --output"))
    }
}

/// Forwards the output until the program exits or the client disconnects. A client that has closed its sending side
/// still receives the complete output, unless the journal is followed.
async fn forward(
    mut running: RunningProgram,
    to: mpsc::Sender<Bytes>,
    mut cancellation: Cancellation,
    follow: bool,
) {
    let disconnected = async {
        match follow {
            true => cancellation.client.closed().await,
            false => std::future::pending().await,
        }
    };
    tokio::pin!(disconnected);
    let mut chunk = BytesMut::new();
    let exited = loop {
        chunk.reserve(JOURNAL_CHUNK_BYTES);
        tokio::select! {
            read = running.output.read_buf(&mut chunk) => match read {
                Ok(0) => break true,
                Ok(_) if to.send(chunk.split().freeze()).await.is_ok() => {}
                Ok(_) => break false,
                Err(error) => {
                    tracing::warn!(%error, "reading the journal");
                    break false;
                }
            },
            () = &mut disconnected => break false,
            () = to.closed() => break false,
            () = cancellation.shutdown.requested() => break false,
        }
    };
    if let Err(error) = running.finish(!exited).await {
        tracing::warn!(%error, "ending journalctl");
    }
    // Ends the response. Waiting for the connection thus includes waiting for the program.
    drop(to);
}
