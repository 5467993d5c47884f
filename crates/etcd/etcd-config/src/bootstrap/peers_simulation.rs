//! Simulation of the `-peers` algorithm with random starts, delays, losses and crashes. There are never two clusters,
//! and there is one as soon as a majority is running and messages arrive. Equal seeds give equal histories.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::peer_response::{PeerResponse, RunningCluster, RunningMember};
use super::peers::{Peers, PeersCommand};
use crate::Url;
use crate::ids::{self, Id};
use crate::initial_cluster::NewCluster;
use crate::limits::{PEERS_GRACE_ROUNDS, PEERS_REQUEST_TIMEOUT};

const TOKEN: &str = "t";
const SEEDS: u64 = 400;
/// Faults are injected until this time.
const FAULTS_UNTIL_MS: u64 = 60_000;
const END_MS: u64 = 150_000;

/// The peer lists of the nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lists {
    /// All nodes list all nodes, with or without themselves.
    Same,
    /// As in etcd 0.4's tutorials: the first node has no list, each other one lists those before it.
    Tutorial,
    /// Some nodes omit one peer. A cluster is not guaranteed then, but there are never two.
    OneOmitted,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum SimulationEvent {
    Start(usize),
    Crash(usize),
    Arrive { request: u64, from: usize, to: usize },
    Response { request: u64, from: usize, to: usize, response: Option<Response> },
    TimerExpired { node: usize, incarnation: u32 },
    Changed { node: usize, incarnation: u32, cluster: Id, remove: Option<Id>, lost: bool },
}

/// An ordered form of `PeerResponse` for the queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Response {
    ClusterProposal(Vec<Url>),
    Cluster(Id),
}

#[derive(Default)]
struct Node {
    list: Option<Vec<Url>>,
    up: bool,
    incarnation: u32,
    peers: Option<Peers>,
    /// On disk: survives crashes.
    cluster: Option<Id>,
}

struct World {
    random: fastrand::Rng,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64, SimulationEvent)>>,
    nodes: Vec<Node>,
    clusters: BTreeMap<Id, RunningCluster>,
    /// Pending requests: node, its incarnation, the peer.
    pending: BTreeMap<u64, (usize, u32, usize)>,
    bootstrapped: BTreeSet<Id>,
    history: Vec<(u64, SimulationEvent)>,
}

fn url(node: usize) -> Url {
    Url::new(crate::url::Scheme::Http, format!("10.0.0.{node}"), 7001)
}

impl World {
    fn new(seed: u64, lists: Lists) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = match lists {
            Lists::OneOmitted => [3, 5, 7][random.usize(0..3)],
            _ => random.usize(1..=7),
        };
        let nodes = (0..count)
            .map(|node| {
                let list = match lists {
                    Lists::Tutorial if node == 0 => None,
                    Lists::Tutorial => Some((0..node).map(url).collect()),
                    _ => {
                        let forgotten = (lists == Lists::OneOmitted && random.bool())
                            .then(|| random.usize(0..count))
                            .filter(|other| *other != node);
                        let with_self = random.bool();
                        let named = (0..count).filter(|other| Some(*other) != forgotten);
                        let mut list: Vec<_> =
                            named.filter(|other| with_self || *other != node).map(url).collect();
                        random.shuffle(&mut list);
                        Some(list)
                    }
                };
                Node { list, ..Node::default() }
            })
            .collect();
        let mut world = Self {
            random,
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            nodes,
            clusters: BTreeMap::new(),
            pending: BTreeMap::new(),
            bootstrapped: BTreeSet::new(),
            history: Vec::new(),
        };
        world.plan_faults(count, lists);
        world
    }

    /// Starts and crashes. Finally a majority is running; all nodes if the first one bootstraps alone.
    fn plan_faults(&mut self, count: usize, lists: Lists) {
        let most_down = if lists == Lists::Tutorial { 0 } else { (count - 1) / 2 };
        let stay_down = self.random.usize(0..=most_down);
        for node in 0..count {
            let begin = self.random.u64(0..FAULTS_UNTIL_MS / 2);
            self.at(begin, SimulationEvent::Start(node));
            for _ in 0..self.random.usize(0..4) {
                let crash = self.random.u64(0..FAULTS_UNTIL_MS);
                let back = crash + self.random.u64(1..5_000);
                self.at(crash, SimulationEvent::Crash(node));
                self.at(back, SimulationEvent::Start(node));
            }
            let last =
                if node < stay_down { SimulationEvent::Crash(node) } else { SimulationEvent::Start(node) };
            self.at(FAULTS_UNTIL_MS + 10_000, last);
        }
    }

    fn at(&mut self, time: u64, event: SimulationEvent) {
        self.sequence += 1;
        self.queue.push(Reverse((time, self.sequence, event)));
    }

    fn faults_enabled(&self) -> bool {
        self.now < FAULTS_UNTIL_MS
    }

    fn delay(&mut self) -> u64 {
        if self.faults_enabled() && self.random.u32(0..4) == 0 {
            self.random.u64(0..4_000)
        } else {
            self.random.u64(1..50)
        }
    }

    fn lost(&mut self) -> bool {
        self.faults_enabled() && self.random.u32(0..4) == 0
    }

    fn run(&mut self) {
        while let Some(Reverse((time, _, event))) = self.queue.pop() {
            if time > END_MS {
                break;
            }
            self.now = time;
            self.history.push((time, event.clone()));
            self.handle(event);
            assert!(self.bootstrapped.len() <= 1, "two clusters:\n{:#?}", self.history);
        }
    }

    fn handle(&mut self, event: SimulationEvent) {
        match event {
            SimulationEvent::Start(node) => self.start(node),
            SimulationEvent::Crash(node) => {
                self.nodes[node].up = false;
                self.nodes[node].incarnation += 1;
                self.nodes[node].peers = None;
            }
            SimulationEvent::Arrive { request, from, to } => {
                let target = &self.nodes[to];
                let response = match (target.up, target.cluster, &target.peers) {
                    (true, Some(cluster), _) => Some(Response::Cluster(cluster)),
                    (true, None, Some(peers)) => {
                        Some(Response::ClusterProposal(peers.proposal().set.clone()))
                    }
                    _ => None,
                };
                if response.is_some() && !self.lost() {
                    let at = self.now + self.delay();
                    self.at(at, SimulationEvent::Response { request, from, to, response });
                }
            }
            SimulationEvent::Response { request, from, to, response } => {
                let Some((_, incarnation, _)) = self.pending.remove(&request) else { return };
                let peer_response = match response {
                    None => PeerResponse::NoResponse,
                    Some(Response::ClusterProposal(set)) => {
                        PeerResponse::Waiting(super::ClusterProposal { set, token: TOKEN.to_owned() })
                    }
                    Some(Response::Cluster(id)) => PeerResponse::Running(self.clusters[&id].clone()),
                };
                self.notify(from, incarnation, |peers| peers.handle_response(&url(to), peer_response));
            }
            SimulationEvent::TimerExpired { node, incarnation } => self.notify(node, incarnation, Peers::due),
            SimulationEvent::Changed { node, incarnation, cluster, remove, lost } => {
                let result = self.change(node, cluster, remove);
                let result = if lost { Err("timed out".to_owned()) } else { result };
                self.notify(node, incarnation, |peers| peers.changed(result));
            }
        }
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].up {
            return;
        }
        self.nodes[node].up = true;
        if self.nodes[node].cluster.is_some() {
            return;
        }
        let Some(list) = self.nodes[node].list.clone() else {
            let new = NewCluster::new([(String::new(), vec![url(node)])], TOKEN, &[url(node)]);
            return self.execute(node, vec![PeersCommand::Bootstrap(new)]);
        };
        let mut peers = Peers::new(&[url(node)], &list, TOKEN);
        let commands = peers.start();
        self.nodes[node].peers = Some(peers);
        self.execute(node, commands);
    }

    fn notify(
        &mut self,
        node: usize,
        incarnation: u32,
        deliver: impl FnOnce(&mut Peers) -> Vec<PeersCommand>,
    ) {
        let one = &mut self.nodes[node];
        if one.up
            && one.incarnation == incarnation
            && let Some(peers) = &mut one.peers
        {
            let commands = deliver(peers);
            self.execute(node, commands);
        }
    }

    fn execute(&mut self, node: usize, commands: Vec<PeersCommand>) {
        let incarnation = self.nodes[node].incarnation;
        for command in commands {
            match command {
                PeersCommand::Query(peers) => {
                    for peer in peers {
                        self.request(node, incarnation, &peer);
                    }
                }
                PeersCommand::Wait(wait) => {
                    let at = self.now + u64::try_from(wait.as_millis()).unwrap();
                    self.at(at, SimulationEvent::TimerExpired { node, incarnation });
                }
                PeersCommand::Change { through, remove, .. } => {
                    let cluster = self
                        .clusters
                        .values()
                        .find(|cluster| cluster.client_urls(remove).iter().any(|url| through.contains(url)))
                        .map(|cluster| cluster.id)
                        .unwrap();
                    let lost = self.lost();
                    let at = self.now + self.delay();
                    self.at(at, SimulationEvent::Changed { node, incarnation, cluster, remove, lost });
                }
                PeersCommand::Bootstrap(new) => self.bootstrap(node, &new),
                PeersCommand::Join { cluster, .. } => self.set_cluster(node, cluster.id),
                PeersCommand::Log(_) => {}
            }
        }
    }

    fn request(&mut self, from: usize, incarnation: u32, peer: &Url) {
        let to = (0..self.nodes.len()).find(|node| url(*node) == *peer).unwrap();
        self.sequence += 1;
        let request = self.sequence;
        self.pending.insert(request, (from, incarnation, to));
        let timeout = self.now + u64::try_from(PEERS_REQUEST_TIMEOUT.as_millis()).unwrap();
        self.at(timeout, SimulationEvent::Response { request, from, to, response: None });
        if !self.lost() {
            let at = self.now + self.delay();
            self.at(at, SimulationEvent::Arrive { request, from, to });
        }
    }

    fn bootstrap(&mut self, node: usize, new: &NewCluster) {
        // A crash before the write to disk has no effect.
        if self.faults_enabled() && self.random.u32(0..4) == 0 {
            return self.handle(SimulationEvent::Crash(node));
        }
        self.bootstrapped.insert(new.id);
        let members = new.members.iter().map(|member| RunningMember {
            id: member.id,
            peer_urls: member.peer_urls.clone(),
            name: String::new(),
            client_urls: Vec::new(),
        });
        let cluster = RunningCluster { id: new.id, members: members.collect() };
        self.clusters.entry(new.id).or_insert(cluster);
        self.set_cluster(node, new.id);
    }

    fn set_cluster(&mut self, node: usize, cluster: Id) {
        self.nodes[node].cluster = Some(cluster);
        self.nodes[node].peers = None;
        let members = &mut self.clusters.get_mut(&cluster).unwrap().members;
        if let Some(own) = members.iter_mut().find(|member| member.peer_urls.contains(&url(node))) {
            own.name = format!("n{node}");
            own.client_urls = vec![url(node).with_port(4001)];
        }
    }

    /// A membership change requires a majority of the members.
    fn change(&mut self, node: usize, id: Id, remove: Option<Id>) -> Result<(Id, RunningCluster), String> {
        let up = |member: &&RunningMember| {
            (0..self.nodes.len()).any(|other| {
                let one = &self.nodes[other];
                one.up && one.cluster == Some(id) && member.peer_urls.contains(&url(other))
            })
        };
        let cluster = &self.clusters[&id];
        if cluster.members.iter().filter(up).count() <= cluster.members.len() / 2 {
            return Err("no leader".to_owned());
        }
        let cluster = self.clusters.get_mut(&id).unwrap();
        cluster.members.retain(|member| Some(member.id) != remove);
        if cluster.of_urls(&[url(node)]).is_some() {
            return Err("etcdserver: peerURL exists".to_owned());
        }
        let own = ids::member(&[url(node)], TOKEN, Some(self.now));
        cluster.members.push(RunningMember {
            id: own,
            peer_urls: vec![url(node)],
            name: String::new(),
            client_urls: Vec::new(),
        });
        Ok((own, cluster.clone()))
    }
}

#[test]
fn never_two_clusters_and_always_one_with_a_majority() {
    for lists in [Lists::Same, Lists::Tutorial] {
        for seed in 0..SEEDS {
            let mut world = World::new(seed, lists);
            world.run();
            let out: Vec<_> = world.nodes.iter().filter(|node| node.up && node.cluster.is_none()).collect();
            assert!(out.is_empty(), "{lists:?} {seed}: {} stay out\n{:#?}", out.len(), world.history);
            let clusters: BTreeSet<_> = world.nodes.iter().filter_map(|node| node.cluster).collect();
            assert_eq!(clusters.len(), 1, "{lists:?} {seed}");
        }
    }
}

#[test]
fn an_omitted_peer_never_makes_a_second_cluster() {
    let mut with_a_cluster = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Lists::OneOmitted);
        world.run();
        with_a_cluster += world.bootstrapped.len();
    }
    assert!(with_a_cluster > 50, "only {with_a_cluster} of the histories came to a cluster");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        let mut world = World::new(seed, Lists::Same);
        world.run();
        world.history
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}

/// etcd 0.4's first member has a cluster and responds slowly; the other two must wait for it.
#[test]
fn a_majority_waits_for_peers_that_do_not_respond() {
    let mut peers = Peers::new(&[url(2)], &[url(0), url(1)], TOKEN);
    let proposal = PeerResponse::Waiting(peers.proposal().clone());
    peers.start();
    for round in 1..=PEERS_GRACE_ROUNDS {
        assert!(peers.handle_response(&url(1), proposal.clone()).is_empty());
        let end = peers.handle_response(&url(0), PeerResponse::NoResponse);
        let bootstrapped = matches!(end.as_slice(), [PeersCommand::Bootstrap(_)]);
        assert_eq!(bootstrapped, round == PEERS_GRACE_ROUNDS, "{round}: {end:?}");
        peers.due();
    }
}
