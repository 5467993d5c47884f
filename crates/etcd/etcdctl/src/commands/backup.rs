//! `backup`: copies a member's data for a new cluster.

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::{Client, Error, GetOptions};
use etcd_raft::{DataLocation, MemberData};

use super::data::{
    BACKUP_DIR, BACKUP_WAL_DIR, DATA_DIR, DataDir, WAL_DIR, data_dir, document, failed, summary,
};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

/// A key that is never created. Any response carries the index, whatever the client may read.
const PROBE_KEY: &str = "/_etcdctl/backup";

pub const COMMAND: Command = Command {
    name: "backup",
    arguments: "",
    summary: "back up the data directory of a member",
    description: &[
        "The member may be running. If it is reachable through the endpoints, the backup includes every write",
        "that was acknowledged before the command started; otherwise it includes what is on the disk, and a",
        "note is printed. All data is verified while it is copied. An incomplete backup is never left behind.",
        "The backup has a new member id and cluster id. Restore it with `etcdctl restore`, or start etcd on it",
        "with -force-new-cluster.",
    ],
    flags: &[
        DATA_DIR,
        WAL_DIR,
        BACKUP_DIR,
        BACKUP_WAL_DIR,
        Flag::new(
            "up-to",
            ValueKind::Number,
            "back up to this log index only, for example before an unreadable entry",
        ),
        Flag::switch("verify", "verify an existing backup and print a summary"),
    ],
    examples: &[
        (
            "sudo etcdctl backup --data-dir /var/lib/etcd --backup-dir /var/backup/monday",
            "back up the node's member",
        ),
        ("sudo etcdctl backup --verify --backup-dir /var/backup/monday", "verify a backup"),
        ("sudo etcdctl -o json backup --verify --backup-dir /var/backup/monday", "print the summary as JSON"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let backup = data_dir(args, &BACKUP_DIR, &BACKUP_WAL_DIR)?;
    if args.is_set("verify") {
        let copy =
            MemberData::read(&backup.location, 0).map_err(|error| failed("reading the backup", &error))?;
        let lines = format!("the backup is whole: {}\n", summary(&copy));
        return session.print_report(&lines, &document(&copy, &backup.root));
    }
    let DataDir { location: source, .. } = data_dir(args, &DATA_DIR, &WAL_DIR)?;
    let copy = match args.number("up-to") {
        Some(entry) => MemberData::read_up_to(&source, entry),
        None => MemberData::read(&source, required_index(session, &source).await?),
    };
    let copy = copy.map_err(|error| failed("reading the member's data", &error))?;
    let written = make_parents(&backup).and_then(|()| copy.write(&backup.location));
    written.map_err(|error| failed("writing the backup", &error))?;
    if args.number("up-to").is_some() {
        eprintln!("note: what was written later is not in the backup: {}", summary(&copy));
    }
    Ok(())
}

pub fn make_parents(dir: &DataDir) -> Result<(), etcd_raft::DataError> {
    let parents = [Some(dir.root.as_path()), dir.location.log.as_deref().and_then(std::path::Path::parent)];
    let named = parents.into_iter().flatten().filter(|path| !path.as_os_str().is_empty());
    named.into_iter().try_for_each(|path| {
        std::fs::create_dir_all(path).map_err(|error| etcd_raft::DataError::Io(path.to_owned(), error))
    })
}

/// The index up to which the member has everything that the cluster has acknowledged. 0 if the member does not run or
/// cannot be queried.
async fn required_index(session: &Session, source: &DataLocation) -> Result<u64, Failure> {
    let identity = match source.running_member() {
        Ok(Some(identity)) => identity,
        Ok(None) => return Ok(0),
        Err(error) => return Err(failed("reading the member's data", &error)),
    };
    match acknowledged_index(&session.unsynced_client()?, identity.member_id).await {
        Ok(index) => Ok(index),
        Err(why) => {
            eprintln!("note: the member runs and could not be asked what it has acknowledged ({why});");
            eprintln!("note: the backup has what is on its disk now");
            Ok(0)
        }
    }
}

async fn acknowledged_index(client: &Client, id: u64) -> Result<u64, String> {
    let members = client.members().await.map_err(|error| error.to_string())?;
    let id = format!("{id:x}");
    let own = members.into_iter().find(|member| member.id == id);
    let own = own.ok_or_else(|| format!("the endpoints are those of a cluster without member {id}"))?;
    let urls: Vec<_> = own.client_urls.iter().filter_map(|url| url.parse().ok()).collect();
    if urls.is_empty() {
        return Err("it publishes no client URL".to_owned());
    }
    client.set_endpoints(urls);
    match client.get(PROBE_KEY, GetOptions { quorum: true, ..GetOptions::default() }).await {
        Ok(response) => Ok(response.index),
        Err(Error::Api { index, .. }) if index > 0 => Ok(index),
        Err(error) => Err(error.to_string()),
    }
}
