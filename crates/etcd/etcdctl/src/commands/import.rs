//! `import`: the keys of a snapshot of etcd 0.4.

use std::time::Duration;

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::{Client, Set};
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::snapshot::{self, Key, Snapshot, SnapshotError};
use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::stdout::say;

/// What expires earlier, or did already, lives so long in the new cluster: services renew their keys in that time.
const SHORTEST_TTL: Duration = Duration::from_secs(300);
const CLIENTS: u64 = 10;
/// More requests at once than that help nobody.
const MOST_CLIENTS: u64 = 1024;

pub const COMMAND: Command = Command {
    name: "import",
    arguments: "",
    summary: "set the keys of a snapshot of etcd 0.4",
    description: &[
        "The snapshot is what curl http://NODE:4001/v2/migration/snapshot of an etcd 0.4.9 printed, or the",
        "newest .ss file in the folder snapshot of its data directory. Indexes are new ones, directories",
        "have no TTL, keys that expire earlier than in 300 seconds do so in 300 seconds.",
    ],
    flags: &[
        Flag::new("snap", ValueKind::File, "the snapshot"),
        Flag::new("hidden", ValueKind::Text, "a hidden directory that is wanted too; may be repeated"),
        Flag::new("c", ValueKind::Number, "how many keys are set at the same time").default("10"),
    ],
    examples: &[
        ("etcdctl import --snap /backup/snapshot/1_20.ss", "into the cluster of the endpoints"),
        ("etcdctl import --snap a.snap --hidden /_coreos.com", "with what fleet and others hide there"),
    ],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let Some(path) = given.text("snap").filter(|path| !path.is_empty()) else {
        return Err(Failure::usage("no snapshot file provided (use --snap)"));
    };
    let Ok(bytes) = std::fs::read(path) else {
        return Err(Failure::usage(format!("cannot read snapshot file {path}")));
    };
    let snapshot = snapshot::read(&bytes).map_err(|error| wrong(path, &error))?;
    let mut keys = keys_at(&snapshot, path, "/")?;
    for hidden in given.texts("hidden") {
        keys.extend(keys_at(&snapshot, path, hidden)?);
    }
    let clients = given.number("c").unwrap_or(CLIENTS).clamp(1, MOST_CLIENTS);
    say(&format!("starting to import snapshot {path} with {clients} clients\n"))?;
    let (client, count) = (session.client().await?, keys.len());
    set_all(&client, keys, clients as usize).await?;
    say(&format!("finished importing {count} keys\n"))
}

fn wrong(path: &str, error: &SnapshotError) -> Failure {
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
        Some(keys) => keys.map_err(|error| wrong(file, &error)),
        None => {
            let text = format!("100: Key not found ({at}) [{}]", snapshot.index);
            Err(Failure::error(Exit::Server, &text))
        }
    }
}

async fn set_all(client: &Client, keys: Vec<Key>, at_once: usize) -> Result<(), Failure> {
    let now = Timestamp::now();
    let mut running = JoinSet::new();
    for key in keys {
        if running.len() >= at_once {
            finish_one(&mut running).await?;
        }
        let client = client.clone();
        running.spawn(async move {
            let ttl = ttl(&key, now);
            if ttl.extended {
                eprintln!("extending key {}'s ttl to {} seconds", key.path, SHORTEST_TTL.as_secs());
            }
            let how = Set { ttl: ttl.time, ..Set::default() };
            let done = client.set(&key.path, key.value, &how).await;
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
    // A part of a second is one.
    let whole = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
    Ttl { time: Some(whole.max(SHORTEST_TTL)), extended: whole < SHORTEST_TTL }
}
