//! An in-memory network with delays, one-way partitions and connection resets.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use etcd_raft::{BoxedStream, Dialing, Member, Network, Target};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::runtime::Handle;
use tokio::sync::watch;

const PIPE_BYTES: usize = 1 << 20;

/// The rules for all connections.
#[derive(Clone, Default)]
struct Rules {
    /// Pairs whose first member cannot reach the second.
    stopped: HashSet<(u64, u64)>,
    delay: Duration,
    /// Incremented to reset the connections of a member.
    cuts: HashMap<u64, u64>,
}

struct Endpoint {
    member: Member,
    runtime: Handle,
}

pub struct TestNetwork {
    rules: watch::Sender<Rules>,
    endpoints: Mutex<HashMap<u64, Endpoint>>,
}

impl TestNetwork {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { rules: watch::Sender::new(Rules::default()), endpoints: Mutex::default() })
    }

    pub fn network(self: &Arc<Self>, from: u64) -> Arc<dyn Network> {
        Arc::new(Dialer { from, network: Arc::clone(self) })
    }

    pub fn attach(&self, id: u64, member: Member, runtime: Handle) {
        self.endpoints.lock().insert(id, Endpoint { member, runtime });
    }

    pub fn detach(&self, id: u64) {
        self.endpoints.lock().remove(&id);
        self.rules.send_modify(|rules| *rules.cuts.entry(id).or_default() += 1);
    }

    /// Blocks everything that `from` sends to `to`.
    pub fn stop(&self, from: u64, to: u64) {
        self.rules.send_modify(|rules| {
            rules.stopped.insert((from, to));
        });
    }

    /// Removes all blocks.
    pub fn heal(&self) {
        self.rules.send_modify(|rules| rules.stopped.clear());
    }

    pub fn delay(&self, delay: Duration) {
        self.rules.send_modify(|rules| rules.delay = delay);
    }
}

struct Dialer {
    from: u64,
    network: Arc<TestNetwork>,
}

impl Network for Dialer {
    fn dial(&self, target: Target) -> Dialing {
        let (from, to, network) = (self.from, target.member_id, Arc::clone(&self.network));
        Box::pin(async move {
            let mut rules = network.rules.subscribe();
            let open =
                |rules: &Rules| !rules.stopped.contains(&(from, to)) && !rules.stopped.contains(&(to, from));
            rules.wait_for(open).await.map_err(io::Error::other)?;
            let (near, near_far) = tokio::io::duplex(PIPE_BYTES);
            let (far, far_near) = tokio::io::duplex(PIPE_BYTES);
            {
                let endpoints = network.endpoints.lock();
                let endpoint = endpoints.get(&to).ok_or(io::ErrorKind::ConnectionRefused)?;
                let member = endpoint.member.clone();
                endpoint.runtime.spawn(async move { member.serve_peer(Box::new(far)).await.ok() });
            }
            let cuts = [from, to].map(|id| rules.borrow().cuts.get(&id).copied());
            let (near_read, near_write) = tokio::io::split(near_far);
            let (far_read, far_write) = tokio::io::split(far_near);
            let forward = Pump { from, to, cuts, rules: rules.clone() };
            let backward = Pump { from: to, to: from, cuts: [cuts[1], cuts[0]], rules };
            tokio::spawn(forward.run(near_read, far_write));
            tokio::spawn(backward.run(far_read, near_write));
            Ok(Box::new(near) as BoxedStream)
        })
    }
}

/// Forwards one direction of a connection.
struct Pump {
    from: u64,
    to: u64,
    cuts: [Option<u64>; 2],
    rules: watch::Receiver<Rules>,
}

impl Pump {
    async fn run(mut self, mut read: ReadHalf<DuplexStream>, mut write: WriteHalf<DuplexStream>) {
        let mut buffer = vec![0; 64 << 10];
        let (ends, cuts) = ([self.from, self.to], self.cuts);
        let cut = move |rules: &Rules| ends.map(|id| rules.cuts.get(&id).copied()) != cuts;
        let mut key_watch = self.rules.clone();
        loop {
            let count = tokio::select! {
                count = read.read(&mut buffer) => count.unwrap_or(0),
                _ = key_watch.wait_for(cut) => 0,
            };
            if count == 0 {
                break;
            }
            let delay = self.rules.borrow().delay;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let direction = (self.from, self.to);
            let open = self.rules.wait_for(|rules| !rules.stopped.contains(&direction) || cut(rules));
            if open.await.is_err() || write.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        // The other end may be closed already.
        write.shutdown().await.ok();
    }
}
