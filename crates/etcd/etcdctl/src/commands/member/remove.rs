//! `member remove`: removes a member by its id.

use command_line::ParsedArgs;
use etcd_client::Member;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "remove",
    arguments: "<memberID>",
    summary: "remove a member from the cluster",
    description: &[
        "The etcd process of the removed member exits. Its data directory cannot be used to rejoin.",
    ],
    flags: &[],
    examples: &[("etcdctl member remove c26dcdec34153c70", "`etcdctl member list` prints the ids")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

const DOCUMENTATION_URL: &str =
    "https://github.com/etcd-io/etcd/blob/master/Documentation/runtime-configuration.md#remove-a-member";

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let [id] = args.arguments.as_slice() else {
        return Err(Failure::usage("Provide a single member ID"));
    };
    let client = session.client().await?;
    let members = client.members().await.map_err(|error| Failure::plain(&error))?;
    if !members.iter().any(|member| member.id == *id) {
        return Err(Failure::usage(unknown_member(id, &members)));
    }
    client.remove_member(id).await.map_err(|error| {
        Failure::usage(format!("Received an error trying to remove member {id}: {error}"))
    })?;
    print(&format!("Removed member {id} from cluster\n"))
}

/// A name is never accepted as an id, not even an unambiguous one: removing the wrong member cannot be undone.
fn unknown_member(id: &str, members: &[Member]) -> String {
    let mut text = String::new();
    for member in members.iter().filter(|member| member.name == id) {
        text.push_str(&format!(
            "Found a member named {}; if this is correct, please use its ID, eg:\n\
             \tetcdctl member remove {}\nFor more details, read the documentation at {DOCUMENTATION_URL}\n\n",
            member.name, member.id
        ));
    }
    text + &format!("Couldn't find a member in the cluster with an ID of {id}.")
}
