//! Writers that create each key once: what was acknowledged must be there, once, on every member.
//! Others write keys that expire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance::history::Written;
use etcd_store::{Change, Command, Put};
use fastrand::Rng;
use parking_lot::Mutex;

use super::history::{key as key_of, put};
use super::network::Place;
use super::world::Surroundings;

pub const FOLDER: &str = "/ledger";
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Until members that were just started were told what the time is.
const SETTLES: Duration = Duration::from_secs(3);
/// What the leader's time may be ahead of a member's: two slow answers, and a clock that is followed.
const INACCURATE: Duration = Duration::from_millis(2_200);

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

/// Keys with a short life. None of them ends before its time, whatever the clocks are set to meanwhile.
pub async fn write_what_expires(mut random: Rng, surroundings: Arc<Surroundings>) {
    tokio::time::sleep(SETTLES).await;
    for sequence in 0_u64.. {
        tokio::time::sleep(Duration::from_millis(random.u64(50..150))).await;
        if surroundings.is_over() {
            return;
        }
        let member = random.u64(1..=surroundings.members);
        let Some(place) = surroundings.wires.place(member) else { continue };
        let life = Duration::from_secs(random.u64(1..8));
        tokio::spawn(live(place, format!("/expires/{sequence}"), life, Arc::clone(&surroundings)));
    }
}

async fn live(place: Place, key: String, life: Duration, surroundings: Arc<Surroundings>) {
    let Place { member, runtime } = place;
    let began = surroundings.trace.moments.millis();
    let put = put(&key, 1);
    // Nothing of a member outlives its runtime: it must be able to start again.
    let writing = runtime.spawn(async move {
        let expiration = Some(member.settled_time().await?.plus(life));
        member.propose(&Command::Put(Put { expiration, ..put })).await
    });
    let Ok(Ok(Ok(outcome))) = tokio::time::timeout(PATIENCE, writing).await else { return };
    if outcome.result.is_err() {
        return surroundings.fails(&format!("{key} was refused: {:?}", outcome.result));
    }
    let until = began + life.saturating_sub(INACCURATE).as_millis() as u64;
    let left = until.saturating_sub(surroundings.trace.moments.millis());
    tokio::time::sleep(Duration::from_millis(left)).await;
    let has_ended = |place: Place| {
        place.member.read(|store| store.index() >= outcome.index && store.get(&key_of(&key), false).is_err())
    };
    let ended = || (1..=surroundings.members).filter_map(|id| surroundings.wires.place(id)).any(has_ended);
    if left > 0 && ended() {
        surroundings
            .fails(&format!("{key} lived {} ms of {life:?}", surroundings.trace.moments.millis() - began));
    }
}
