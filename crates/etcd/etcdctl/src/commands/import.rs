//! `import`: imports the keys of an etcd 0.4 snapshot.

use std::time::Duration;

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::{Client, SetOptions};
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::snapshot::{self, Key, Snapshot, SnapshotError};
use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::stdout::print;

/// Minimum TTL of imported keys, also of expired ones: services renew their keys within that time.
const MIN_TTL: Duration = Duration::from_secs(300);
/// Upper limit of `-c`.
const MAX_CLIENTS: u64 = 1024;

pub const COMMAND: Command = Command {
    name: "import",
    arguments: "",
    summary: "import the keys of an etcd 0.4 snapshot",
    description: &[
        "The snapshot is either the response of http://NODE:4001/v2/migration/snapshot of etcd 0.4.9, or the",
        "latest .ss file in the snapshot directory below its data directory. Keys get new indexes, directories",
        "lose their TTL, and a TTL of less than 300 seconds is raised to 300 seconds.",
    ],
    flags: &[
        Flag::new("snap", ValueKind::File, "snapshot file to import"),
        Flag::new("hidden", ValueKind::Text, "hidden directory to import, too; may be repeated"),
        Flag::new("c", ValueKind::Number, "number of concurrent requests").default("10"),
    ],
    examples: &[
        ("etcdctl import --snap /backup/snapshot/1_20.ss", "import all visible keys"),
        ("etcdctl import --snap a.snap --hidden /_coreos.com", "include hidden keys of fleet"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let Some(path) = args.text("snap").filter(|path| !path.is_empty()) else {
        return Err(Failure::usage("no snapshot file provided (use --snap)"));
    };
    let Ok(bytes) = std::fs::read(path) else {
        return Err(Failure::usage(format!("cannot read snapshot file {path}")));
    };
    let snapshot = snapshot::read(&bytes).map_err(|error| snapshot_error(path, &error))?;
    let mut keys = keys_at(&snapshot, path, "/")?;
    for hidden in args.texts("hidden") {
        keys.extend(keys_at(&snapshot, path, hidden)?);
    }
    let clients = args.number_or_default("c").clamp(1, MAX_CLIENTS);
    print(&format!("starting to import snapshot {path} with {clients} clients\n"))?;
    let (client, count) = (session.client().await?, keys.len());
    set_all(&client, keys, clients as usize).await?;
    print(&format!("finished importing {count} keys\n"))
}

fn snapshot_error(path: &str, error: &SnapshotError) -> Failure {
    let mut text = format!("{path}: {error}");
    if let Some(cause) = std::error::Error::source(error) {
        text += &format!(": {cause}");
    }
    Failure::error(
        Exit::BadArguments,
        &format!("{text}\nhint: see etcdctl import --help for what a snapshot is"),
    )
}

fn keys_at(snapshot: &Snapshot, file: &str, at: &str) -> Result<Vec<Key>, Failure> {
    match snapshot.keys(at) {
        Some(keys) => keys.map_err(|error| snapshot_error(file, &error)),
        None => {
            let text = format!("100: Key not found ({at}) [{}]", snapshot.index);
            Err(Failure::error(Exit::Server, &text))
        }
    }
}

async fn set_all(client: &Client, keys: Vec<Key>, concurrency: usize) -> Result<(), Failure> {
    let now = Timestamp::now();
    let mut running = JoinSet::new();
    for key in keys {
        if running.len() >= concurrency {
            finish_one(&mut running).await?;
        }
        let client = client.clone();
        running.spawn(async move {
            let ttl = ttl(&key, now);
            if ttl.extended {
                eprintln!("extending key {}'s ttl to {} seconds", key.path, MIN_TTL.as_secs());
            }
            let options = SetOptions { ttl: ttl.time, ..SetOptions::default() };
            let done = client.set(&key.path, key.value, &options).await;
            done.map(drop).map_err(|error| format!("failed to copy key: {}: {error}", key.path))
        });
    }
    while !running.is_empty() {
        finish_one(&mut running).await?;
    }
    Ok(())
}

async fn finish_one(running: &mut JoinSet<Result<(), String>>) -> Result<(), Failure> {
    match running.join_next().await {
        Some(Ok(done)) => done.map_err(Failure::usage),
        Some(Err(error)) => Err(Failure::usage(error.to_string())),
        None => Ok(()),
    }
}

struct Ttl {
    time: Option<Duration>,
    extended: bool,
}

fn ttl(key: &Key, now: Timestamp) -> Ttl {
    let Some(expires) = key.expires else { return Ttl { time: None, extended: false } };
    let left = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
    // Rounded up to whole seconds.
    let whole = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
    Ttl { time: Some(whole.max(MIN_TTL)), extended: whole < MIN_TTL }
}
