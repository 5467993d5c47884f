//! `recover`: the way back from a lost majority.

use command_line::{Flag, ParsedArgs};
use etcd_client::{Client, Endpoint, Error, Get, Health, Reason};
use etcd_raft::MemberData;
use serde_json::json;

use super::data::{DATA_DIR, WAL_DIR, document, failed, held, place};
use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};
use crate::session::Session;

const YES: &str = "yes";
const NO_KEY: &str = "/_etcdctl/recover";

pub const COMMAND: Command = Command {
    name: "recover",
    arguments: "",
    summary: "make a new cluster of this node's member alone, when a majority is lost for good",
    description: &[
        "Do it on the one member that is to survive. It keeps all its keys, forgets all other members and",
        "has another cluster id, so that a member that comes back after all cannot mix the two.",
        "It is refused while a majority is alive, or while another survivor knows more. Without --yes",
        "nothing is changed. It is done at the next start of etcd, once.",
    ],
    flags: &[DATA_DIR, WAL_DIR, Flag::switch(YES, "the machines of all other members are gone for good")],
    examples: &[
        ("sudo etcdctl recover", "what would be forgotten"),
        ("sudo etcdctl recover --yes && sudo systemctl restart etcd", "the node has its cluster back"),
        ("sudo etcdctl -o json recover", "for scripts; ends with 1 where nothing was changed"),
    ],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

/// One other member, and what it says.
struct Other {
    id: u64,
    name: String,
    urls: Vec<String>,
    answer: Answer,
}

enum Answer {
    /// Nothing listens there.
    None,
    /// Something does, and cannot be understood.
    Mute(String),
    /// It is there, with this index, and knows of no leader.
    Alone(u64),
    /// It is part of a majority.
    Healthy(String),
}

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let data = place(given, &DATA_DIR, &WAL_DIR)?;
    let copy =
        MemberData::read(&data.place, 0).map_err(|error| failed("reading the member's data", &error))?;
    let others = others(&session.unsynced_client()?, &copy).await;
    refuse_the_living(&copy, &others)?;
    let mut lines = format!("this member has {}\n", held(&copy));
    for other in others.iter().filter(|other| other.id != copy.identity.member_id) {
        let said = match other.answer {
            Answer::Alone(index) => format!("is there, without a majority, at index {index}"),
            Answer::None | Answer::Mute(_) | Answer::Healthy(_) => "does not answer".to_owned(),
        };
        lines += &format!("it forgets {:x} {} ({}): {said}\n", other.id, other.name, other.urls.join(","));
    }
    let mut told = document(&copy, &data.root);
    told["forgets"] = others
        .iter()
        .filter(|other| other.id != copy.identity.member_id)
        .map(|other| json!({ "id": format!("{:x}", other.id), "name": other.name, "clientURLs": other.urls }))
        .collect();
    if !given.is_set(YES) {
        told["done"] = false.into();
        session.tell(&lines, &told)?;
        return Err(Failure::usage(
            "nothing was changed\nhint: if these machines are gone for good, say so: etcdctl recover --yes",
        ));
    }
    let left = etcd_raft::leave_cluster(&data.place.folder, &copy.identity);
    let new = left.map_err(|error| failed("writing the member's data", &error.into()))?;
    let next = if copy.in_use { "restart" } else { "start" };
    lines += &format!(
        "next: sudo systemctl {next} etcd; it is the new cluster {:x} then. Stop what others are there, and add \
         members with empty data.\n",
        new.cluster_id
    );
    told["done"] = true.into();
    told["new"] = json!({ "cluster": format!("{:x}", new.cluster_id) });
    session.tell(&lines, &told)
}

/// What all recorded members say now, this one too.
async fn others(client: &Client, copy: &MemberData) -> Vec<Other> {
    let mut others = Vec::new();
    for member in copy.store.membership().members() {
        let mut answer = Answer::None;
        for url in &member.client_urls {
            let Ok(endpoint) = url.parse() else { continue };
            answer = ask(client, &endpoint).await;
            if !matches!(answer, Answer::None) {
                break;
            }
        }
        let (id, name, urls) = (member.id, member.name.clone(), member.client_urls.clone());
        others.push(Other { id, name, urls, answer });
    }
    others
}

async fn ask(client: &Client, endpoint: &Endpoint) -> Answer {
    match client.health(endpoint).await {
        Ok(Health::Healthy) => return Answer::Healthy(endpoint.to_string()),
        Err(Reason::Connect(_) | Reason::ConnectTimeout { .. }) => return Answer::None,
        // One that looks for a majority may take its time to say that it has none.
        Ok(Health::Unhealthy) | Err(_) => {}
    }
    client.set_endpoints(vec![endpoint.clone()]);
    match client.get(NO_KEY, Get::default()).await {
        Ok(answer) => Answer::Alone(answer.index),
        Err(Error::Api { index, .. }) => Answer::Alone(index),
        Err(error) => Answer::Mute(format!("{endpoint}: {error}")),
    }
}

fn refuse_the_living(copy: &MemberData, members: &[Other]) -> Result<(), Failure> {
    let refuse = |text: String| Err(Failure::error(Exit::BadArguments, &text));
    let own = copy.identity.member_id;
    if members.iter().all(|member| member.id == own) {
        return refuse(format!(
            "member {own:x} is alone in its cluster: it has its majority\nhint: start it"
        ));
    }
    for member in members {
        if let Answer::Mute(why) = &member.answer
            && member.id != own
        {
            return refuse(format!(
                "a member is there, and cannot be asked whether a majority is alive: {why}\nhint: give etcdctl \
                 what it needs (--ca-file, --cert-file, --key-file, --username), or stop that member"
            ));
        }
        if let Answer::Healthy(url) = &member.answer {
            return refuse(format!(
                "a majority of the cluster is alive: {url} says so\nhint: replace the dead members: \
                 etcdctl member remove ID, etcdctl member add NAME URL"
            ));
        }
    }
    let there = |member: &&Other| member.id == own || !matches!(member.answer, Answer::None);
    let (alive, needed) = (members.iter().filter(there).count(), members.len() / 2 + 1);
    if alive >= needed {
        return refuse(format!(
            "{alive} of {} members are there, which is a majority: they elect a leader by themselves\n\
             hint: see what holds them up: etcdctl cluster-health, journalctl -u etcd",
            members.len()
        ));
    }
    let has = copy.store.index();
    for member in members.iter().filter(|member| member.id != own) {
        if let Answer::Alone(index) = member.answer
            && index > has
        {
            return refuse(format!(
                "member {:x} ({}) has index {index}, this one {has}: it would lose what came between\n\
                 hint: do it there: sudo etcdctl recover",
                member.id, member.name
            ));
        }
    }
    Ok(())
}
