//! `cluster-health`: queries the health of every member.

use std::time::Duration;

use command_line::{Flag, ParsedArgs};
use etcd_client::{Client, Endpoint, Health, Member};

use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::stdout::print;

const INTERVAL: Duration = Duration::from_secs(10);

pub const COMMAND: Command = Command {
    name: "cluster-health",
    arguments: "",
    summary: "check the health of all members",
    description: &["Exits with 0 if at least one member is healthy, otherwise with 5."],
    flags: &[Flag::switch("forever,f", "repeat every 10 seconds until interrupted")],
    examples: &[("etcdctl cluster-health", "one line per member, and one for the cluster")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    tokio::select! {
        done = check(session, args.is_set("forever")) => done,
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
    }
}

async fn check(session: &Session, forever: bool) -> Result<(), Failure> {
    let client = session.unsynced_client()?;
    loop {
        let healthy = check_once(&client).await?;
        if !forever {
            return if healthy { Ok(()) } else { Err(Failure::silent(Exit::Unhealthy)) };
        }
        print(&format!("\nnext check after {} second...\n\n", INTERVAL.as_secs()))?;
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Returns whether at least one member is healthy.
async fn check_once(client: &Client) -> Result<bool, Failure> {
    let members = match client.members().await {
        Ok(members) => members,
        Err(error) => {
            print("cluster may be unhealthy: failed to list members\n")?;
            return Err(Failure::of(Exit::Server, &error));
        }
    };
    let mut healthy = false;
    for member in &members {
        healthy |= check_member(client, member).await?;
    }
    print(if healthy { "cluster is healthy\n" } else { "cluster is unhealthy\n" })?;
    Ok(healthy)
}

/// Queries the member's client URLs in order, until one responds.
async fn check_member(client: &Client, member: &Member) -> Result<bool, Failure> {
    let id = &member.id;
    if member.client_urls.is_empty() {
        print(&format!("member {id} is unreachable: no available published client urls\n"))?;
        return Ok(false);
    }
    for url in &member.client_urls {
        let health = match url.parse::<Endpoint>() {
            Ok(endpoint) => client.health(&endpoint).await.map_err(|reason| reason.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match health {
            Ok(Health::Healthy) => {
                print(&format!("member {id} is healthy: got healthy result from {url}\n"))?;
                return Ok(true);
            }
            Ok(Health::Unhealthy) => {
                print(&format!("member {id} is unhealthy: got unhealthy result from {url}\n"))?;
                return Ok(false);
            }
            Err(why) => print(&format!(
                "failed to check the health of member {id} on {url}: Get \"{url}/health\": {why}\n"
            ))?,
        }
    }
    print(&format!("member {id} is unreachable: [{}] are all unreachable\n", member.client_urls.join(" ")))?;
    Ok(false)
}
