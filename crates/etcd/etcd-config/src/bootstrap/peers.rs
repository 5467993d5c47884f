//! The `-peers` rule. S = own peer URL and the listed ones.
//!
//! A listed peer that has a cluster is joined. Otherwise S is the initial cluster, as soon as a majority of S
//! (ourselves included) is up, has no cluster and wants this very S under this very token. All who found by one
//! S compute one cluster, so it does not matter who is first; a majority of S wants only one S, so two cannot be
//! founded. Who waits tells its wish ([`Peers::wish`]) to those who ask.
//!
//! A majority also waits some rounds for those of whom nothing is known: 0.4's first member, started without
//! `-peers`, has its cluster before it can be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::peer_answer::{PeerAnswer, RunningCluster, Wish};
use crate::ids::Id;
use crate::initial_cluster::NewCluster;
use crate::limits::{PEERS_GRACE_ROUNDS, PEERS_ROUND};
use crate::url::{Url, join, sorted};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeersCommand {
    Ask(Vec<Url>),
    Change { through: Vec<Url>, remove: Option<Id>, add: Vec<Url> },
    Wait(Duration),
    Log(String),
    Found(NewCluster),
    Join { own_id: Id, cluster: RunningCluster },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// These have not answered in this round.
    Asking(BTreeSet<Url>),
    Changing,
    Pausing,
    Ended,
}

pub struct Peers {
    /// The URL that we are known by in S.
    own: Url,
    /// All that we advertise.
    advertised: Vec<Url>,
    wish: Wish,
    answers: BTreeMap<Url, PeerAnswer>,
    stage: Stage,
    rounds: u32,
    /// What was logged last: said again only when it changes.
    said: String,
}

impl Peers {
    /// `advertised` is not empty: flags give it a default.
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
            wish: Wish { set, token: token.to_owned() },
            answers: BTreeMap::new(),
            stage: Stage::Pausing,
            rounds: 0,
            said: String::new(),
        }
    }

    /// What to tell those who ask, for as long as nothing is decided.
    pub fn wish(&self) -> &Wish {
        &self.wish
    }

    pub fn start(&mut self) -> Vec<PeersCommand> {
        self.ask()
    }

    fn ask(&mut self) -> Vec<PeersCommand> {
        let others: Vec<_> = self.wish.set.iter().filter(|url| **url != self.own).cloned().collect();
        if others.is_empty() {
            return self.found();
        }
        self.rounds = self.rounds.saturating_add(1);
        self.answers.clear();
        self.stage = Stage::Asking(others.iter().cloned().collect());
        vec![PeersCommand::Ask(others)]
    }

    /// One peer's answer. Late and doubled ones decide nothing.
    pub fn answered(&mut self, peer: &Url, answer: PeerAnswer) -> Vec<PeersCommand> {
        let Stage::Asking(open) = &mut self.stage else { return Vec::new() };
        if !open.remove(peer) {
            return Vec::new();
        }
        let all = open.is_empty();
        if let PeerAnswer::Running(cluster) = answer {
            return self.join(cluster);
        }
        self.answers.insert(peer.clone(), answer);
        if all { self.judge() } else { Vec::new() }
    }

    pub fn due(&mut self) -> Vec<PeersCommand> {
        if self.stage == Stage::Pausing { self.ask() } else { Vec::new() }
    }

    /// The members API's answer. On failure everything is looked at anew: an add whose answer was lost shows
    /// in the member list.
    pub fn changed(&mut self, result: Result<(Id, RunningCluster), String>) -> Vec<PeersCommand> {
        if self.stage != Stage::Changing {
            return Vec::new();
        }
        match result {
            Ok((own_id, cluster)) => {
                self.stage = Stage::Ended;
                vec![PeersCommand::Join { own_id, cluster }]
            }
            Err(reason) => self.pause(format!("cannot join the cluster of the given peers yet: {reason}")),
        }
    }

    fn judge(&mut self) -> Vec<PeersCommand> {
        let wanted = |answer: &PeerAnswer| *answer == PeerAnswer::Waiting(self.wish.clone());
        let agreeing = 1 + self.answers.values().filter(|answer| wanted(answer)).count();
        let silent = self.answers.values().filter(|answer| **answer == PeerAnswer::Silent).count();
        let majority = self.wish.set.len() / 2 + 1;
        if agreeing >= majority && (silent == 0 || self.rounds >= PEERS_GRACE_ROUNDS) {
            return self.found();
        }
        let other = self.answers.iter().find_map(|(peer, answer)| match answer {
            PeerAnswer::Waiting(wish) if *wish != self.wish => Some((peer, wish)),
            _ => None,
        });
        let line = match other {
            Some((peer, wish)) if wish.set != self.wish.set => format!(
                "peer {peer} wants to found a cluster of other members: {} there, {} here",
                join(&wish.set),
                join(&self.wish.set)
            ),
            Some((peer, _)) => format!("peer {peer} has another cluster token"),
            None => format!(
                "{agreeing} of {} peers are up and agree, {majority} are needed; {silent} do not answer",
                self.wish.set.len()
            ),
        };
        self.pause(line)
    }

    fn pause(&mut self, line: String) -> Vec<PeersCommand> {
        self.stage = Stage::Pausing;
        let mut commands = Vec::new();
        if line != self.said {
            self.said.clone_from(&line);
            commands.push(PeersCommand::Log(line));
        }
        commands.push(PeersCommand::Wait(PEERS_ROUND));
        commands
    }

    /// Names are not known yet: each member tells its own when it has started.
    fn found(&mut self) -> Vec<PeersCommand> {
        self.stage = Stage::Ended;
        let members = self.wish.set.iter().map(|url| (String::new(), vec![url.clone()]));
        let own = std::slice::from_ref(&self.own);
        vec![PeersCommand::Found(NewCluster::new(members, &self.wish.token, own))]
    }

    fn join(&mut self, cluster: RunningCluster) -> Vec<PeersCommand> {
        let mine = cluster.of_urls(&self.advertised);
        if let Some(member) = mine.filter(|member| !member.has_started()) {
            self.stage = Stage::Ended;
            return vec![PeersCommand::Join { own_id: member.id, cluster: cluster.clone() }];
        }
        // A member that has started and has lost its data may not come back as itself: it would forget votes
        // that it gave. It leaves, and a new one comes.
        let remove = mine.map(|member| member.id);
        let through = cluster.client_urls(remove);
        if through.is_empty() {
            return self.pause("the peers' cluster has not started yet".to_owned());
        }
        self.stage = Stage::Changing;
        vec![PeersCommand::Change { through, remove, add: vec![self.own.clone()] }]
    }
}
