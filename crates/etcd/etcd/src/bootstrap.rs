//! Executes the commands of `etcd_config::bootstrap` and feeds its state machine with the results.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etcd_config::bootstrap::{Bootstrap, Command, Event, PeerResponse, RunningCluster, RunningMember, Start};
use etcd_config::config::BootstrapMethod;
use etcd_config::data_dir::Contents;
use etcd_config::discovery::{self, DiscoveryUrl, Failure, HttpResponse, Method, ProxyUrl};
use etcd_config::ids::Id;
use etcd_config::{Config, Url, limits};
use rustls::ClientConfig;
use service::notify;
use tokio::task::JoinSet;

use crate::http_request::{RequestError, RequestParameters, send};
use crate::peer_port::PeerPort;
use crate::{data_dir, srv};

/// Bootstrap failed; the lines are for the log and stderr.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct BootstrapError(pub Vec<String>);

/// Client TLS configurations of bootstrap.
pub struct BootstrapTls {
    /// For discovery services: the system's CA bundle.
    pub public: Arc<ClientConfig>,
    /// For peers: the cluster's CA.
    pub peers: Option<Arc<ClientConfig>>,
    /// For the members' client URLs.
    pub clients: Option<etcd_client::TlsFiles>,
}

pub async fn run(
    config: &Config,
    bootstrap_tls: &BootstrapTls,
    port: &PeerPort,
) -> Result<Start, BootstrapError> {
    let mut machine = Bootstrap::new(config);
    let mut executor = CommandExecutor { config, bootstrap_tls, running: JoinSet::new() };
    let mut commands = machine.start();
    loop {
        for command in std::mem::take(&mut commands) {
            match command {
                Command::Log(line) => {
                    tracing::info!("{line}");
                    notify::status(&line);
                }
                Command::Start(start) => return Ok(start),
                Command::Fail(lines) => return Err(BootstrapError(lines)),
                other => executor.execute(other),
            }
        }
        port.set_proposal(machine.proposal().cloned());
        let Some(done) = executor.running.join_next().await else {
            return Err(BootstrapError(vec!["the bootstrap came to no end".to_owned()]));
        };
        for event in done.unwrap_or_default() {
            commands.extend(machine.step(event));
        }
    }
}

struct CommandExecutor<'a> {
    config: &'a Config,
    bootstrap_tls: &'a BootstrapTls,
    /// Each task returns the resulting events.
    running: JoinSet<Vec<Event>>,
}

impl CommandExecutor<'_> {
    fn execute(&mut self, command: Command) {
        let data_dir = self.config.data_dir.clone();
        match command {
            Command::ReadDataDir => self.emit(Event::DataDir(contents(&data_dir))),
            Command::ReadSavedPeers => self.emit(Event::SavedPeers(saved_peers(&data_dir))),
            Command::Resolve(hosts) => drop(self.running.spawn(resolve(hosts))),
            Command::LookUpSrv { domain } => {
                self.running.spawn(async move { vec![srv::look_up(&domain).await] });
            }
            Command::QueryPeers(peers) => {
                for peer in peers {
                    let tls = self.bootstrap_tls.peers.clone();
                    self.running.spawn(async move {
                        let response = query_peer(&peer, tls).await;
                        vec![Event::Peer { peer, response }]
                    });
                }
            }
            Command::ChangeMembers { through, remove, add } => {
                let tls = self.bootstrap_tls.clients.clone();
                self.running.spawn(async move {
                    vec![Event::Changed(change_members(through, remove, add, tls).await)]
                });
            }
            Command::Discovery(request) => {
                if let Some((url, proxy)) = discovery_urls(self.config) {
                    let tls = Arc::clone(&self.bootstrap_tls.public);
                    self.running.spawn(async move {
                        vec![Event::Discovery(discover(&url, proxy.as_ref(), &request, tls).await)]
                    });
                }
            }
            Command::Wait(pause) => {
                self.running.spawn(async move {
                    tokio::time::sleep(pause).await;
                    // Only the machine that is waiting handles its event.
                    vec![Event::TimerExpired, Event::Discovery(discovery::Event::TimerExpired)]
                });
            }
            Command::Log(_) | Command::Start(_) | Command::Fail(_) => {}
        }
    }

    fn emit(&mut self, event: Event) {
        self.running.spawn(std::future::ready(vec![event]));
    }
}

fn contents(data_dir: &Path) -> Contents {
    Contents { member: data_dir::has_member(data_dir), proxy: data_dir.join("proxy").exists() }
}

/// The proxy's saved peers; empty if they cannot be read, as at its first start.
fn saved_peers(data_dir: &Path) -> Vec<Url> {
    let text = std::fs::read(data_dir::proxy_file(data_dir)).unwrap_or_default();
    let saved: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let urls = saved["PeerURLs"].as_array().into_iter().flatten();
    urls.filter_map(|url| url.as_str()?.parse().ok()).collect()
}

async fn resolve(hosts: Vec<String>) -> Vec<Event> {
    let mut addresses = BTreeMap::new();
    for host in hosts {
        if let Some(address) = address(&host).await {
            addresses.insert(host, address);
        }
    }
    vec![Event::Resolved(addresses)]
}

async fn address(host: &str) -> Option<IpAddr> {
    let mut all = tokio::net::lookup_host((host, 0)).await.ok()?;
    all.next().map(|address| address.ip())
}

async fn query_peer(peer: &Url, tls: Option<Arc<ClientConfig>>) -> PeerResponse {
    let parameters = RequestParameters {
        method: hyper::Method::GET,
        endpoint: peer,
        path: "/members",
        value: None,
        credentials: None,
        timeout: Some(limits::PEERS_REQUEST_TIMEOUT),
        tls,
        proxy: None,
    };
    match send(&parameters).await {
        Ok(reply) => PeerResponse::read(reply.status, reply.header("X-Etcd-Cluster-Id"), &reply.body),
        Err(error) => {
            tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a peer does not respond");
            PeerResponse::NoResponse
        }
    }
}

/// The discovery URL and proxy, which the state machine has validated.
fn discovery_urls(config: &Config) -> Option<(DiscoveryUrl, Option<ProxyUrl>)> {
    match &config.bootstrap_method {
        BootstrapMethod::Discovery { url, proxy, .. } => {
            let proxy = match proxy {
                // An invalid proxy must not be bypassed.
                Some(text) => Some(ProxyUrl::parse(text)?),
                None => None,
            };
            Some((DiscoveryUrl::parse(url)?, proxy))
        }
        _ => None,
    }
}

async fn discover(
    url: &DiscoveryUrl,
    proxy: Option<&ProxyUrl>,
    request: &discovery::Request,
    tls: Arc<ClientConfig>,
) -> discovery::Event {
    let parameters = RequestParameters {
        method: match request.method {
            Method::Get => hyper::Method::GET,
            Method::Put => hyper::Method::PUT,
        },
        endpoint: &url.endpoint,
        path: &request.path,
        value: request.value.as_deref(),
        credentials: url.credentials.as_deref(),
        timeout: request.timeout,
        tls: Some(tls),
        proxy,
    };
    match send(&parameters).await {
        Ok(reply) => discovery::Event::Response(HttpResponse {
            status: reply.status,
            index: reply.header("X-Etcd-Index").and_then(|index| index.parse().ok()),
            body: reply.body,
        }),
        Err(RequestError::TimedOut(_)) => discovery::Event::Failed(Failure::TimedOut),
        Err(error) => discovery::Event::Failed(Failure::Connection(service::error::chain(&error))),
    }
}

/// Timeout of a membership change: a request's timeout and a margin.
const MEMBER_CHANGE_TIMEOUT: Duration = Duration::from_secs(15);

async fn change_members(
    through: Vec<Url>,
    remove: Option<Id>,
    add: Vec<Url>,
    tls: Option<etcd_client::TlsFiles>,
) -> Result<(Id, RunningCluster), String> {
    let endpoints: Vec<_> = through.iter().filter_map(|url| url.to_string().parse().ok()).collect();
    let mut config = etcd_client::Config::new(endpoints);
    config.tls = tls.unwrap_or_default();
    config.request_timeout = MEMBER_CHANGE_TIMEOUT;
    let client = etcd_client::Client::new(config).map_err(|error| service::error::chain(&error))?;
    if let Some(former) = remove {
        client.remove_member(&former.to_string()).await.map_err(|error| service::error::chain(&error))?;
    }
    let urls: Vec<String> = add.iter().map(Url::to_string).collect();
    let added = client.add_member(&urls).await.map_err(|error| service::error::chain(&error))?;
    let own: Id = added.id.parse().map_err(|_| format!("{:?} is no member id", added.id))?;
    let members = client.members().await.map_err(|error| service::error::chain(&error))?;
    let members = members.into_iter().filter_map(|member| {
        Some(RunningMember {
            id: member.id.parse().ok()?,
            peer_urls: member.peer_urls.iter().filter_map(|url| url.parse().ok()).collect(),
            name: member.name,
            client_urls: member.client_urls.iter().filter_map(|url| url.parse().ok()).collect(),
        })
    });
    let id = client.cluster_id().await.map_err(|error| service::error::chain(&error))?;
    let id = id.parse().map_err(|_| format!("{id:?} is no cluster id"))?;
    Ok((own, RunningCluster { id, members: members.collect() }))
}
