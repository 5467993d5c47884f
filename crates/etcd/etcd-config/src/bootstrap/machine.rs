//! The whole way from an empty head to a start, one event at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::event::{Command, Event, Start};
use super::existing::{self, ExistingError};
use super::peer_answer::{PeerAnswer, RunningCluster, Wish};
use super::peers::{Peers, PeersCommand};
use super::srv;
use crate::config::{ClusterState, Config, Fallback, Founding, ProxyMode, hide_password};
use crate::data_dir::Kind;
use crate::discovery::{
    self, Discovery, DiscoveryError, DiscoveryUrl, ProxyUrl, Registration, failure_lines,
};
use crate::flag::table::DEFAULT_PEER_URLS;
use crate::ids;
use crate::initial_cluster::{InitialCluster, InitialClusterError, NewCluster};
use crate::url::{Url, join};

enum Stage {
    Look,
    SavedPeers,
    Resolve,
    Srv,
    /// Is this member perhaps known already, or who is the existing cluster?
    AskMembers {
        cluster: InitialCluster,
        open: BTreeSet<Url>,
        running: Option<RunningCluster>,
    },
    Peers(Peers),
    Discovery(Discovery),
    Ended,
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
        Self { config: config.clone(), proxy, resolved: BTreeMap::new(), stage: Stage::Look }
    }

    pub fn start(&mut self) -> Vec<Command> {
        vec![Command::ReadDataDir]
    }

    /// What the peer port answers (503) while nothing is decided; `None` unless `-peers` rules.
    pub fn wish(&self) -> Option<&Wish> {
        match &self.stage {
            Stage::Peers(peers) => Some(peers.wish()),
            _ => None,
        }
    }

    /// What happened -> what to do. What does not fit the stage changes nothing.
    pub fn step(&mut self, event: Event) -> Vec<Command> {
        match (&mut self.stage, event) {
            (Stage::Look, Event::DataDir(contents)) => match contents.kind() {
                Ok(kind) => self.looked(kind),
                Err(error) => self.fail(vec![error.to_string()]),
            },
            (Stage::SavedPeers, Event::SavedPeers(peers)) if !peers.is_empty() => {
                self.begin(Start::Proxy { peers })
            }
            (Stage::SavedPeers, Event::SavedPeers(_)) => self.resolve(),
            (Stage::Resolve, Event::Resolved(addresses)) => {
                self.resolved = addresses;
                self.founding()
            }
            (Stage::Srv, Event::Srv { tls, plain }) => self.named_by_dns(srv::Answers { tls, plain }),
            (Stage::AskMembers { open, running, .. }, Event::Peer { peer, answer }) => {
                if open.remove(&peer)
                    && let PeerAnswer::Running(cluster) = answer
                {
                    running.get_or_insert(cluster);
                }
                if open.is_empty() || running.is_some() { self.members_known() } else { Vec::new() }
            }
            (Stage::Peers(peers), event) => {
                let commands = match event {
                    Event::Peer { peer, answer } => peers.answered(&peer, answer),
                    Event::Changed(result) => peers.changed(result),
                    Event::Due => peers.due(),
                    _ => Vec::new(),
                };
                commands.into_iter().map(|command| self.of_peers(command)).collect()
            }
            (Stage::Discovery(machine), Event::Discovery(event)) => {
                let commands = machine.step(event);
                self.of_discovery(commands)
            }
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, start: Start) -> Vec<Command> {
        self.stage = Stage::Ended;
        vec![Command::Start(start)]
    }

    fn fail(&mut self, lines: Vec<String>) -> Vec<Command> {
        self.stage = Stage::Ended;
        vec![Command::Fail(lines)]
    }

    fn looked(&mut self, kind: Kind) -> Vec<Command> {
        let already = |what: &str| {
            Command::Log(format!(
                "the server is already initialized as {what} before, starting as etcd {what}..."
            ))
        };
        match kind {
            Kind::Member => {
                self.stage = Stage::Ended;
                vec![already("member"), Command::Start(Start::Restart)]
            }
            Kind::Proxy => {
                self.proxy = true;
                self.stage = Stage::SavedPeers;
                vec![already("proxy"), Command::ReadSavedPeers]
            }
            Kind::Empty => self.resolve(),
        }
    }

    /// Names in lists of URLs are compared by their addresses: a fact to ask for first.
    fn resolve(&mut self) -> Vec<Command> {
        let listed = match &self.config.founding {
            Founding::Static { cluster, .. } => {
                InitialCluster::parse(cluster).map(|cluster| cluster.urls()).unwrap_or_default()
            }
            Founding::Srv { .. } => Vec::new(),
            Founding::Peers { .. } | Founding::Discovery { .. } => return self.founding(),
        };
        let hosts: BTreeSet<_> = listed
            .iter()
            .chain(&self.config.advertise_peer)
            .filter(|url| !url.host.is_empty() && url.host.parse::<IpAddr>().is_err())
            .map(|url| url.host.clone())
            .collect();
        if hosts.is_empty() {
            return self.founding();
        }
        self.stage = Stage::Resolve;
        vec![Command::Resolve(hosts.into_iter().collect())]
    }

    fn founding(&mut self) -> Vec<Command> {
        match self.config.founding.clone() {
            Founding::Static { cluster, .. } => self.listed(&cluster),
            Founding::Srv { domain, .. } => {
                self.stage = Stage::Srv;
                vec![Command::LookUpSrv { domain }]
            }
            Founding::Peers { listed, .. } if self.proxy => self.begin(Start::Proxy { peers: listed }),
            Founding::Peers { listed, token } => {
                let mut peers = Peers::new(&self.config.advertise_peer, &listed, &token);
                let commands = peers.start();
                self.stage = Stage::Peers(peers);
                commands.into_iter().map(|command| self.of_peers(command)).collect()
            }
            Founding::Discovery { url, proxy, .. } => self.discover(&url, proxy.as_deref()),
        }
    }

    /// An initial cluster is named, by the flag or by DNS. Our own entry is held to our URLs.
    fn listed(&mut self, text: &str) -> Vec<Command> {
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
            return self.begin(Start::Proxy { peers: cluster.urls() });
        }
        let own = cluster.members().get(&name).cloned().unwrap_or_default();
        let others: Vec<_> = cluster.urls().into_iter().filter(|url| !own.contains(url)).collect();
        let open = others.iter().cloned().collect();
        self.stage = Stage::AskMembers { cluster, open, running: None };
        if others.is_empty() { self.members_known() } else { vec![Command::AskPeers(others)] }
    }

    fn named_by_dns(&mut self, answers: srv::Answers) -> Vec<Command> {
        let (name, advertised) = (&self.config.name, &self.config.advertise_peer);
        match srv::initial_cluster(name, advertised, &self.resolved, answers, !self.proxy) {
            Ok(named) => {
                let mut commands: Vec<_> = named.lines.into_iter().map(Command::Log).collect();
                // Its name in DNS and our own address are the same place.
                self.resolved.extend(named.own);
                commands.extend(self.listed(&named.cluster));
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

    /// Every other member was asked, or one told of a cluster.
    fn members_known(&mut self) -> Vec<Command> {
        let stage = std::mem::replace(&mut self.stage, Stage::Ended);
        let Stage::AskMembers { cluster, running, .. } = stage else { return Vec::new() };
        let (Founding::Static { state, token, .. } | Founding::Srv { state, token, .. }) =
            &self.config.founding
        else {
            return Vec::new();
        };
        let (name, token) = (self.config.name.clone(), token.clone());
        match (state, running) {
            (ClusterState::Existing, Some(running)) => {
                match existing::own_id(&cluster, &name, &running, &self.resolved) {
                    Ok(own_id) => self.begin(Start::Join { own_id, cluster: running }),
                    Err(error) => self.fail(vec![error.to_string()]),
                }
            }
            (ClusterState::Existing, None) => self.fail(vec![
                "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given urls".to_owned(),
            ]),
            (ClusterState::New, running) => match cluster.found(&name, &token) {
                Ok(new) => self.found(new, running.as_ref()),
                Err(error) => self.fail(vec![error.to_string()]),
            },
        }
    }

    /// A new cluster, unless it already knows us as started: then our data is gone, and we may not begin anew.
    fn found(&mut self, new: NewCluster, running: Option<&RunningCluster>) -> Vec<Command> {
        let mine = running.and_then(|cluster| cluster.members.iter().find(|member| member.id == new.own_id));
        if mine.is_some_and(|member| !member.client_urls.is_empty()) {
            return self.fail(vec![
                ExistingError::Bootstrapped(new.own_id).to_string(),
                "remove it from the cluster and add it again, or give it its data back.".to_owned(),
            ]);
        }
        self.begin(Start::Found(new))
    }

    fn of_peers(&mut self, command: PeersCommand) -> Command {
        match command {
            PeersCommand::Ask(peers) => Command::AskPeers(peers),
            PeersCommand::Change { through, remove, add } => Command::ChangeMembers { through, remove, add },
            PeersCommand::Wait(wait) => Command::Wait(wait),
            PeersCommand::Log(line) => Command::Log(line),
            PeersCommand::Found(cluster) => {
                self.stage = Stage::Ended;
                Command::Start(Start::Found(cluster))
            }
            PeersCommand::Join { own_id, cluster } => {
                self.stage = Stage::Ended;
                Command::Start(Start::Join { own_id, cluster })
            }
        }
    }

    fn discover(&mut self, url: &str, proxy: Option<&str>) -> Vec<Command> {
        if let Some(proxy) = proxy.filter(|proxy| ProxyUrl::parse(proxy).is_none()) {
            let refused = format!("invalid proxy address {:?}", hide_password(proxy));
            return self.discovery_failed(&DiscoveryError::Refused(refused));
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
        self.of_discovery(commands)
    }

    fn of_discovery(&mut self, commands: Vec<discovery::Command>) -> Vec<Command> {
        let mut out = Vec::new();
        for command in commands {
            match command {
                discovery::Command::Ask(request) => out.push(Command::Discovery(request)),
                discovery::Command::Wait(wait) => out.push(Command::Wait(wait)),
                discovery::Command::Log(line) => out.push(Command::Log(line)),
                discovery::Command::Failed(error) => out.extend(self.discovery_failed(&error)),
                discovery::Command::Done(cluster) => out.extend(self.discovered(&cluster, false)),
                discovery::Command::Full(cluster) => out.extend(self.discovered(&cluster, true)),
            }
        }
        out
    }

    /// The registered members. `full`: we are none of them.
    fn discovered(&mut self, text: &str, full: bool) -> Vec<Command> {
        let Founding::Discovery { url, fallback, .. } = self.config.founding.clone() else {
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
            out.extend(self.begin(Start::Proxy { peers: cluster.urls() }));
            return out;
        }
        match cluster.found(&self.config.name, &url) {
            Ok(new) => self.begin(Start::Found(new)),
            Err(error) => self.discovery_failed(&DiscoveryError::Refused(error.to_string())),
        }
    }

    fn discovery_failed(&mut self, error: &DiscoveryError) -> Vec<Command> {
        let url = match &self.config.founding {
            Founding::Discovery { url, .. } => url.clone(),
            _ => String::new(),
        };
        let lines = failure_lines(error, &self.config.name, &url, &self.config.data_dir);
        self.fail(lines)
    }
}
