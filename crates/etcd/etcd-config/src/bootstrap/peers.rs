//! The `-peers` algorithm.
//!
//! S is the member's own peer URL and the listed ones. If a listed peer has a cluster, the member joins it. Otherwise
//! S is the initial cluster, as soon as a majority of S, including this member, is running, has no cluster, and
//! proposes the same S and token. The cluster's ids depend only on S and the token, so the order of members does not
//! matter. A majority of S proposes only one S, so two clusters cannot be bootstrapped. A waiting member responds
//! with its proposal ([`Peers::proposal`]).
//!
//! A majority waits some rounds for peers that do not respond: etcd 0.4's first member, started without `-peers`, has
//! a cluster before it responds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::peer_response::{ClusterProposal, PeerResponse, RunningCluster};
use crate::ids::Id;
use crate::initial_cluster::NewCluster;
use crate::limits::{PEERS_GRACE_ROUNDS, PEERS_ROUND};
use crate::url::{Url, join, sorted};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeersCommand {
    Query(Vec<Url>),
    Change { through: Vec<Url>, remove: Option<Id>, add: Vec<Url> },
    Wait(Duration),
    Log(String),
    Bootstrap(NewCluster),
    Join { own_id: Id, cluster: RunningCluster },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Peers that have not responded in this round.
    Querying(BTreeSet<Url>),
    Changing,
    Pausing,
    Finished,
}

pub struct Peers {
    /// The own URL in S.
    own: Url,
    /// All advertised peer URLs.
    advertised: Vec<Url>,
    proposal: ClusterProposal,
    responses: BTreeMap<Url, PeerResponse>,
    stage: Stage,
    rounds: u32,
    /// The last logged line; repeated lines are not logged.
    last_line: String,
}

impl Peers {
    /// `advertised` must not be empty; the flag has a default.
    pub fn new(advertised: &[Url], listed: &[Url], token: &str) -> Self {
        let own = advertised
            .iter()
            .find(|url| listed.contains(url))
            .or(advertised.first())
            .cloned()
            .unwrap_or_else(|| Url::new(crate::url::Scheme::Http, "localhost", 7001));
        let mut set = sorted(listed.iter().filter(|url| !advertised.contains(url)).cloned().collect());
        set.push(own.clone());
        let mut set = sorted(set);
        set.dedup();
        Self {
            own,
            advertised: advertised.to_vec(),
            proposal: ClusterProposal { set, token: token.to_owned() },
            responses: BTreeMap::new(),
            stage: Stage::Pausing,
            rounds: 0,
            last_line: String::new(),
        }
    }

    /// The response to other members until the cluster is decided.
    pub fn proposal(&self) -> &ClusterProposal {
        &self.proposal
    }

    pub fn start(&mut self) -> Vec<PeersCommand> {
        self.query()
    }

    fn query(&mut self) -> Vec<PeersCommand> {
        let others: Vec<_> = self.proposal.set.iter().filter(|url| **url != self.own).cloned().collect();
        if others.is_empty() {
            return self.bootstrap();
        }
        self.rounds = self.rounds.saturating_add(1);
        self.responses.clear();
        self.stage = Stage::Querying(others.iter().cloned().collect());
        vec![PeersCommand::Query(others)]
    }

    /// Handles a peer's response. Late and duplicate ones are ignored.
    pub fn handle_response(&mut self, peer: &Url, response: PeerResponse) -> Vec<PeersCommand> {
        let Stage::Querying(pending) = &mut self.stage else { return Vec::new() };
        if !pending.remove(peer) {
            return Vec::new();
        }
        let all = pending.is_empty();
        if let PeerResponse::Running(cluster) = response {
            return self.join(cluster);
        }
        self.responses.insert(peer.clone(), response);
        if all { self.decide() } else { Vec::new() }
    }

    pub fn due(&mut self) -> Vec<PeersCommand> {
        if self.stage == Stage::Pausing { self.query() } else { Vec::new() }
    }

    /// Handles the result of the members API. After a failure the next round starts: an add whose response was lost
    /// is in the member list.
    pub fn changed(&mut self, result: Result<(Id, RunningCluster), String>) -> Vec<PeersCommand> {
        if self.stage != Stage::Changing {
            return Vec::new();
        }
        match result {
            Ok((own_id, cluster)) => {
                self.stage = Stage::Finished;
                vec![PeersCommand::Join { own_id, cluster }]
            }
            Err(reason) => self.pause(format!("cannot join the cluster of the given peers yet: {reason}")),
        }
    }

    fn decide(&mut self) -> Vec<PeersCommand> {
        let agrees = |response: &PeerResponse| *response == PeerResponse::Waiting(self.proposal.clone());
        let agreeing = 1 + self.responses.values().filter(|response| agrees(response)).count();
        let silent =
            self.responses.values().filter(|response| **response == PeerResponse::NoResponse).count();
        let majority = self.proposal.set.len() / 2 + 1;
        if agreeing >= majority && (silent == 0 || self.rounds >= PEERS_GRACE_ROUNDS) {
            return self.bootstrap();
        }
        let other = self.responses.iter().find_map(|(peer, response)| match response {
            PeerResponse::Waiting(proposal) if *proposal != self.proposal => Some((peer, proposal)),
            _ => None,
        });
        let line = match other {
            Some((peer, proposal)) if proposal.set != self.proposal.set => format!(
                "peer {peer} wants to found a cluster of other members: {} there, {} here",
                join(&proposal.set),
                join(&self.proposal.set)
            ),
            Some((peer, _)) => format!("peer {peer} has another cluster token"),
            None => format!(
                "{agreeing} of {} peers are up and agree, {majority} are required; {silent} do not respond",
                self.proposal.set.len()
            ),
        };
        self.pause(line)
    }

    fn pause(&mut self, line: String) -> Vec<PeersCommand> {
        self.stage = Stage::Pausing;
        let mut commands = Vec::new();
        if line != self.last_line {
            self.last_line.clone_from(&line);
            commands.push(PeersCommand::Log(line));
        }
        commands.push(PeersCommand::Wait(PEERS_ROUND));
        commands
    }

    /// Names are unknown; each member publishes its own when it starts.
    fn bootstrap(&mut self) -> Vec<PeersCommand> {
        self.stage = Stage::Finished;
        let members = self.proposal.set.iter().map(|url| (String::new(), vec![url.clone()]));
        let own = std::slice::from_ref(&self.own);
        vec![PeersCommand::Bootstrap(NewCluster::new(members, &self.proposal.token, own))]
    }

    fn join(&mut self, cluster: RunningCluster) -> Vec<PeersCommand> {
        let own_member = cluster.of_urls(&self.advertised);
        if let Some(member) = own_member.filter(|member| !member.has_started()) {
            self.stage = Stage::Finished;
            return vec![PeersCommand::Join { own_id: member.id, cluster: cluster.clone() }];
        }
        // A started member that lost its data must not return under its id: it would forget its votes. It is removed,
        // and a new member is added.
        let remove = own_member.map(|member| member.id);
        let through = cluster.client_urls(remove);
        if through.is_empty() {
            return self.pause("the peers' cluster has not started yet".to_owned());
        }
        self.stage = Stage::Changing;
        vec![PeersCommand::Change { through, remove, add: vec![self.own.clone()] }]
    }
}
