//! How lists are shown: once, or again whenever they change.

use std::io::IsTerminal as _;
use std::time::Duration;

use command_line::ParsedArgs;
use serde_json::Value;

use crate::columns::{JSON, WATCH};
use crate::failure::Failure;
use crate::stdout::say;
use crate::table;

/// How often a list that is watched is asked for.
const PAUSE: Duration = Duration::from_secs(1);

/// Moves to the corner and erases the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What a list is, before it is text.
pub struct Shown {
    pub table: Vec<Vec<String>>,
    pub json: Value,
}

pub async fn show(given: &ParsedArgs, ask: impl AsyncFn() -> Result<Shown, Failure>) -> Result<(), Failure> {
    if !given.is_set(WATCH.name()) {
        return say(&text(given, &ask().await?));
    }
    tokio::select! {
        done = watch(given, ask) => done,
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
    }
}

fn text(given: &ParsedArgs, shown: &Shown) -> String {
    if given.is_set(JSON.name()) { format!("{}\n", shown.json) } else { table::lines(&shown.table) }
}

/// A failure is told and the watch goes on: it is there to see how things change.
async fn watch(given: &ParsedArgs, ask: impl AsyncFn() -> Result<Shown, Failure>) -> Result<(), Failure> {
    let on_screen = std::io::stdout().is_terminal() && !given.is_set(JSON.name());
    let mut before = None;
    let mut complaint = None;
    loop {
        match ask().await {
            Ok(shown) => {
                complaint = None;
                let now = text(given, &shown);
                if before.as_ref() != Some(&now) {
                    let apart = match (on_screen, &before) {
                        (true, _) => CLEAR,
                        (false, Some(_)) if !given.is_set(JSON.name()) => "\n",
                        _ => "",
                    };
                    say(&format!("{apart}{now}"))?;
                    before = Some(now);
                }
            }
            Err(failure) => {
                if complaint != failure.text
                    && let Some(text) = &failure.text
                {
                    eprintln!("{text}");
                }
                complaint = failure.text;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
