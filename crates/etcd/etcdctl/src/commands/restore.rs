//! `restore`: restores a backup as the data of the local member.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use command_line::{Flag, ParsedArgs};
use etcd_raft::{DataError, MemberData};
use serde_json::json;

use super::backup::make_parents;
use super::data::{
    BACKUP_DIR, BACKUP_WAL_DIR, DATA_DIR, DataDir, WAL_DIR, data_dir, document, failed, summary,
};
use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};
use crate::session::Session;

const REPLACE: &str = "replace";

pub const COMMAND: Command = Command {
    name: "restore",
    arguments: "",
    summary: "restore a backup as a new single-member cluster",
    description: &[
        "Run it on one node, with etcd stopped (sudo systemctl stop etcd etcd2). When etcd starts again, it is",
        "a new single-member cluster with the contents of the backup. Add the other members to it, with empty",
        "data directories. The backup is not modified and can be restored again.",
    ],
    flags: &[
        BACKUP_DIR,
        BACKUP_WAL_DIR,
        DATA_DIR,
        WAL_DIR,
        Flag::switch(REPLACE, "rename existing data instead of failing"),
    ],
    examples: &[
        (
            "sudo etcdctl restore --backup-dir /var/backup/monday",
            "restore to /var/lib/etcd, which must be empty",
        ),
        (
            "sudo etcdctl restore --backup-dir /var/backup/monday --replace",
            "rename and keep the existing data",
        ),
    ],
    run: Run::Action(|session, args| Box::pin(async move { run(session, args) })),
};

fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let backup = data_dir(args, &BACKUP_DIR, &BACKUP_WAL_DIR)?;
    let target = data_dir(args, &DATA_DIR, &WAL_DIR)?;
    let copy = MemberData::read(&backup.location, 0).map_err(|error| failed("reading the backup", &error))?;
    let moved = move_existing(&target, args.is_set(REPLACE))?;
    let written = make_parents(&target).and_then(|()| copy.write(&target.location));
    let new = match written {
        Ok(new) => new,
        Err(error) => {
            put_back(&moved)?;
            return Err(failed("writing the data", &error));
        }
    };
    let mut lines = format!("restored: {}\n", summary(&copy));
    for (_, to) in &moved {
        lines += &format!("previous data: {}\n", to.display());
    }
    lines += &format!(
        "next: start etcd; it is member {:x} of the new cluster {:x}. Then add the other members.\n",
        new.member_id, new.cluster_id
    );
    let kept: Vec<_> = moved.iter().map(|(_, to)| to).collect();
    let mut report = document(&copy, &target.root);
    report["new"] = json!({
        "member": format!("{:x}", new.member_id), "cluster": format!("{:x}", new.cluster_id), "kept": kept,
    });
    session.print_report(&lines, &report)
}

type Moved = Vec<(PathBuf, PathBuf)>;

/// Renames existing data if `replace` is set, otherwise fails. Returns old and new paths.
fn move_existing(target: &DataDir, replace: bool) -> Result<Moved, Failure> {
    let reject = |text: String| Err(Failure::error(Exit::BadArguments, &text));
    // Unreadable data is no reason to refuse: it may be why a backup is restored.
    if let Ok(Some(_)) = target.location.running_member() {
        return reject(format!(
            "a member is running on {}\nhint: stop it first: sudo systemctl stop etcd etcd2",
            target.root.display()
        ));
    }
    let proxy = target.root.join("proxy");
    let all = [Some(target.location.folder.as_path()), target.location.log.as_deref(), Some(proxy.as_path())];
    let existing: Vec<&Path> =
        all.into_iter().flatten().filter(|path| path.symlink_metadata().is_ok()).collect();
    if let Some(first) = existing.first().filter(|_| !replace) {
        return reject(format!("{} exists already\nhint: --{REPLACE} renames and keeps it", first.display()));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut moved = Vec::new();
    for path in existing {
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
