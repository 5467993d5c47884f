//! `restore`: a backup as the data of this node's member.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use command_line::{Flag, ParsedArgs};
use etcd_raft::{DataError, MemberData};
use serde_json::json;

use super::backup::make_parents;
use super::data::{BACKUP_DIR, BACKUP_WAL_DIR, DATA_DIR, DataDir, WAL_DIR, document, failed, held, place};
use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};
use crate::session::Session;

const REPLACE: &str = "replace";

pub const COMMAND: Command = Command {
    name: "restore",
    arguments: "",
    summary: "make a backup the data of this node's member, which is a new cluster then",
    description: &[
        "Do it on one node, with its etcd stopped (sudo systemctl stop etcd etcd2). Started again, it is a",
        "new cluster of one member with all that the backup has; others are added to it, with empty data.",
        "The backup stays as it is, and can be restored again, here or elsewhere.",
    ],
    flags: &[
        BACKUP_DIR,
        BACKUP_WAL_DIR,
        DATA_DIR,
        WAL_DIR,
        Flag::switch(REPLACE, "move away what data there is (beside it, under another name)"),
    ],
    examples: &[
        ("sudo etcdctl restore --backup-dir /var/backup/monday", "into /var/lib/etcd, where nothing is"),
        ("sudo etcdctl restore --backup-dir /var/backup/monday --replace", "in place of what is there"),
    ],
    run: Run::Does(|session, given| Box::pin(async move { run(session, given) })),
};

fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let backup = place(given, &BACKUP_DIR, &BACKUP_WAL_DIR)?;
    let target = place(given, &DATA_DIR, &WAL_DIR)?;
    let copy = MemberData::read(&backup.place, 0).map_err(|error| failed("reading the backup", &error))?;
    let moved = clear(&target, given.is_set(REPLACE))?;
    let written = make_parents(&target).and_then(|()| copy.write(&target.place));
    let new = match written {
        Ok(new) => new,
        Err(error) => {
            put_back(&moved)?;
            return Err(failed("writing the data", &error));
        }
    };
    let mut lines = format!("restored: {}\n", held(&copy));
    for (_, to) in &moved {
        lines += &format!("what was there is kept in {}\n", to.display());
    }
    lines += &format!(
        "next: start etcd; it is member {:x} of the new cluster {:x}. Then add the other members.\n",
        new.member_id, new.cluster_id
    );
    let kept: Vec<_> = moved.iter().map(|(_, to)| to).collect();
    let mut told = document(&copy, &target.root);
    told["new"] = json!({
        "member": format!("{:x}", new.member_id), "cluster": format!("{:x}", new.cluster_id), "kept": kept,
    });
    session.tell(&lines, &told)
}

type Moved = Vec<(PathBuf, PathBuf)>;

/// Moves away what is in the way, or refuses; where each went.
fn clear(target: &DataDir, replace: bool) -> Result<Moved, Failure> {
    let refuse = |text: String| Err(Failure::error(Exit::BadArguments, &text));
    // What cannot be read may be what a backup is restored for.
    if let Ok(Some(_)) = target.place.running_member() {
        return refuse(format!(
            "a member is running on {}\nhint: stop it first: sudo systemctl stop etcd etcd2",
            target.root.display()
        ));
    }
    let proxy = target.root.join("proxy");
    let all = [Some(target.place.folder.as_path()), target.place.log.as_deref(), Some(proxy.as_path())];
    let there: Vec<&Path> =
        all.into_iter().flatten().filter(|path| path.symlink_metadata().is_ok()).collect();
    if let Some(first) = there.first().filter(|_| !replace) {
        return refuse(format!(
            "{} is there already\nhint: --{REPLACE} moves it away and keeps it",
            first.display()
        ));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut moved = Vec::new();
    for path in there {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let to = path.with_file_name(format!("{name}.replaced-{now}"));
        if let Err(error) = std::fs::rename(path, &to) {
            put_back(&moved)?;
            return Err(failed("moving the old data away", &DataError::Io(path.to_owned(), error)));
        }
        moved.push((path.to_owned(), to));
    }
    Ok(moved)
}

fn put_back(moved: &Moved) -> Result<(), Failure> {
    moved.iter().try_for_each(|(from, to)| {
        let back = std::fs::rename(to, from);
        back.map_err(|error| failed("moving the old data back", &DataError::Io(to.clone(), error)))
    })
}
