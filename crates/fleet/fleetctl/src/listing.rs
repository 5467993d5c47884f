//! Prints lists, once or whenever they change.

use std::io::IsTerminal as _;
use std::time::Duration;

use command_line::ParsedArgs;
use serde_json::Value;

use crate::columns::{JSON, WATCH};
use crate::failure::Failure;
use crate::stdout::print;
use crate::table;

/// Interval of requests with `--watch`.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Moves the cursor to the top left and erases the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// A list in both output formats.
pub struct Listing {
    pub table: Vec<Vec<String>>,
    pub json: Value,
}

pub async fn print_list(
    args: &ParsedArgs,
    fetch: impl AsyncFn() -> Result<Listing, Failure>,
) -> Result<(), Failure> {
    if !args.is_set(WATCH.name()) {
        return print(&render(args, &fetch().await?));
    }
    tokio::select! {
        done = watch(args, fetch) => done,
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
    }
}

fn render(args: &ParsedArgs, listing: &Listing) -> String {
    if args.is_set(JSON.name()) { format!("{}\n", listing.json) } else { table::render(&listing.table) }
}

/// Failures are printed and do not end the watch.
async fn watch(args: &ParsedArgs, fetch: impl AsyncFn() -> Result<Listing, Failure>) -> Result<(), Failure> {
    let clears_screen = std::io::stdout().is_terminal() && !args.is_set(JSON.name());
    let mut previous = None;
    let mut last_error = None;
    loop {
        match fetch().await {
            Ok(listing) => {
                last_error = None;
                let current = render(args, &listing);
                if previous.as_ref() != Some(&current) {
                    let separator = match (clears_screen, &previous) {
                        (true, _) => CLEAR,
                        (false, Some(_)) if !args.is_set(JSON.name()) => "\n",
                        _ => "",
                    };
                    print(&format!("{separator}{current}"))?;
                    previous = Some(current);
                }
            }
            Err(failure) => {
                if last_error != failure.text
                    && let Some(text) = &failure.text
                {
                    eprintln!("{text}");
                }
                last_error = failure.text;
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
