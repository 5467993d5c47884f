//! Writers that create each key once: acknowledged keys must exist, once, on every member. Others write keys that
//! expire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance::history::Written;
use etcd_store::{Change, Command, Put};
use fastrand::Rng;
use parking_lot::Mutex;

use super::history::{key as key_of, put};
use super::network::Endpoint;
use super::simulation::ClientContext;

pub const FOLDER: &str = "/ledger";
const REQUEST_TIMEOUT: Duration = Duration::from_millis(2_500);
/// Until members that have just started know the cluster's time.
const TIME_SYNC_DELAY: Duration = Duration::from_secs(3);
/// How far the leader's time may be ahead of a member's: two slow reports plus the slew.
const MAX_TIME_ERROR: Duration = Duration::from_millis(2_200);

pub struct Writer {
    pub number: usize,
    pub random: Rng,
    pub context: Arc<ClientContext>,
    pub written: Arc<Mutex<Vec<Written>>>,
}

impl Writer {
    pub async fn run(mut self) {
        let mut member = self.random.u64(1..=self.context.members);
        for sequence in 0.. {
            let pause = self.random.u64(2..30);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if self.context.is_over() {
                return;
            }
            let key = format!("{FOLDER}/{}-{sequence:05}", self.number);
            let index = self.create(member, &key).await;
            if index.is_none() {
                member = self.random.u64(1..=self.context.members);
            }
            self.context.trace.note(format_args!("{key} at {member}: {index:?}"));
            self.written.lock().push(Written { key, index, answered: Instant::now() });
        }
    }

    async fn create(&mut self, member: u64, key: &str) -> Option<u64> {
        let Endpoint { member, runtime } = self.context.network.endpoint(member)?;
        let create = Command::Put(Put { prev_exist: Some(false), ..put(key, 1) });
        let writing = runtime.spawn(async move { member.propose(&create).await });
        let outcome = tokio::time::timeout(REQUEST_TIMEOUT, writing).await.ok()?.ok()?.ok()?;
        match outcome.result {
            Ok(Change::Event(event)) => Some(event.index()),
            // A create that is applied twice fails the second time.
            other => {
                self.context.report_failure(&format!("{key} was written twice: {other:?}"));
                None
            }
        }
    }
}

/// Writes keys with a short TTL. None may expire early, whatever the clocks are set to.
pub async fn write_expiring_keys(mut random: Rng, context: Arc<ClientContext>) {
    tokio::time::sleep(TIME_SYNC_DELAY).await;
    for sequence in 0_u64.. {
        tokio::time::sleep(Duration::from_millis(random.u64(50..150))).await;
        if context.is_over() {
            return;
        }
        let member = random.u64(1..=context.members);
        let Some(endpoint) = context.network.endpoint(member) else { continue };
        let life = Duration::from_secs(random.u64(1..8));
        tokio::spawn(check_lifetime(endpoint, format!("/expires/{sequence}"), life, Arc::clone(&context)));
    }
}

async fn check_lifetime(endpoint: Endpoint, key: String, life: Duration, context: Arc<ClientContext>) {
    let Endpoint { member, runtime } = endpoint;
    let began = context.trace.moments.millis();
    let put = put(&key, 1);
    // Nothing of a member may outlive its runtime, so that it can be restarted.
    let writing = runtime.spawn(async move {
        let expiration = Some(member.settled_time().await?.plus(life));
        member.propose(&Command::Put(Put { expiration, ..put })).await
    });
    let Ok(Ok(Ok(outcome))) = tokio::time::timeout(REQUEST_TIMEOUT, writing).await else { return };
    if outcome.result.is_err() {
        return context.report_failure(&format!("{key} was refused: {:?}", outcome.result));
    }
    let until = began + life.saturating_sub(MAX_TIME_ERROR).as_millis() as u64;
    let left = until.saturating_sub(context.trace.moments.millis());
    tokio::time::sleep(Duration::from_millis(left)).await;
    let has_ended = |endpoint: Endpoint| {
        endpoint
            .member
            .read(|store| store.index() >= outcome.index && store.get(&key_of(&key), false).is_err())
    };
    let ended = || (1..=context.members).filter_map(|id| context.network.endpoint(id)).any(has_ended);
    if left > 0 && ended() {
        context.report_failure(&format!(
            "{key} lived {} ms of {life:?}",
            context.trace.moments.millis() - began
        ));
    }
}
