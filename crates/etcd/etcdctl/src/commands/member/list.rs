//! `member list`: lists the members and the leader.

use command_line::ParsedArgs;
use etcd_client::Member;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "list",
    arguments: "",
    summary: "list the members of the cluster",
    description: &[],
    flags: &[],
    examples: &[("etcdctl member list", "print ids, names, URLs and the leader")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    if !args.arguments.is_empty() {
        return Err(Failure::usage("No arguments accepted"));
    }
    let client = session.client().await?;
    let members = client.members().await.map_err(|error| Failure::plain(&error))?;
    let leader = match client.leader().await {
        Ok(leader) => leader.map(|member| member.id),
        Err(error) => return Err(Failure::usage(format!("Failed to get leader:  {error}"))),
    };
    let Some(leader) = leader else {
        let why = "client: etcd cluster is unavailable or misconfigured";
        return Err(Failure::usage(format!("Failed to get leader:  {why}")));
    };
    print(&members.iter().map(|member| line(member, &leader)).collect::<String>())
}

fn line(member: &Member, leader: &str) -> String {
    let (id, peers) = (&member.id, member.peer_urls.join(","));
    if member.name.is_empty() {
        return format!("{id}[unstarted]: peerURLs={peers}\n");
    }
    let clients = member.client_urls.join(",");
    let leads = member.id == leader;
    format!("{id}: name={} peerURLs={peers} clientURLs={clients} isLeader={leads}\n", member.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let urls = |list: &[&str]| list.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
        let started = Member {
            id: "a1".into(),
            name: "n1".into(),
            peer_urls: urls(&["http://p:1", "http://p:2"]),
            client_urls: urls(&["http://c:1"]),
        };
        let added = Member { name: String::new(), client_urls: Vec::new(), ..started.clone() };
        assert_eq!(
            line(&started, "a1"),
            "a1: name=n1 peerURLs=http://p:1,http://p:2 clientURLs=http://c:1 isLeader=true\n"
        );
        assert!(line(&started, "b2").ends_with("isLeader=false\n"));
        assert_eq!(line(&added, "a1"), "a1[unstarted]: peerURLs=http://p:1,http://p:2\n");
    }
}
