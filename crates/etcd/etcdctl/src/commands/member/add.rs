//! `member add`: adds a member and prints the settings to start it with.

use command_line::ParsedArgs;
use etcd_client::Member;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "add",
    arguments: "<name> <peerURL>",
    summary: "add a member to the cluster",
    description: &[
        "Prints the environment to start the new member with. Start it before you add another one.",
    ],
    flags: &[],
    examples: &[("etcdctl member add n4 http://10.0.0.14:2380", "add the member n4")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let [name, url] = args.arguments.as_slice() else {
        return Err(Failure::usage("Provide a name and a single member peerURL"));
    };
    let client = session.client().await?;
    let added = client.add_member(std::slice::from_ref(url)).await;
    let added = added.map_err(|error| Failure::plain(&error))?;
    let members = client.members().await.map_err(|error| Failure::plain(&error))?;
    print(&added_message(name, &added.id, &members))
}

fn added_message(name: &str, id: &str, members: &[Member]) -> String {
    let named = |member: &Member| {
        let name = if member.id == id { name.to_owned() } else { member.name.clone() };
        member.peer_urls.iter().map(move |url| format!("{name}={url}")).collect::<Vec<_>>()
    };
    let cluster = members.iter().flat_map(named).collect::<Vec<_>>().join(",");
    format!(
        "Added member named {name} with ID {id} to cluster\n\n\
         ETCD_NAME={name:?}\nETCD_INITIAL_CLUSTER={cluster:?}\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n"
    )
}
