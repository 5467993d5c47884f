//! `member add`: a place for a new member, and what to start it with.

use command_line::ParsedArgs;
use etcd_client::Member;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "add",
    arguments: "<name> <peerURL>",
    summary: "add a member to the cluster",
    description: &["Add one, start it with the settings that are printed, and only then add the next."],
    flags: &[],
    examples: &[("etcdctl member add n4 http://10.0.0.14:2380", "prints its environment")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let [name, url] = given.arguments.as_slice() else {
        return Err(Failure::usage("Provide a name and a single member peerURL"));
    };
    let client = session.client().await?;
    let added = client.add_member(std::slice::from_ref(url)).await;
    let added = added.map_err(|error| Failure::plain(&error))?;
    let members = client.members().await.map_err(|error| Failure::plain(&error))?;
    say(&told(name, &added.id, &members))
}

fn told(name: &str, id: &str, members: &[Member]) -> String {
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
