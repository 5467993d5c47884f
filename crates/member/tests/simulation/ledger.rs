//! Writers that create each key once: what was acknowledged must be there, once, on every member.
//! Others write keys that expire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance::history::Written;
use etcd_api::Timestamp;
use fastrand::Rng;
use kv::{Change, Command, Put};
use member::Clock;
use parking_lot::Mutex;

use super::history::put;
use super::network::Place;
use super::world::Surroundings;

pub const FOLDER: &str = "/ledger";
const PATIENCE: Duration = Duration::from_millis(2_500);

pub struct Writer {
    pub number: usize,
    pub random: Rng,
    pub surroundings: Arc<Surroundings>,
    pub written: Arc<Mutex<Vec<Written>>>,
}

impl Writer {
    pub async fn run(mut self) {
        let mut member = self.random.u64(1..=self.surroundings.members);
        for sequence in 0.. {
            let pause = self.random.u64(2..30);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if self.surroundings.is_over() {
                return;
            }
            let key = format!("{FOLDER}/{}-{sequence:05}", self.number);
            let index = self.create(member, &key).await;
            if index.is_none() {
                member = self.random.u64(1..=self.surroundings.members);
            }
            self.surroundings.trace.note(format_args!("{key} at {member}: {index:?}"));
            self.written.lock().push(Written { key, index, answered: Instant::now() });
        }
    }

    async fn create(&mut self, member: u64, key: &str) -> Option<u64> {
        let Place { member, runtime } = self.surroundings.wires.place(member)?;
        let create = Command::Put(Put { prev_exist: Some(false), ..put(key, 1) });
        let writing = runtime.spawn(async move { member.propose(&create).await });
        let outcome = tokio::time::timeout(PATIENCE, writing).await.ok()?.ok()?.ok()?;
        match outcome.result {
            Ok(Change::Event(event)) => Some(event.index()),
            // A create that is done twice is refused the second time.
            other => {
                self.surroundings.fails(&format!("{key} was written twice: {other:?}"));
                None
            }
        }
    }
}

/// Keys with a short life, by the clock of the member that is asked.
pub async fn write_what_expires(mut random: Rng, surroundings: Arc<Surroundings>) {
    for sequence in 0_u64.. {
        tokio::time::sleep(Duration::from_millis(random.u64(50..150))).await;
        if surroundings.is_over() {
            return;
        }
        let member = random.u64(1..=surroundings.members);
        let Some(Place { member: at, runtime }) = surroundings.wires.place(member) else { continue };
        let now = Timestamp::from(surroundings.clocks[member as usize - 1].now());
        let expiration = Some(now.plus_seconds(random.u64(1..4)));
        let command = Command::Put(Put { expiration, ..put(&format!("/expires/{}", sequence % 50), 1) });
        runtime.spawn(async move { at.propose(&command).await.is_ok() });
    }
}
