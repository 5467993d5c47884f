//! The bootstrap state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::event::{Command, Event, Start};
use super::existing::{self, ExistingError};
use super::peer_response::{ClusterProposal, PeerResponse, RunningCluster};
use super::peers::{Peers, PeersCommand};
use super::srv;
use crate::config::{BootstrapMethod, ClusterState, Config, Fallback, ProxyMode, hide_password};
use crate::data_dir::DataDirKind;
use crate::discovery::{
    self, Discovery, DiscoveryError, DiscoveryUrl, ProxyUrl, Registration, failure_lines,
};
use crate::flag::table::DEFAULT_PEER_URLS;
use crate::ids;
use crate::initial_cluster::{InitialCluster, InitialClusterError, NewCluster};
use crate::url::{Url, join};

enum Stage {
    CheckDataDir,
    SavedPeers,
    Resolve,
    Srv,
    /// Queries whether the local member is registered already, or for the existing cluster.
    QueryMembers {
        cluster: InitialCluster,
        pending: BTreeSet<Url>,
        running: Option<RunningCluster>,
    },
    Peers(Peers),
    Discovery(Discovery),
    Finished,
}

pub struct Bootstrap {
    config: Config,
    proxy: bool,
    resolved: BTreeMap<String, IpAddr>,
    stage: Stage,
}

impl Bootstrap {
    pub fn new(config: &Config) -> Self {
        let proxy = config.proxy.mode != ProxyMode::Off;
        Self { config: config.clone(), proxy, resolved: BTreeMap::new(), stage: Stage::CheckDataDir }
    }

    pub fn start(&mut self) -> Vec<Command> {
        vec![Command::ReadDataDir]
    }

    /// The body of the peer port's 503 response until the cluster is decided; `None` unless `-peers` is used.
    pub fn proposal(&self) -> Option<&ClusterProposal> {
        match &self.stage {
            Stage::Peers(peers) => Some(peers.proposal()),
            _ => None,
        }
    }

    /// Handles an event. An event that does not match the stage is ignored.
    pub fn step(&mut self, event: Event) -> Vec<Command> {
        match (&mut self.stage, event) {
            (Stage::CheckDataDir, Event::DataDir(contents)) => match contents.kind() {
                Ok(kind) => self.data_dir_checked(kind),
                Err(error) => self.fail(vec![error.to_string()]),
            },
            (Stage::SavedPeers, Event::SavedPeers(peers)) if !peers.is_empty() => {
                self.start_as(Start::Proxy { peers })
            }
            (Stage::SavedPeers, Event::SavedPeers(_)) => self.resolve(),
            (Stage::Resolve, Event::Resolved(addresses)) => {
                self.resolved = addresses;
                self.bootstrap_method()
            }
            (Stage::Srv, Event::Srv { tls, plain }) => self.srv_resolved(srv::SrvLookups { tls, plain }),
            (Stage::QueryMembers { pending, running, .. }, Event::Peer { peer, response }) => {
                if pending.remove(&peer)
                    && let PeerResponse::Running(cluster) = response
                {
                    running.get_or_insert(cluster);
                }
                if pending.is_empty() || running.is_some() { self.members_queried() } else { Vec::new() }
            }
            (Stage::Peers(peers), event) => {
                let commands = match event {
                    Event::Peer { peer, response } => peers.handle_response(&peer, response),
                    Event::Changed(result) => peers.changed(result),
                    Event::TimerExpired => peers.due(),
                    _ => Vec::new(),
                };
                commands.into_iter().map(|command| self.map_peers_command(command)).collect()
            }
            (Stage::Discovery(machine), Event::Discovery(event)) => {
                let commands = machine.step(event);
                self.map_discovery_commands(commands)
            }
            _ => Vec::new(),
        }
    }

    fn start_as(&mut self, start: Start) -> Vec<Command> {
        self.stage = Stage::Finished;
        vec![Command::Start(start)]
    }

    fn fail(&mut self, lines: Vec<String>) -> Vec<Command> {
        self.stage = Stage::Finished;
        vec![Command::Fail(lines)]
    }

    fn data_dir_checked(&mut self, kind: DataDirKind) -> Vec<Command> {
        let already = |what: &str| {
            Command::Log(format!(
                "the server is already initialized as {what} before, starting as etcd {what}..."
            ))
        };
        match kind {
            DataDirKind::Member => {
                self.stage = Stage::Finished;
                vec![already("member"), Command::Start(Start::Restart)]
            }
            DataDirKind::Proxy => {
                self.proxy = true;
                self.stage = Stage::SavedPeers;
                vec![already("proxy"), Command::ReadSavedPeers]
            }
            DataDirKind::Empty => self.resolve(),
        }
    }

    /// Resolves host names: URL lists are compared by address.
    fn resolve(&mut self) -> Vec<Command> {
        let listed = match &self.config.bootstrap_method {
            BootstrapMethod::Static { cluster, .. } => {
                InitialCluster::parse(cluster).map(|cluster| cluster.urls()).unwrap_or_default()
            }
            BootstrapMethod::Srv { .. } => Vec::new(),
            BootstrapMethod::Peers { .. } | BootstrapMethod::Discovery { .. } => {
                return self.bootstrap_method();
            }
        };
        let hosts: BTreeSet<_> = listed
            .iter()
            .chain(&self.config.advertise_peer)
            .filter(|url| !url.host.is_empty() && url.host.parse::<IpAddr>().is_err())
            .map(|url| url.host.clone())
            .collect();
        if hosts.is_empty() {
            return self.bootstrap_method();
        }
        self.stage = Stage::Resolve;
        vec![Command::Resolve(hosts.into_iter().collect())]
    }

    fn bootstrap_method(&mut self) -> Vec<Command> {
        match self.config.bootstrap_method.clone() {
            BootstrapMethod::Static { cluster, .. } => self.use_initial_cluster(&cluster),
            BootstrapMethod::Srv { domain, .. } => {
                self.stage = Stage::Srv;
                vec![Command::LookUpSrv { domain }]
            }
            BootstrapMethod::Peers { listed, .. } if self.proxy => {
                self.start_as(Start::Proxy { peers: listed })
            }
            BootstrapMethod::Peers { listed, token } => {
                let mut peers = Peers::new(&self.config.advertise_peer, &listed, &token);
                let commands = peers.start();
                self.stage = Stage::Peers(peers);
                commands.into_iter().map(|command| self.map_peers_command(command)).collect()
            }
            BootstrapMethod::Discovery { url, proxy, .. } => self.discover(&url, proxy.as_deref()),
        }
    }

    /// Uses an initial cluster from the flag or from DNS. The local member's entry must match its advertised URLs.
    fn use_initial_cluster(&mut self, text: &str) -> Vec<Command> {
        let (name, advertised) = (self.config.name.clone(), self.config.advertise_peer.clone());
        let parsed = InitialCluster::parse(text).and_then(|cluster| {
            if !self.proxy {
                cluster.check_unique()?;
                cluster.check_local(&name, &advertised, &self.resolved)?;
            }
            Ok(cluster)
        });
        let cluster = match parsed {
            Ok(cluster) => cluster,
            Err(error) => {
                let lines = self.cluster_hints(&error);
                return self.fail(lines);
            }
        };
        if self.proxy {
            return self.start_as(Start::Proxy { peers: cluster.urls() });
        }
        let own = cluster.members().get(&name).cloned().unwrap_or_default();
        let others: Vec<_> = cluster.urls().into_iter().filter(|url| !own.contains(url)).collect();
        let pending = others.iter().cloned().collect();
        self.stage = Stage::QueryMembers { cluster, pending, running: None };
        if others.is_empty() { self.members_queried() } else { vec![Command::QueryPeers(others)] }
    }

    fn srv_resolved(&mut self, lookups: srv::SrvLookups) -> Vec<Command> {
        let (name, advertised) = (&self.config.name, &self.config.advertise_peer);
        match srv::initial_cluster(name, advertised, &self.resolved, lookups, !self.proxy) {
            Ok(srv) => {
                let mut commands: Vec<_> = srv.lines.into_iter().map(Command::Log).collect();
                // The record's host and the advertised address are equal.
                self.resolved.extend(srv.own);
                commands.extend(self.use_initial_cluster(&srv.cluster));
                commands
            }
            Err(error) => self.fail(srv::failure_lines(&error)),
        }
    }

    fn cluster_hints(&self, error: &InitialClusterError) -> Vec<String> {
        let mut lines = vec![error.to_string()];
        if matches!(error, InitialClusterError::NotIncluded { .. } | InitialClusterError::NotNamed(_)) {
            if join(&self.config.advertise_peer) == DEFAULT_PEER_URLS {
                lines.push("forgot to set --initial-advertise-peer-urls flag?".to_owned());
            } else {
                lines.push("forgot to set --initial-cluster flag?".to_owned());
                lines.push("if you want to use discovery service, please set --discovery flag.".to_owned());
            }
        }
        lines
    }

    /// All other members have responded, or one has reported a running cluster.
    fn members_queried(&mut self) -> Vec<Command> {
        let stage = std::mem::replace(&mut self.stage, Stage::Finished);
        let Stage::QueryMembers { cluster, running, .. } = stage else { return Vec::new() };
        let (BootstrapMethod::Static { state, token, .. } | BootstrapMethod::Srv { state, token, .. }) =
            &self.config.bootstrap_method
        else {
            return Vec::new();
        };
        let (name, token) = (self.config.name.clone(), token.clone());
        match (state, running) {
            (ClusterState::Existing, Some(running)) => {
                match existing::own_id(&cluster, &name, &running, &self.resolved) {
                    Ok(own_id) => self.start_as(Start::Join { own_id, cluster: running }),
                    Err(error) => self.fail(vec![error.to_string()]),
                }
            }
            (ClusterState::Existing, None) => self.fail(vec![
                "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given urls".to_owned(),
            ]),
            (ClusterState::New, running) => match cluster.bootstrap(&name, &token) {
                Ok(new) => self.bootstrap_cluster(new, running.as_ref()),
                Err(error) => self.fail(vec![error.to_string()]),
            },
        }
    }

    /// Bootstraps a new cluster. If the running cluster knows this member as started, its data is lost, and it must
    /// not bootstrap again.
    fn bootstrap_cluster(&mut self, new: NewCluster, running: Option<&RunningCluster>) -> Vec<Command> {
        let own_member =
            running.and_then(|cluster| cluster.members.iter().find(|member| member.id == new.own_id));
        if own_member.is_some_and(|member| !member.client_urls.is_empty()) {
            return self.fail(vec![
                ExistingError::Bootstrapped(new.own_id).to_string(),
                "remove it from the cluster and add it again, or give it its data back.".to_owned(),
            ]);
        }
        self.start_as(Start::Bootstrap(new))
    }

    fn map_peers_command(&mut self, command: PeersCommand) -> Command {
        match command {
            PeersCommand::Query(peers) => Command::QueryPeers(peers),
            PeersCommand::Change { through, remove, add } => Command::ChangeMembers { through, remove, add },
            PeersCommand::Wait(wait) => Command::Wait(wait),
            PeersCommand::Log(line) => Command::Log(line),
            PeersCommand::Bootstrap(cluster) => {
                self.stage = Stage::Finished;
                Command::Start(Start::Bootstrap(cluster))
            }
            PeersCommand::Join { own_id, cluster } => {
                self.stage = Stage::Finished;
                Command::Start(Start::Join { own_id, cluster })
            }
        }
    }

    fn discover(&mut self, url: &str, proxy: Option<&str>) -> Vec<Command> {
        if let Some(proxy) = proxy.filter(|proxy| ProxyUrl::parse(proxy).is_none()) {
            let reason = format!("invalid proxy address {:?}", hide_password(proxy));
            return self.discovery_failed(&DiscoveryError::Refused(reason));
        }
        let Some(address) = DiscoveryUrl::parse(url) else {
            return self.discovery_failed(&DiscoveryError::Refused(format!(
                "{} is no URL of a token",
                hide_password(url)
            )));
        };
        let own = (!self.proxy).then(|| Registration {
            id: ids::member(&self.config.advertise_peer, url, None),
            name: self.config.name.clone(),
            peer_urls: self.config.advertise_peer.clone(),
        });
        let mut machine = Discovery::new(address, own);
        let commands = machine.start();
        self.stage = Stage::Discovery(machine);
        self.map_discovery_commands(commands)
    }

    fn map_discovery_commands(&mut self, commands: Vec<discovery::Command>) -> Vec<Command> {
        let mut out = Vec::new();
        for command in commands {
            match command {
                discovery::Command::Send(request) => out.push(Command::Discovery(request)),
                discovery::Command::Wait(wait) => out.push(Command::Wait(wait)),
                discovery::Command::Log(line) => out.push(Command::Log(line)),
                discovery::Command::Failed(error) => out.extend(self.discovery_failed(&error)),
                discovery::Command::Done(cluster) => out.extend(self.discovered(&cluster, false)),
                discovery::Command::Full(cluster) => out.extend(self.discovered(&cluster, true)),
            }
        }
        out
    }

    /// Uses the registered members. `full`: the local member is not one of them.
    fn discovered(&mut self, text: &str, full: bool) -> Vec<Command> {
        let BootstrapMethod::Discovery { url, fallback, .. } = self.config.bootstrap_method.clone() else {
            return Vec::new();
        };
        let Ok(cluster) = InitialCluster::parse(text) else {
            return self.discovery_failed(&DiscoveryError::InvalidUrl);
        };
        if full && fallback == Fallback::Exit {
            return self.discovery_failed(&DiscoveryError::Full);
        }
        if full || self.proxy {
            let mut out = Vec::new();
            if full {
                out.push(Command::Log("discovery cluster full, falling back to proxy".to_owned()));
            }
            out.extend(self.start_as(Start::Proxy { peers: cluster.urls() }));
            return out;
        }
        match cluster.bootstrap(&self.config.name, &url) {
            Ok(new) => self.start_as(Start::Bootstrap(new)),
            Err(error) => self.discovery_failed(&DiscoveryError::Refused(error.to_string())),
        }
    }

    fn discovery_failed(&mut self, error: &DiscoveryError) -> Vec<Command> {
        let url = match &self.config.bootstrap_method {
            BootstrapMethod::Discovery { url, .. } => url.clone(),
            _ => String::new(),
        };
        let lines = failure_lines(error, &self.config.name, &url, &self.config.data_dir);
        self.fail(lines)
    }
}
