//! `recover`: recovers from a lost majority.

use command_line::{Flag, ParsedArgs};
use etcd_client::{Client, Endpoint, Error, GetOptions, Health, Reason};
use etcd_raft::MemberData;
use serde_json::json;

use super::data::{DATA_DIR, WAL_DIR, data_dir, document, failed, summary};
use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};
use crate::session::Session;

const YES: &str = "yes";
const PROBE_KEY: &str = "/_etcdctl/recover";

pub const COMMAND: Command = Command {
    name: "recover",
    arguments: "",
    summary: "recover from a permanent loss of quorum",
    description: &[
        "Run it on one surviving member. The member becomes a new single-member cluster at its next start: it",
        "keeps its keys, removes all other members and gets a new cluster id, so that old members cannot",
        "rejoin by accident. The command fails while a majority is alive, or if another survivor has newer",
        "data. Without --yes, it only prints what would change.",
    ],
    flags: &[DATA_DIR, WAL_DIR, Flag::switch(YES, "confirm that all other members are permanently lost")],
    examples: &[
        ("sudo etcdctl recover", "list the members that would be removed"),
        ("sudo etcdctl recover --yes && sudo systemctl restart etcd", "recover this node"),
        ("sudo etcdctl -o json recover", "print JSON; exits with 1 if nothing was changed"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

/// A recorded member and its response.
struct RecordedMember {
    id: u64,
    name: String,
    urls: Vec<String>,
    status: Status,
}

enum Status {
    /// Connection refused or timed out.
    Unreachable,
    /// Connected, but the response is not usable.
    Unusable(String),
    /// Responded with this index, without a leader.
    NoLeader(u64),
    /// Has a leader, at this URL.
    Healthy(String),
}

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let data = data_dir(args, &DATA_DIR, &WAL_DIR)?;
    let copy =
        MemberData::read(&data.location, 0).map_err(|error| failed("reading the member's data", &error))?;
    let others = query_members(&session.unsynced_client()?, &copy).await;
    check_majority_lost(&copy, &others)?;
    let mut lines = format!("this member has {}\n", summary(&copy));
    for other in others.iter().filter(|other| other.id != copy.identity.member_id) {
        let status = match other.status {
            Status::NoLeader(index) => format!("alive, without a majority, at index {index}"),
            Status::Unreachable | Status::Unusable(_) | Status::Healthy(_) => "does not respond".to_owned(),
        };
        lines += &format!("removes {:x} {} ({}): {status}\n", other.id, other.name, other.urls.join(","));
    }
    let mut report = document(&copy, &data.root);
    report["forgets"] = others
        .iter()
        .filter(|other| other.id != copy.identity.member_id)
        .map(|other| json!({ "id": format!("{:x}", other.id), "name": other.name, "clientURLs": other.urls }))
        .collect();
    if !args.is_set(YES) {
        report["done"] = false.into();
        session.print_report(&lines, &report)?;
        return Err(Failure::usage(
            "nothing was changed\nhint: if these machines are lost permanently: etcdctl recover --yes",
        ));
    }
    let left = etcd_raft::leave_cluster(&data.location.folder, &copy.identity);
    let new = left.map_err(|error| failed("writing the member's data", &error.into()))?;
    let next = if copy.in_use { "restart" } else { "start" };
    lines += &format!(
        "next: sudo systemctl {next} etcd; it is the new cluster {:x} then. Stop what others are there, and add \
         members with empty data.\n",
        new.cluster_id
    );
    report["done"] = true.into();
    report["new"] = json!({ "cluster": format!("{:x}", new.cluster_id) });
    session.print_report(&lines, &report)
}

/// Queries all recorded members, including the local one.
async fn query_members(client: &Client, copy: &MemberData) -> Vec<RecordedMember> {
    let mut others = Vec::new();
    for member in copy.store.membership().members() {
        let mut status = Status::Unreachable;
        for url in &member.client_urls {
            let Ok(endpoint) = url.parse() else { continue };
            status = query(client, &endpoint).await;
            if !matches!(status, Status::Unreachable) {
                break;
            }
        }
        let (id, name, urls) = (member.id, member.name.clone(), member.client_urls.clone());
        others.push(RecordedMember { id, name, urls, status });
    }
    others
}

async fn query(client: &Client, endpoint: &Endpoint) -> Status {
    match client.health(endpoint).await {
        Ok(Health::Healthy) => return Status::Healthy(endpoint.to_string()),
        Err(Reason::Connect(_) | Reason::ConnectTimeout { .. }) => return Status::Unreachable,
        // A member without a leader may respond only after a timeout.
        Ok(Health::Unhealthy) | Err(_) => {}
    }
    client.set_endpoints(vec![endpoint.clone()]);
    match client.get(PROBE_KEY, GetOptions::default()).await {
        Ok(response) => Status::NoLeader(response.index),
        Err(Error::Api { index, .. }) => Status::NoLeader(index),
        Err(error) => Status::Unusable(format!("{endpoint}: {error}")),
    }
}

fn check_majority_lost(copy: &MemberData, members: &[RecordedMember]) -> Result<(), Failure> {
    let reject = |text: String| Err(Failure::error(Exit::BadArguments, &text));
    let own = copy.identity.member_id;
    if members.iter().all(|member| member.id == own) {
        return reject(format!(
            "member {own:x} is alone in its cluster: it has its majority\nhint: start it"
        ));
    }
    for member in members {
        if let Status::Unusable(why) = &member.status
            && member.id != own
        {
            return reject(format!(
                "a member is there, and cannot be asked whether a majority is alive: {why}\nhint: give etcdctl \
                 what it needs (--ca-file, --cert-file, --key-file, --username), or stop that member"
            ));
        }
        if let Status::Healthy(url) = &member.status {
            return reject(format!(
                "a majority of the cluster is alive, as {url} reports\nhint: replace the failed members: \
                 etcdctl member remove ID, etcdctl member add NAME URL"
            ));
        }
    }
    let responding =
        |member: &&RecordedMember| member.id == own || !matches!(member.status, Status::Unreachable);
    let (count, needed) = (members.iter().filter(responding).count(), members.len() / 2 + 1);
    if count >= needed {
        return reject(format!(
            "{count} of {} members are there, which is a majority: they elect a leader by themselves\n\
             hint: see what holds them up: etcdctl cluster-health, journalctl -u etcd",
            members.len()
        ));
    }
    let has = copy.store.index();
    for member in members.iter().filter(|member| member.id != own) {
        if let Status::NoLeader(index) = member.status
            && index > has
        {
            return reject(format!(
                "member {:x} ({}) has index {index}, this one {has}: it would lose what came between\n\
                 hint: do it there: sudo etcdctl recover",
                member.id, member.name
            ));
        }
    }
    Ok(())
}
