//! `cluster-health`: asks every member how it is.

use std::time::Duration;

use command_line::{Flag, ParsedArgs};
use etcd_client::{Client, Endpoint, Health, Member};

use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::stdout::say;

const PAUSE: Duration = Duration::from_secs(10);

pub const COMMAND: Command = Command {
    name: "cluster-health",
    arguments: "",
    summary: "ask every member how it is",
    description: &["Ends with 0 when at least one member is healthy, else with 5."],
    flags: &[Flag::switch("forever,f", "ask again every 10 seconds, until ctrl-C")],
    examples: &[("etcdctl cluster-health", "a line for each member, and one for the cluster")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    tokio::select! {
        done = check(session, given.is_set("forever")) => done,
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
        say(&format!("\nnext check after {} second...\n\n", PAUSE.as_secs()))?;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether at least one member is healthy.
async fn check_once(client: &Client) -> Result<bool, Failure> {
    let members = match client.members().await {
        Ok(members) => members,
        Err(error) => {
            say("cluster may be unhealthy: failed to list members\n")?;
            return Err(Failure::of(Exit::Server, &error));
        }
    };
    let mut healthy = false;
    for member in &members {
        healthy |= check_member(client, member).await?;
    }
    say(if healthy { "cluster is healthy\n" } else { "cluster is unhealthy\n" })?;
    Ok(healthy)
}

/// Asks the member's client URLs in their order, until one answers.
async fn check_member(client: &Client, member: &Member) -> Result<bool, Failure> {
    let id = &member.id;
    if member.client_urls.is_empty() {
        say(&format!("member {id} is unreachable: no available published client urls\n"))?;
        return Ok(false);
    }
    for url in &member.client_urls {
        let asked = match url.parse::<Endpoint>() {
            Ok(endpoint) => client.health(&endpoint).await.map_err(|reason| reason.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match asked {
            Ok(Health::Healthy) => {
                say(&format!("member {id} is healthy: got healthy result from {url}\n"))?;
                return Ok(true);
            }
            Ok(Health::Unhealthy) => {
                say(&format!("member {id} is unhealthy: got unhealthy result from {url}\n"))?;
                return Ok(false);
            }
            Err(why) => say(&format!(
                "failed to check the health of member {id} on {url}: Get \"{url}/health\": {why}\n"
            ))?,
        }
    }
    say(&format!("member {id} is unreachable: [{}] are all unreachable\n", member.client_urls.join(" ")))?;
    Ok(false)
}
