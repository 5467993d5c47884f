//! `import`: the keys of a snapshot of etcd 0.4.

use command_line::{Flag, Given, Takes};

use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};

pub const COMMAND: Command = Command {
    name: "import",
    arguments: "",
    summary: "set the keys of a snapshot of etcd 0.4 (not in this build yet)",
    description: &[],
    flags: &[
        Flag::new("snap", Takes::File, "the snapshot"),
        Flag::new("hidden", Takes::Text, "a hidden directory that is wanted too; may be repeated"),
        Flag::new("c", Takes::Number, "how many keys are set at the same time").default("10"),
    ],
    examples: &[("etcdctl import --snap /backup/snapshot/1_20.ss", "into the cluster of the endpoints")],
    run: Run::Does(|_, given| Box::pin(run(given))),
};

async fn run(given: &Given) -> Result<(), Failure> {
    let Some(path) = given.text("snap").filter(|path| !path.is_empty()) else {
        return Err(Failure::usage("no snapshot file provided (use --snap)"));
    };
    if std::fs::metadata(path).is_err() {
        return Err(Failure::usage(format!("cannot read snapshot file {path}")));
    }
    Err(Failure::error(Exit::BadArguments, "import is not in this build yet"))
}
