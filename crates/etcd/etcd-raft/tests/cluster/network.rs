//! Members in one process, connected by streams in memory that can be delayed, stopped in one
//! direction, and cut.

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

/// What holds for all connections.
#[derive(Clone, Default)]
struct Rules {
    /// Nothing that the first sends reaches the second.
    stopped: HashSet<(u64, u64)>,
    delay: Duration,
    /// Goes up when connections of a member are cut.
    cuts: HashMap<u64, u64>,
}

struct Place {
    member: Member,
    runtime: Handle,
}

pub struct Wires {
    rules: watch::Sender<Rules>,
    places: Mutex<HashMap<u64, Place>>,
}

impl Wires {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { rules: watch::Sender::new(Rules::default()), places: Mutex::default() })
    }

    pub fn network(self: &Arc<Self>, from: u64) -> Arc<dyn Network> {
        Arc::new(Wire { from, wires: Arc::clone(self) })
    }

    pub fn attach(&self, id: u64, member: Member, runtime: Handle) {
        self.places.lock().insert(id, Place { member, runtime });
    }

    pub fn detach(&self, id: u64) {
        self.places.lock().remove(&id);
        self.rules.send_modify(|rules| *rules.cuts.entry(id).or_default() += 1);
    }

    /// From now on nothing that `from` sends reaches `to`.
    pub fn stop(&self, from: u64, to: u64) {
        self.rules.send_modify(|rules| {
            rules.stopped.insert((from, to));
        });
    }

    /// Everything goes through again.
    pub fn heal(&self) {
        self.rules.send_modify(|rules| rules.stopped.clear());
    }

    pub fn delay(&self, delay: Duration) {
        self.rules.send_modify(|rules| rules.delay = delay);
    }
}

struct Wire {
    from: u64,
    wires: Arc<Wires>,
}

impl Network for Wire {
    fn dial(&self, target: Target) -> Dialing {
        let (from, to, wires) = (self.from, target.member_id, Arc::clone(&self.wires));
        Box::pin(async move {
            let mut rules = wires.rules.subscribe();
            let open =
                |rules: &Rules| !rules.stopped.contains(&(from, to)) && !rules.stopped.contains(&(to, from));
            rules.wait_for(open).await.map_err(io::Error::other)?;
            let (near, near_far) = tokio::io::duplex(PIPE_BYTES);
            let (far, far_near) = tokio::io::duplex(PIPE_BYTES);
            {
                let places = wires.places.lock();
                let place = places.get(&to).ok_or(io::ErrorKind::ConnectionRefused)?;
                let member = place.member.clone();
                place.runtime.spawn(async move { member.serve_peer(Box::new(far)).await.ok() });
            }
            let cuts = [from, to].map(|id| rules.borrow().cuts.get(&id).copied());
            let (near_read, near_write) = tokio::io::split(near_far);
            let (far_read, far_write) = tokio::io::split(far_near);
            let there = Pump { from, to, cuts, rules: rules.clone() };
            let back = Pump { from: to, to: from, cuts: [cuts[1], cuts[0]], rules };
            tokio::spawn(there.run(near_read, far_write));
            tokio::spawn(back.run(far_read, near_write));
            Ok(Box::new(near) as BoxedStream)
        })
    }
}

/// Carries one direction of one connection.
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
        let mut watching = self.rules.clone();
        loop {
            let count = tokio::select! {
                count = read.read(&mut buffer) => count.unwrap_or(0),
                _ = watching.wait_for(cut) => 0,
            };
            if count == 0 {
                break;
            }
            let delay = self.rules.borrow().delay;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let way = (self.from, self.to);
            let open = self.rules.wait_for(|rules| !rules.stopped.contains(&way) || cut(rules));
            if open.await.is_err() || write.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        // The other end may be gone before this one.
        write.shutdown().await.ok();
    }
}
