//! `status`: who holds the lock.

use std::collections::BTreeSet;
use std::time::Duration;

use command_line::{Flag, ParsedArgs};
use go_compat::format_duration;
use jiff::Timestamp;
use locksmith_core::{HolderMetadata, LockMetadata, STALE_AFTER, Semaphore, Staleness, staleness};
use serde::Serialize;

use super::super::command::{Command, Run};
use super::super::failure::Failure;
use super::super::session::{Session, failed};
use super::super::stdout::print;
use crate::io::fleet;

const VERBOSE: Flag =
    Flag::switch("verbose", "with each holder, since when and why, and whether it is dead by the rule");
const JSON: Flag = Flag::switch("json", "the same as one JSON document");

pub const COMMAND: Command = Command {
    name: "status",
    arguments: "",
    summary: "Get the status of the cluster wide reboot lock.",
    description: &[
        "Shows how many machines may reboot at once, how many more of them now, and who holds the lock.",
    ],
    flags: &[VERBOSE, JSON, STALE_AFTER],
    examples: &[
        ("locksmithctl status", "as it always was"),
        ("locksmithctl status --verbose", "since when and why"),
    ],
    run: Run::Execute(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let lock = session.lock().await?;
    let failed = |error| failed("getting value", &error);
    if !args.is_set(VERBOSE.name()) && !args.is_set(JSON.name()) {
        return print(&plain(&lock.semaphore().await.map_err(failed)?));
    }
    let metadata = lock.metadata().await.map_err(failed)?;
    let semaphore = lock.semaphore().await.map_err(failed)?;
    // Optional: only staleness depends on it.
    let live = fleet::live_machines(&session.fleet()?).await.ok();
    let min_age = args.duration_or_default(STALE_AFTER.name());
    let report = Report::of(&semaphore, &metadata, live.as_ref(), Timestamp::now(), min_age);
    if args.is_set(JSON.name()) {
        let text = serde_json::to_string(&report).map_err(|error| Failure::new(error.to_string()))?;
        return print(&format!("{text}\n"));
    }
    print(&report.verbose(Timestamp::now()))
}

fn plain(semaphore: &Semaphore) -> String {
    let mut text = format!("Available: {}\nMax: {}\n", semaphore.available(), semaphore.max());
    if !semaphore.holders().is_empty() {
        text.push_str("\nMACHINE ID\n");
        semaphore.holders().iter().for_each(|id| text.push_str(&format!("{id}\n")));
    }
    text
}

#[derive(Serialize)]
struct Report<'a> {
    available: i64,
    max: i64,
    holders: Vec<Holder<'a>>,
}

#[derive(Serialize)]
struct Holder<'a> {
    id: &'a str,
    #[serde(flatten)]
    metadata: Option<&'a HolderMetadata>,
    stale: bool,
    /// Why the holder is not stale.
    #[serde(rename = "aliveBecause", skip_serializing_if = "Option::is_none")]
    alive: Option<&'static str>,
}

impl<'a> Report<'a> {
    fn of(
        semaphore: &'a Semaphore,
        metadata: &'a LockMetadata,
        live: Option<&BTreeSet<String>>,
        now: Timestamp,
        min_age: Duration,
    ) -> Self {
        let holder = |id: &'a String| {
            let metadata = metadata.get(id);
            let alive = match staleness(id, metadata, live, now, min_age) {
                Staleness::Alive(reason) => Some(reason),
                Staleness::Stale => None,
            };
            Holder { id, metadata, stale: alive.is_none(), alive }
        };
        Self {
            available: semaphore.available(),
            max: semaphore.max(),
            holders: semaphore.holders().iter().map(holder).collect(),
        }
    }

    fn verbose(&self, now: Timestamp) -> String {
        let mut text = format!("Available: {}\nMax: {}\n", self.available, self.max);
        if self.holders.is_empty() {
            return text;
        }
        let rows: Vec<[String; 5]> = self.holders.iter().map(|holder| holder.row(now)).collect();
        let head = ["MACHINE ID", "FOR", "VERSION", "REASON", "STALE"].map(str::to_owned);
        let all: Vec<&[String; 5]> = std::iter::once(&head).chain(&rows).collect();
        let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        text.push('\n');
        for row in &all {
            let cells: Vec<String> =
                row.iter().enumerate().map(|(column, cell)| format!("{cell:0$}", width(column))).collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

impl Holder<'_> {
    fn row(&self, now: Timestamp) -> [String; 5] {
        let since = |metadata: &HolderMetadata| {
            let age = Duration::try_from(now.duration_since(metadata.since)).unwrap_or_default();
            format_duration(Duration::from_secs(age.as_secs()))
        };
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        [
            self.id.to_owned(),
            self.metadata.map_or_else(|| "-".to_owned(), since),
            or_dash(self.metadata.map_or("", |metadata| &metadata.version)),
            or_dash(self.metadata.map_or("", |metadata| &metadata.reason)),
            match self.alive {
                None => "yes".to_owned(),
                Some(reason) => format!("no: {reason}"),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE_AFTER: Duration = Duration::from_secs(60 * 60);
    const NOW: &str = "2026-11-21T15:00:00Z";

    fn held() -> Semaphore {
        Semaphore::decode(r#"{"semaphore":0,"max":2,"holders":["m1","work"]}"#).unwrap()
    }

    fn metadata() -> LockMetadata {
        LockMetadata::decode(
            r#"{"m1":{"since":"2026-11-21T13:00:00Z","bootID":"b","version":"2.0.0","reason":"update to 3.0.0"}}"#,
        )
        .unwrap()
    }

    #[test]
    fn plain_format() {
        assert_eq!(plain(&Semaphore::default()), "Available: 1\nMax: 1\n");
        assert_eq!(plain(&held()), "Available: 0\nMax: 2\n\nMACHINE ID\nm1\nwork\n");
    }

    #[test]
    fn verbose() {
        let now = NOW.parse().unwrap();
        let (held, metadata, live) = (held(), metadata(), BTreeSet::new());
        let report = Report::of(&held, &metadata, Some(&live), now, STALE_AFTER);
        assert_eq!(
            report.verbose(now),
            "Available: 0\nMax: 2\n\n\
             MACHINE ID  FOR     VERSION  REASON           STALE\n\
             m1          2h0m0s  2.0.0    update to 3.0.0  yes\n\
             work        -       -        -                no: it is unknown since when it holds the lock\n"
        );
        let none = Semaphore::default();
        assert_eq!(
            Report::of(&none, &metadata, None, now, STALE_AFTER).verbose(now),
            "Available: 1\nMax: 1\n"
        );
    }

    #[test]
    fn json() {
        let now = NOW.parse().unwrap();
        let (held, metadata) = (held(), metadata());
        let report = Report::of(&held, &metadata, None, now, STALE_AFTER);
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"available":0,"max":2,"holders":[{"id":"m1","since":"2026-11-21T13:00:00Z","bootID":"b","version":"2.0.0","reason":"update to 3.0.0","stale":false,"aliveBecause":"the cluster manager could not be queried"},{"id":"work","stale":false,"aliveBecause":"it is unknown since when it holds the lock"}]}"#
        );
    }
}
