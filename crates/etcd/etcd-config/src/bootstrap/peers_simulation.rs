//! The `-peers` rule under random starts, delays, losses and crashes: never two clusters; and one, as soon as a
//! majority is up and messages pass. The same seed gives the same history.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::peer_answer::{PeerAnswer, RunningCluster, RunningMember};
use super::peers::{Peers, PeersCommand};
use crate::Url;
use crate::ids::{self, Id};
use crate::initial_cluster::NewCluster;
use crate::limits::{PEERS_GRACE_ROUNDS, PEERS_REQUEST_TIMEOUT};

const TOKEN: &str = "t";
const SEEDS: u64 = 400;
/// Until then everything may fail, and from then on nothing does.
const TROUBLE_MS: u64 = 60_000;
const END_MS: u64 = 150_000;

/// How the nodes are told of each other.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lists {
    /// All name all, with or without themselves.
    Same,
    /// 0.4's tutorials: the first names nobody, each further one those before it.
    Tutorial,
    /// Some forget one peer. One cluster is not promised then; that there are never two is.
    OneForgotten,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Start(usize),
    Crash(usize),
    Arrive { ask: u64, from: usize, to: usize },
    Answer { ask: u64, from: usize, to: usize, said: Option<Said> },
    Due { node: usize, life: u32 },
    Changed { node: usize, life: u32, cluster: Id, remove: Option<Id>, lost: bool },
}

/// `PeerAnswer` has no order; the queue needs one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Wish(Vec<Url>),
    Cluster(Id),
}

#[derive(Default)]
struct Node {
    list: Option<Vec<Url>>,
    up: bool,
    life: u32,
    peers: Option<Peers>,
    /// On its disk: survives crashes.
    cluster: Option<Id>,
}

struct World {
    random: fastrand::Rng,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64, What)>>,
    nodes: Vec<Node>,
    clusters: BTreeMap<Id, RunningCluster>,
    /// Asked, not yet answered: (node, its life, the peer).
    open: BTreeMap<u64, (usize, u32, usize)>,
    founded: BTreeSet<Id>,
    history: Vec<(u64, What)>,
}

fn url(node: usize) -> Url {
    Url::new(crate::url::Scheme::Http, format!("10.0.0.{node}"), 7001)
}

impl World {
    fn new(seed: u64, lists: Lists) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = match lists {
            Lists::OneForgotten => [3, 5, 7][random.usize(0..3)],
            _ => random.usize(1..=7),
        };
        let nodes = (0..count)
            .map(|node| {
                let list = match lists {
                    Lists::Tutorial if node == 0 => None,
                    Lists::Tutorial => Some((0..node).map(url).collect()),
                    _ => {
                        let forgotten = (lists == Lists::OneForgotten && random.bool())
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
            open: BTreeMap::new(),
            founded: BTreeSet::new(),
            history: Vec::new(),
        };
        world.plan_trouble(count, lists);
        world
    }

    /// Starts and crashes; in the end a majority is up (all of them where the first one founds alone).
    fn plan_trouble(&mut self, count: usize, lists: Lists) {
        let most_down = if lists == Lists::Tutorial { 0 } else { (count - 1) / 2 };
        let stay_down = self.random.usize(0..=most_down);
        for node in 0..count {
            let begin = self.random.u64(0..TROUBLE_MS / 2);
            self.at(begin, What::Start(node));
            for _ in 0..self.random.usize(0..4) {
                let crash = self.random.u64(0..TROUBLE_MS);
                let back = crash + self.random.u64(1..5_000);
                self.at(crash, What::Crash(node));
                self.at(back, What::Start(node));
            }
            let last = if node < stay_down { What::Crash(node) } else { What::Start(node) };
            self.at(TROUBLE_MS + 10_000, last);
        }
    }

    fn at(&mut self, time: u64, what: What) {
        self.sequence += 1;
        self.queue.push(Reverse((time, self.sequence, what)));
    }

    fn trouble(&self) -> bool {
        self.now < TROUBLE_MS
    }

    fn delay(&mut self) -> u64 {
        if self.trouble() && self.random.u32(0..4) == 0 {
            self.random.u64(0..4_000)
        } else {
            self.random.u64(1..50)
        }
    }

    fn lost(&mut self) -> bool {
        self.trouble() && self.random.u32(0..4) == 0
    }

    fn run(&mut self) {
        while let Some(Reverse((time, _, what))) = self.queue.pop() {
            if time > END_MS {
                break;
            }
            self.now = time;
            self.history.push((time, what.clone()));
            self.happen(what);
            assert!(self.founded.len() <= 1, "two clusters:\n{:#?}", self.history);
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Start(node) => self.start(node),
            What::Crash(node) => {
                self.nodes[node].up = false;
                self.nodes[node].life += 1;
                self.nodes[node].peers = None;
            }
            What::Arrive { ask, from, to } => {
                let target = &self.nodes[to];
                let said = match (target.up, target.cluster, &target.peers) {
                    (true, Some(cluster), _) => Some(Said::Cluster(cluster)),
                    (true, None, Some(peers)) => Some(Said::Wish(peers.wish().set.clone())),
                    _ => None,
                };
                if said.is_some() && !self.lost() {
                    let at = self.now + self.delay();
                    self.at(at, What::Answer { ask, from, to, said });
                }
            }
            What::Answer { ask, from, to, said } => {
                let Some((_, life, _)) = self.open.remove(&ask) else { return };
                let answer = match said {
                    None => PeerAnswer::Silent,
                    Some(Said::Wish(set)) => {
                        PeerAnswer::Waiting(super::Wish { set, token: TOKEN.to_owned() })
                    }
                    Some(Said::Cluster(id)) => PeerAnswer::Running(self.clusters[&id].clone()),
                };
                self.tell(from, life, |peers| peers.answered(&url(to), answer));
            }
            What::Due { node, life } => self.tell(node, life, Peers::due),
            What::Changed { node, life, cluster, remove, lost } => {
                let result = self.change(node, cluster, remove);
                let result = if lost { Err("timed out".to_owned()) } else { result };
                self.tell(node, life, |peers| peers.changed(result));
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
            return self.obey(node, vec![PeersCommand::Found(new)]);
        };
        let mut peers = Peers::new(&[url(node)], &list, TOKEN);
        let commands = peers.start();
        self.nodes[node].peers = Some(peers);
        self.obey(node, commands);
    }

    fn tell(&mut self, node: usize, life: u32, say: impl FnOnce(&mut Peers) -> Vec<PeersCommand>) {
        let one = &mut self.nodes[node];
        if one.up
            && one.life == life
            && let Some(peers) = &mut one.peers
        {
            let commands = say(peers);
            self.obey(node, commands);
        }
    }

    fn obey(&mut self, node: usize, commands: Vec<PeersCommand>) {
        let life = self.nodes[node].life;
        for command in commands {
            match command {
                PeersCommand::Ask(peers) => {
                    for peer in peers {
                        self.ask(node, life, &peer);
                    }
                }
                PeersCommand::Wait(wait) => {
                    let at = self.now + u64::try_from(wait.as_millis()).unwrap();
                    self.at(at, What::Due { node, life });
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
                    self.at(at, What::Changed { node, life, cluster, remove, lost });
                }
                PeersCommand::Found(new) => self.found(node, &new),
                PeersCommand::Join { cluster, .. } => self.belongs(node, cluster.id),
                PeersCommand::Log(_) => {}
            }
        }
    }

    fn ask(&mut self, from: usize, life: u32, peer: &Url) {
        let to = (0..self.nodes.len()).find(|node| url(*node) == *peer).unwrap();
        self.sequence += 1;
        let ask = self.sequence;
        self.open.insert(ask, (from, life, to));
        let timeout = self.now + u64::try_from(PEERS_REQUEST_TIMEOUT.as_millis()).unwrap();
        self.at(timeout, What::Answer { ask, from, to, said: None });
        if !self.lost() {
            let at = self.now + self.delay();
            self.at(at, What::Arrive { ask, from, to });
        }
    }

    fn found(&mut self, node: usize, new: &NewCluster) {
        // A crash before it is on disk: nothing has happened.
        if self.trouble() && self.random.u32(0..4) == 0 {
            return self.happen(What::Crash(node));
        }
        self.founded.insert(new.id);
        let members = new.members.iter().map(|member| RunningMember {
            id: member.id,
            peer_urls: member.peer_urls.clone(),
            name: String::new(),
            client_urls: Vec::new(),
        });
        let cluster = RunningCluster { id: new.id, members: members.collect() };
        self.clusters.entry(new.id).or_insert(cluster);
        self.belongs(node, new.id);
    }

    fn belongs(&mut self, node: usize, cluster: Id) {
        self.nodes[node].cluster = Some(cluster);
        self.nodes[node].peers = None;
        let members = &mut self.clusters.get_mut(&cluster).unwrap().members;
        if let Some(own) = members.iter_mut().find(|member| member.peer_urls.contains(&url(node))) {
            own.name = format!("n{node}");
            own.client_urls = vec![url(node).with_port(4001)];
        }
    }

    /// A change of the membership needs a majority of the members.
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
fn a_forgotten_peer_never_makes_a_second_cluster() {
    let mut with_a_cluster = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Lists::OneForgotten);
        world.run();
        with_a_cluster += world.founded.len();
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

/// 0.4's first member has its cluster, and its answers are slow: the other two may not go without it.
#[test]
fn a_majority_waits_for_those_of_whom_nothing_is_known() {
    let mut peers = Peers::new(&[url(2)], &[url(0), url(1)], TOKEN);
    let wish = PeerAnswer::Waiting(peers.wish().clone());
    peers.start();
    for round in 1..=PEERS_GRACE_ROUNDS {
        assert!(peers.answered(&url(1), wish.clone()).is_empty());
        let end = peers.answered(&url(0), PeerAnswer::Silent);
        let founded = matches!(end.as_slice(), [PeersCommand::Found(_)]);
        assert_eq!(founded, round == PEERS_GRACE_ROUNDS, "{round}: {end:?}");
        peers.due();
    }
}
