//! `backup`: a copy of a member's data for a new cluster.

use command_line::{Flag, Takes};

use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};

pub const COMMAND: Command = Command {
    name: "backup",
    arguments: "",
    summary: "copy a member's data for a new cluster (not in this build yet)",
    description: &[],
    flags: &[
        Flag::new("data-dir", Takes::Directory, "the member's data"),
        Flag::new("wal-dir", Takes::Directory, "the member's log, where it is not with its data"),
        Flag::new("backup-dir", Takes::Directory, "where the copy goes"),
        Flag::new("backup-wal-dir", Takes::Directory, "where the copy of the log goes"),
    ],
    examples: &[("etcdctl backup --data-dir /var/lib/etcd --backup-dir /backup", "the member may run")],
    run: Run::Does(|_, _| Box::pin(run())),
};

async fn run() -> Result<(), Failure> {
    Err(Failure::error(
        Exit::BadArguments,
        "backup is not in this build yet: it comes with the data format of the server",
    ))
}
