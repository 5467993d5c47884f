//! Clusters of members that are killed, partitioned, added and removed.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

mod faults;
mod members;
mod network;
mod purged;
mod single_member;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_api::Key;
use etcd_raft::{InitialMember, Member, MemberConfig, Role, Start, StartError, Unavailable};
use etcd_store::{Command, Outcome, Put};
use tokio::runtime::Runtime;

use network::TestNetwork;

/// Far more than any test takes.
const DEADLINE: Duration = Duration::from_secs(30);
const SEGMENT_BYTES: u64 = 1 << 20;
const CLUSTER: u64 = 0xc1;

struct Node {
    member: Member,
    runtime: Runtime,
}

/// A cluster in this process. Each member has its own runtime, which is shut down with it.
struct Cluster {
    folder: tempfile::TempDir,
    network: Arc<TestNetwork>,
    nodes: BTreeMap<u64, Node>,
    initial: Vec<InitialMember>,
    catch_up_entries: u64,
}

fn url(id: u64) -> String {
    format!("http://127.0.0.1:{id}")
}

impl Cluster {
    fn empty(members: u64) -> Self {
        if std::env::var_os("SHOW_LOG").is_some() {
            tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).try_init().ok();
        }
        let initial =
            (1..=members).map(|id| InitialMember { id, name: format!("m{id}"), peer_urls: vec![url(id)] });
        Self {
            folder: tempfile::tempdir().unwrap(),
            network: TestNetwork::new(),
            nodes: BTreeMap::new(),
            initial: initial.collect(),
            catch_up_entries: etcd_raft::limits::SNAPSHOT_CATCH_UP_ENTRIES,
        }
    }

    fn new(members: u64) -> Self {
        let mut cluster = Self::empty(members);
        cluster.start_new();
        cluster
    }

    /// Starts all members and waits until the new cluster has recorded itself, so that later indexes are the test's.
    fn start_new(&mut self) {
        let ids: Vec<u64> = self.initial.iter().map(|member| member.id).collect();
        for id in &ids {
            self.start(*id);
        }
        let leader = self.leader();
        wait_for("the new cluster's record", || {
            self.member(leader).read(|store| {
                let membership = store.membership();
                let named = membership.members().filter(|member| !member.name.is_empty()).count();
                let done = named == ids.len() && membership.cluster_version().is_some();
                done.then_some(())
            })
        });
    }

    fn data_dir(&self, id: u64) -> std::path::PathBuf {
        self.folder.path().join(format!("m{id}"))
    }

    fn config(&self, id: u64) -> MemberConfig {
        let name = format!("m{id}");
        let mut config = MemberConfig::new(self.data_dir(id), CLUSTER, id, &name);
        config.peer_urls = vec![url(id)];
        config.heartbeat = Duration::from_millis(50);
        config.election_timeout = Duration::from_millis(500);
        config.log_segment_bytes = SEGMENT_BYTES;
        config.catch_up_entries = self.catch_up_entries;
        if self.initial.iter().any(|member| member.id == id) {
            config.start = Start::New(self.initial.clone());
        }
        config
    }

    fn try_start(&mut self, config: MemberConfig) -> Result<(), StartError> {
        let id = config.member_id;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let member = runtime.block_on(Member::start(config, self.network.network(id)))?;
        self.network.attach(id, member.clone(), runtime.handle().clone());
        self.nodes.insert(id, Node { member, runtime });
        Ok(())
    }

    fn start(&mut self, id: u64) {
        self.try_start(self.config(id)).unwrap();
    }

    /// Stops the member abruptly: it transfers no leadership and answers nothing.
    fn kill(&mut self, id: u64) {
        self.network.detach(id);
        let Node { member, runtime } = self.nodes.remove(&id).unwrap();
        runtime.shutdown_timeout(DEADLINE);
        drop(member);
    }

    fn stop(&mut self, id: u64) {
        let Node { member, runtime } = self.nodes.remove(&id).unwrap();
        runtime.block_on(member.stop());
        self.network.detach(id);
        drop(member);
        runtime.shutdown_timeout(DEADLINE);
    }

    fn on<R>(&self, id: u64, work: impl Future<Output = R>) -> R {
        self.nodes[&id].runtime.block_on(work)
    }

    fn member(&self, id: u64) -> Member {
        self.nodes[&id].member.clone()
    }

    /// A member that considers itself the leader.
    fn leader(&self) -> u64 {
        wait_for("a leader", || {
            self.nodes.iter().find_map(|(id, node)| {
                let status = node.member.status();
                (status.role == Role::Leader && status.leader == Some(*id)).then_some(*id)
            })
        })
    }

    fn follower(&self) -> u64 {
        let leader = self.leader();
        *self.nodes.keys().find(|id| **id != leader).unwrap()
    }

    fn put(&self, id: u64, key: &str, value: &str) -> Result<Outcome, Unavailable> {
        let member = self.member(id);
        self.on(id, async { member.propose(&put(key, value)).await })
    }

    fn must_put(&self, id: u64, key: &str, value: &str) -> u64 {
        let outcome = self.put(id, key, value).unwrap();
        assert!(outcome.result.is_ok(), "{outcome:?}");
        outcome.index
    }

    fn value(&self, id: u64, key: &str) -> Option<String> {
        value(&self.member(id), key)
    }

    fn quorum_value(&self, id: u64, key: &str) -> Option<String> {
        let member = self.member(id);
        self.on(id, async { member.barrier().await }).unwrap();
        value(&member, key)
    }
}

fn value(member: &Member, key: &str) -> Option<String> {
    let event = member.read(|store| store.get(&Key::parse(key).unwrap(), false)).ok()?;
    Some(String::from_utf8(event.node.value?.to_vec()).unwrap())
}

fn put(key: &str, value: &str) -> Command {
    Command::Put(Put {
        key: Key::parse(key).unwrap(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        dir: false,
        expiration: None,
        prev_exist: None,
        prev_value: None,
        prev_index: None,
        refresh: false,
    })
}

/// Polls until `check` returns a value.
fn wait_for<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_empty_folder(path: &Path) -> bool {
    std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
}
