//! A client from the global flags, and output of responses.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Client, Config, Credentials, Endpoint, Error, Order, Response, SlowReport, Trace, TracedRequest,
};

use crate::failure::{Exit, Failure};
use crate::global::Global;
use crate::stdout::print;
use crate::{discovery, output, password};

pub struct Session {
    global: Global,
}

impl Session {
    pub fn new(global: Global) -> Session {
        Session { global }
    }

    /// Resolves the endpoints if `--discovery-srv` is set.
    pub async fn discover(&mut self) -> Result<(), Failure> {
        if let Some(domain) = &self.global.domain {
            self.global.endpoints = discovery::endpoints(domain).await?;
        }
        Ok(())
    }

    pub fn format(&self) -> &str {
        &self.global.format
    }

    /// A client with the members' published endpoints, or with the specified ones if `--no-sync` is set.
    pub async fn client(&self) -> Result<Client, Failure> {
        let client = self.unsynced_client()?;
        if self.global.sync {
            self.debug(&format!("start to sync cluster using endpoints({})", join(&client.endpoints())));
            sync(&client).await?;
            self.debug(&format!("got endpoints({}) after sync", join(&client.endpoints())));
        }
        self.debug(&format!("Cluster-Endpoints: {}", join(&client.endpoints())));
        Ok(client)
    }

    /// A client with the specified endpoints. Sends no request.
    pub fn unsynced_client(&self) -> Result<Client, Failure> {
        let mut config = Config::new(self.global.endpoints.clone());
        config.order = Order::Configured;
        config.tls = self.global.tls.clone();
        config.request_timeout = self.global.timeout;
        config.total_timeout = self.global.total_timeout;
        if let Some(user) = &self.global.user {
            let password = match &user.password {
                Some(password) => password.clone(),
                None => password::prompt("Password: ")?,
            };
            config.credentials = Some(Credentials { user: user.name.clone(), password });
        }
        if self.global.debug {
            config.trace = Some(Trace(Arc::new(|traced| eprintln!("{}", curl(traced)))));
        }
        config.slow = Some(SlowReport {
            after: SLOW_AFTER,
            report: Arc::new(|endpoint| eprintln!("Waiting for a response of {endpoint}")),
        });
        Client::new(config).map_err(|error| Failure::usage(error.to_string()))
    }

    fn debug(&self, line: &str) {
        if self.global.debug {
            eprintln!("{line}");
        }
    }

    /// Prints `lines`, or `document` if the format is JSON.
    pub fn print_report(&self, lines: &str, document: &serde_json::Value) -> Result<(), Failure> {
        if self.format() == "json" { print(&format!("{document}\n")) } else { print(lines) }
    }

    /// Prints a response in the selected format.
    pub fn print(&self, response: &Response) -> Result<(), Failure> {
        print(&output::format_response(response, &self.global.format)?)
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
                join(&client.endpoints()),
                Error::NoEndpoints
            ),
        )),
        Err(error @ (Error::Unavailable { .. } | Error::Deadline { .. })) => {
            Err(Failure::of(Exit::NoConnection, &error))
        }
        Err(Error::Status { status: NOT_FOUND, .. }) => sync_with_peers(client).await,
        // The endpoint is reachable; the command's own request shows whether it works.
        Err(_) => Ok(()),
    }
}

const NOT_FOUND: u16 = 404;
/// Time without a response after which the command reports the endpoint that it waits for.
const SLOW_AFTER: Duration = Duration::from_secs(3);

/// etcd 0.4 has `/v2/peers` instead of `/v2/members`.
async fn sync_with_peers(client: &Client) -> Result<(), Failure> {
    if let Ok(urls) = client.peers().await {
        let endpoints: Vec<Endpoint> = urls.iter().filter_map(|url| url.parse().ok()).collect();
        if !endpoints.is_empty() {
            client.set_endpoints(endpoints);
        }
    }
    Ok(())
}

fn join(endpoints: &[Endpoint]) -> String {
    let all: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    all.join(",")
}

/// The request as a curl command, in the original's form. Passwords are not shown.
fn curl(traced: &TracedRequest<'_>) -> String {
    let command = format!("cURL Command: curl -X {} {}", traced.method, traced.url);
    match traced.body {
        Some(body) => format!("{command} -d {body:?}"),
        None if traced.body_is_secret => format!("{command} -d \"(not shown: it holds a password)\""),
        None => command,
    }
}
