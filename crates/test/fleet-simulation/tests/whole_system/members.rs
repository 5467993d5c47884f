//! The etcd members with their HTTP front ends, on simulated disks and clocks.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use etcd::{MemberBackend, Metrics};
use etcd_api::Key;
use etcd_http::server::{Peer, serve_in_memory};
use etcd_http::{Cors, Front, Hosts, Settings};
use etcd_raft::simulated::SimulatedEnvironment;
use etcd_raft::{Clock, Dialing, InitialMember, Member, MemberConfig, Start, Target};
use parking_lot::Mutex;
use raft_log::simulated::{Fate, SimulatedDisk};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::network::{Host, Network, Port};

pub const MEMBERS: usize = 3;
const CLUSTER: u64 = 0xc1;
/// Unix time at the start of all histories.
const EPOCH: u64 = 1_700_000_000;
/// Maximum latency of a disk in milliseconds.
const QUICK: u64 = 2;
/// Maximum clock offset in seconds.
const WRONG: i64 = 3_600;

/// Cheap to clone.
#[derive(Clone)]
pub struct Members {
    network: Network,
    places: Arc<Mutex<Vec<Place>>>,
    folder: Arc<TempDir>,
}

/// A member's machine.
struct Place {
    host: Host,
    disk: SimulatedDisk,
    /// Data directory of the running member. A restart uses a copy.
    data: PathBuf,
    starts: usize,
    clock: Arc<WallClock>,
    slowest: Arc<AtomicU64>,
    chance: fastrand::Rng,
    member: Option<Member>,
    /// Tasks that serve its ports.
    serving: JoinSet<()>,
    /// Powered off until healed.
    off: bool,
}

/// A member's wall clock: virtual time plus an offset.
struct WallClock {
    begun: Instant,
    ahead_seconds: AtomicI64,
}

impl Clock for WallClock {
    fn now(&self) -> SystemTime {
        let seconds = EPOCH.saturating_add_signed(self.ahead_seconds.load(Ordering::Relaxed));
        UNIX_EPOCH + Duration::from_secs(seconds) + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// The network from the view of one member.
struct Calls {
    from: Host,
    network: Network,
}

impl etcd_raft::Network for Calls {
    fn dial(&self, target: Target) -> Dialing {
        let (network, from, to) = (self.network.clone(), self.from, host_of(target.member_id));
        Box::pin(async move {
            let stream = network.connect(from, to, Port::Peers).await?;
            Ok(Box::new(stream) as etcd_raft::BoxedStream)
        })
    }
}

/// Member ids start with 1, hosts with 0.
fn id_of(host: Host) -> u64 {
    host as u64 + 1
}

fn host_of(id: u64) -> Host {
    usize::try_from(id).unwrap() - 1
}

impl Members {
    pub fn start(network: Network, mut chance: fastrand::Rng) -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.unwrap();
        let begun = Instant::now();
        let places = (0..MEMBERS).map(|host| Place {
            host,
            disk: SimulatedDisk::new(),
            data: folder.path().join(format!("{host}-0")),
            starts: 0,
            clock: Arc::new(WallClock { begun, ahead_seconds: AtomicI64::new(0) }),
            slowest: Arc::new(AtomicU64::new(QUICK)),
            chance: chance.fork(),
            member: None,
            serving: JoinSet::new(),
            off: true,
        });
        let places = Arc::new(Mutex::new(places.collect()));
        let members = Self { network, places, folder: Arc::new(folder) };
        (0..MEMBERS).for_each(|host| members.power_on(host));
        members
    }

    fn power_on(&self, host: Host) {
        // Resets existing connections.
        self.network.reset(host);
        let (config, environment) = {
            let mut places = self.places.lock();
            let place = &mut places[host];
            place.off = false;
            (place.config(), place.environment())
        };
        let members = self.clone();
        let starting = async move {
            let calls = Arc::new(Calls { from: host, network: members.network.clone() });
            let member = Member::start_with(config, calls, environment).await.unwrap();
            members.serve(host, member);
        };
        self.places.lock()[host].serving.spawn(starting);
    }

    fn serve(&self, host: Host, member: Member) {
        let metrics = Arc::new(Metrics::new().unwrap());
        let backend = MemberBackend::new(member.clone(), metrics, &name(host), "token", true);
        let settings = Settings {
            server_version: "2.3.8".to_owned(),
            cors: Cors::default(),
            hosts: Hosts::default(),
            command_line: Vec::new(),
            set_log_level: None,
            registries: Vec::new(),
            secret: [0; 32],
        };
        let front = Arc::new(Front::new(backend, settings).unwrap());
        let mut places = self.places.lock();
        let place = &mut places[host];
        place.member = Some(member.clone());
        let mut peers = self.network.listen(host, Port::Peers);
        let mut clients = self.network.listen(host, Port::Clients);
        place.serving.spawn(async move {
            let mut connections = JoinSet::new();
            let peer = Peer { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), secure: false };
            loop {
                tokio::select! {
                    Some(stream) = peers.recv() => {
                        let member = member.clone();
                        connections.spawn(async move { drop(member.serve_peer(Box::new(stream)).await) });
                    }
                    Some(stream) = clients.recv() => {
                        connections.spawn(serve_in_memory(stream, peer, Arc::clone(&front)));
                    }
                    Some(_) = connections.join_next() => {}
                    else => return,
                }
            }
        });
    }

    /// Kills the member between two instructions. With any fate but [`Fate::Kept`] its machine loses power.
    fn crash(&self, host: Host, fate: Fate) {
        if fate == Fate::Kept {
            self.network.reset(host)
        } else {
            self.network.set_dark(host)
        };
        let mut places = self.places.lock();
        let place = &mut places[host];
        place.off = true;
        place.starts += 1;
        let next = self.folder.path().join(format!("{host}-{}", place.starts));
        copy_checkpoint(&place.data, &next);
        place.data = next;
        place.disk = place.disk.crash(place.disk.steps(), fate);
        place.serving.abort_all();
        // Its remaining tasks have no effect: connections, log and checkpoint were replaced.
        if let Some(member) = place.member.take() {
            tokio::spawn(async move { member.stop().await });
        }
    }

    /// From the other members, not from clients.
    pub fn cut_off(&self, host: Host) {
        let others = (0..MEMBERS).filter(|other| *other != host);
        others.for_each(|other| self.network.set_cut(host, other, true));
    }

    pub fn fault(&self, chance: &mut fastrand::Rng) -> String {
        let host = chance.usize(0..MEMBERS);
        match chance.u32(0..8) {
            0 => {
                let lossy = chance.u32(1..10);
                self.network.set_lossy(lossy);
                format!("{lossy} of a hundred parcels to clients end their connection")
            }
            1 => {
                self.network.set_hangs(host, true);
                format!("member {host} hangs")
            }
            2 => {
                self.crash(host, Fate::Kept);
                format!("member {host} is killed")
            }
            3 => {
                let fate = if chance.bool() { Fate::Lost } else { Fate::Mixed(chance.u64(..)) };
                self.crash(host, fate);
                format!("the power of member {host} is cut, unflushed writes: {fate:?}")
            }
            4 => {
                self.cut_off(host);
                format!("member {host} is cut off from the others")
            }
            5 => {
                for host in (0..MEMBERS).filter(|one| *one != host) {
                    self.crash(host, Fate::Lost);
                }
                format!("all members but {host} lose their power")
            }
            6 => {
                let slowest = chance.u64(20..400);
                for place in self.places.lock().iter() {
                    place.slowest.store(slowest, Ordering::Relaxed);
                }
                format!("the members' disks take up to {slowest} ms")
            }
            _ => {
                let ahead = chance.i64(-WRONG..=WRONG);
                self.places.lock()[host].clock.ahead_seconds.store(ahead, Ordering::Relaxed);
                format!("the time of day of member {host} is wrong by {ahead} s")
            }
        }
    }

    /// Ends all faults. Clock offsets remain.
    pub fn heal(&self) {
        self.network.set_lossy(0);
        for host in 0..MEMBERS {
            self.network.set_hangs(host, false);
            (0..host).for_each(|other| self.network.set_cut(host, other, false));
            self.places.lock()[host].slowest.store(QUICK, Ordering::Relaxed);
            let off = self.places.lock()[host].off;
            if off {
                self.power_on(host);
            }
        }
    }

    /// Members that do not run. In the end all must run.
    pub fn stopped(&self) -> Vec<String> {
        let places = self.places.lock();
        let fault = |place: &Place| match &place.member {
            None => Some(format!("member {} does not run", place.host)),
            Some(member) => {
                member.stop_reason().map(|reason| format!("member {} has stopped: {reason}", place.host))
            }
        };
        places.iter().filter_map(fault).collect()
    }

    /// From the member with the highest applied index.
    pub fn keys_below(&self, prefix: &str) -> Vec<(String, String)> {
        let places = self.places.lock();
        let members = places.iter().filter_map(|place| place.member.as_ref());
        let newest = members.max_by_key(|member| member.position()).unwrap();
        let root = Key::parse(prefix.trim_end_matches('/')).unwrap();
        let mut pairs = Vec::new();
        let found = newest.read(|store| store.get(&root, true));
        if let Ok(event) = found {
            leaves(&event.node, prefix, &mut pairs);
        }
        pairs
    }
}

fn leaves(node: &etcd_api::Node, prefix: &str, into: &mut Vec<(String, String)>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let Some(value) = &node.value
        && let Some(path) = text(node.key.as_bytes()).strip_prefix(prefix)
    {
        into.push((path.to_owned(), text(value)));
    }
    for below in &node.nodes {
        leaves(below, prefix, into);
    }
}

fn name(host: Host) -> String {
    format!("member-{host}")
}

impl Place {
    fn config(&self) -> MemberConfig {
        let urls = |host: Host, port: u16| vec![format!("http://{}:{port}", name(host))];
        let initial = (0..MEMBERS).map(|host| InitialMember {
            id: id_of(host),
            name: name(host),
            peer_urls: urls(host, 2380),
        });
        let mut config = MemberConfig::new(self.data.clone(), CLUSTER, id_of(self.host), &name(self.host));
        config.peer_urls = urls(self.host, 2380);
        config.client_urls = urls(self.host, 2379);
        config.start = Start::New(initial.collect());
        // As for a wide-area network: a member checks its clock five times per heartbeat, which dominates the cost of
        // a history.
        config.heartbeat = Duration::from_millis(500);
        config.election_timeout = Duration::from_millis(2_500);
        config.log_segment_bytes = 1 << 20;
        config.snapshot_count = 300;
        config.catch_up_entries = 200;
        config.clock = Arc::<WallClock>::clone(&self.clock);
        config
    }

    fn environment(&mut self) -> Arc<SimulatedEnvironment> {
        let (chance, slowest) = (Mutex::new(self.chance.fork()), Arc::clone(&self.slowest));
        let latency = move || Duration::from_millis(chance.lock().u64(0..=slowest.load(Ordering::Relaxed)));
        Arc::new(SimulatedEnvironment { disk: self.disk.clone(), disk_latency: Arc::new(latency) })
    }
}

/// LMDB commits within one instant of virtual time, so the copy is consistent.
fn copy_checkpoint(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let Ok(entries) = fs::read_dir(from) else { return };
    for entry in entries.map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_checkpoint(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
