//! The way from checked flags to a client, and from answers to standard output.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Answer, Client, Config, Credentials, Endpoint, Error, Order, SlowReport, Trace, Traced};

use crate::failure::{Exit, Failure};
use crate::global::Global;
use crate::stdout::say;
use crate::{discovery, output, password};

pub struct Session {
    global: Global,
}

impl Session {
    pub fn new(global: Global) -> Session {
        Session { global }
    }

    /// Looks the endpoints up where a domain names them.
    pub async fn discover(&mut self) -> Result<(), Failure> {
        if let Some(domain) = &self.global.domain {
            self.global.endpoints = discovery::endpoints(domain).await?;
        }
        Ok(())
    }

    pub fn format(&self) -> &str {
        &self.global.format
    }

    /// A client that knows the members' published endpoints, unless `--no-sync` was given.
    pub async fn client(&self) -> Result<Client, Failure> {
        let client = self.unsynced_client()?;
        if self.global.sync {
            self.debug(&format!("start to sync cluster using endpoints({})", list(&client.endpoints())));
            sync(&client).await?;
            self.debug(&format!("got endpoints({}) after sync", list(&client.endpoints())));
        }
        self.debug(&format!("Cluster-Endpoints: {}", list(&client.endpoints())));
        Ok(client)
    }

    /// A client of the given endpoints; nothing is asked yet.
    pub fn unsynced_client(&self) -> Result<Client, Failure> {
        let mut config = Config::new(self.global.endpoints.clone());
        config.order = Order::Given;
        config.tls = self.global.tls.clone();
        config.request_timeout = self.global.timeout;
        config.total_timeout = self.global.total_timeout;
        if let Some(user) = &self.global.user {
            let password = match &user.password {
                Some(password) => password.clone(),
                None => password::ask("Password: ")?,
            };
            config.credentials = Some(Credentials { user: user.name.clone(), password });
        }
        if self.global.debug {
            config.trace = Some(Trace(Arc::new(|traced| eprintln!("{}", curl(traced)))));
        }
        config.slow = Some(SlowReport {
            after: SILENCE,
            report: Arc::new(|endpoint| eprintln!("Waiting for {endpoint} to answer")),
        });
        Client::new(config).map_err(|error| Failure::usage(error.to_string()))
    }

    fn debug(&self, line: &str) {
        if self.global.debug {
            eprintln!("{line}");
        }
    }

    /// Lines for people, or one document for scripts, as the format says.
    pub fn tell(&self, lines: &str, document: &serde_json::Value) -> Result<(), Failure> {
        if self.format() == "json" { say(&format!("{document}\n")) } else { say(lines) }
    }

    /// The answer in the format that was asked for.
    pub fn print(&self, answer: &Answer) -> Result<(), Failure> {
        say(&output::answer(answer, &self.global.format)?)
    }
}

async fn sync(client: &Client) -> Result<(), Failure> {
    match client.sync().await {
        Ok(()) => Ok(()),
        Err(Error::NoEndpoints) => Err(Failure::new(
            Exit::Server,
            format!(
                "etcd cluster has no published client endpoints.\n\
                 Try '--no-sync' if you want to access non-published client endpoints({}).\n\
                 Error:  {}",
                list(&client.endpoints()),
                Error::NoEndpoints
            ),
        )),
        Err(error @ (Error::Unavailable { .. } | Error::Deadline { .. })) => {
            Err(Failure::of(Exit::NoConnection, &error))
        }
        Err(Error::Status { status: NOT_FOUND, .. }) => ask_peers(client).await,
        // The member is there; whether it does what was asked, its answer will say.
        Err(_) => Ok(()),
    }
}

const NOT_FOUND: u16 = 404;
/// Time without an answer after which a command reports what it waits for.
const SILENCE: Duration = Duration::from_secs(3);

/// etcd 0.4 has no `/v2/members`.
async fn ask_peers(client: &Client) -> Result<(), Failure> {
    if let Ok(urls) = client.peers().await {
        let endpoints: Vec<Endpoint> = urls.iter().filter_map(|url| url.parse().ok()).collect();
        if !endpoints.is_empty() {
            client.set_endpoints(endpoints);
        }
    }
    Ok(())
}

fn list(endpoints: &[Endpoint]) -> String {
    let all: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    all.join(",")
}

/// The same request for curl. Passwords are not shown.
fn curl(traced: &Traced<'_>) -> String {
    let command = format!("cURL Command: curl -X {} {}", traced.method, traced.url);
    match traced.body {
        Some(body) => format!("{command} -d {body:?}"),
        None if traced.body_is_secret => format!("{command} -d \"(not shown: it holds a password)\""),
        None => command,
    }
}
