//! Publishes the machine's keys with a TTL: writes them when they change, and refreshes them otherwise.
//!
//! Each key has at most one write in flight; later changes are written after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_core::MachineId;
use fleet_core::registry::Key;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use crate::limits::{MAX_CONCURRENT, STATE_DEBOUNCE};
use crate::rate_limiter::RateLimiter;
use crate::settings::Settings;
use crate::store::{Precondition, Store, StoreError};

/// Published keys live this many TTLs, so that they outlive the machine's presence even if their last refresh is
/// almost a TTL older than the last heartbeat.
const TTL_FACTOR: u32 = 2;

/// Handle to publish and withdraw keys.
#[derive(Clone)]
pub struct KeyPublisher(mpsc::UnboundedSender<Command>);

enum Command {
    Publish { key: Key, value: String, timing: Timing, done: Option<oneshot::Sender<u64>> },
    Withdraw { key: Key, done: oneshot::Sender<()> },
    RepublishAll { done: oneshot::Sender<()> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Timing {
    Immediate,
    /// After [`STATE_DEBOUNCE`], unless the value changes before.
    Debounced,
}

/// Executes the writes of a [`KeyPublisher`].
pub struct PublisherTask<S> {
    store: S,
    machine_id: MachineId,
    ttl: Duration,
    renewal_interval: Duration,
    retry_interval: Duration,
    commands: mpsc::UnboundedReceiver<Command>,
    keys: BTreeMap<Key, PublishedKey>,
    /// Keys that are due, without a write in flight.
    due: BTreeSet<Key>,
    /// Keys that become due later.
    scheduled: BTreeSet<(Instant, Key)>,
    /// Keys that are not republished yet, by request.
    republish_waiters: Vec<(BTreeSet<Key>, oneshot::Sender<()>)>,
    tasks: JoinSet<(Key, Operation, Result<u64, StoreError>)>,
}

#[derive(Default)]
struct PublishedKey {
    /// `None` to delete the key.
    value: Option<String>,
    /// The value in the store, as far as this machine knows.
    written: Option<String>,
    in_flight: bool,
    /// A claim that is republished: another machine may have claimed the unit since.
    reclaimed: bool,
    /// Another machine has the claim. Republishing is finished until that machine withdraws it.
    foreign: bool,
    /// The store rejected the last write.
    rejected: bool,
    /// When the key becomes due. `None` while a write is in flight.
    scheduled: Option<Instant>,
    rate_limiter: RateLimiter,
    publish_waiters: Vec<oneshot::Sender<u64>>,
    withdraw_waiters: Vec<oneshot::Sender<()>>,
}

impl PublishedKey {
    /// Deletes, and writes with waiters, are not rate limited.
    fn earliest_write(&mut self) -> Instant {
        let now = Instant::now();
        let is_change = self.value.is_some() && self.publish_waiters.is_empty();
        if is_change { self.rate_limiter.next_allowed(now) } else { now }
    }
}

enum Operation {
    Put(String),
    /// Put, unless another machine has the claim.
    Reclaim(String),
    Delete,
    Refresh,
    /// Backoff after a failure.
    Paused,
}

/// A publisher and the task that executes it.
pub fn publisher<S: Store>(store: S, settings: &Settings) -> (KeyPublisher, PublisherTask<S>) {
    // Bounded by the machine's units: each task of a unit sends a few commands.
    let (sender, commands) = mpsc::unbounded_channel();
    let task = PublisherTask {
        store,
        machine_id: settings.machine_id.clone(),
        ttl: settings.ttl * TTL_FACTOR,
        renewal_interval: settings.renewal_interval(),
        retry_interval: settings.retry_interval(),
        commands,
        keys: BTreeMap::new(),
        due: BTreeSet::new(),
        scheduled: BTreeSet::new(),
        republish_waiters: Vec::new(),
        tasks: JoinSet::new(),
    };
    (KeyPublisher(sender), task)
}

impl KeyPublisher {
    pub fn publish(&self, key: Key, value: String) {
        self.send(Command::Publish { key, value, timing: Timing::Immediate, done: None });
    }

    /// Publishes a value that may be transient: a value that follows within [`STATE_DEBOUNCE`] replaces it.
    pub fn publish_debounced(&self, key: Key, value: String) {
        self.send(Command::Publish { key, value, timing: Timing::Debounced, done: None });
    }

    /// Returns the index of the write when it is done.
    pub async fn publish_and_wait(&self, key: Key, value: String) -> Option<u64> {
        let (done, written) = oneshot::channel();
        self.send(Command::Publish { key, value, timing: Timing::Immediate, done: Some(done) });
        written.await.ok()
    }

    /// The receiver resolves when the key is deleted. It may be dropped.
    pub fn withdraw(&self, key: Key) -> oneshot::Receiver<()> {
        let (done, withdrawn) = oneshot::channel();
        self.send(Command::Withdraw { key, done });
        withdrawn
    }

    /// Writes all keys again after the store was unreachable and may have lost them. Returns when this is done.
    pub async fn republish_all(&self) {
        let (done, written) = oneshot::channel();
        self.send(Command::RepublishAll { done });
        // An error means that the task has ended.
        written.await.unwrap_or(());
    }

    fn send(&self, command: Command) {
        // The task ends with the node.
        if self.0.send(command).is_err() {
            tracing::debug!("no more notifications");
        }
    }
}

/// Job states are claims: any machine may write them.
fn is_claim(key: &Key) -> bool {
    matches!(key, Key::JobState(_))
}

impl<S: Store> PublisherTask<S> {
    /// Returns when all [`KeyPublisher`]s are dropped.
    pub async fn run(mut self) {
        let mut renewal = interval_at(Instant::now() + self.renewal_interval, self.renewal_interval);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_writes();
            let next = self.scheduled.first().map(|(at, _)| *at);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return,
                },
                Some(finished) = self.tasks.join_next() => match finished {
                    Ok((key, operation, outcome)) => {
                        self.write_finished(key, operation, outcome);
                        self.complete_republish();
                    }
                    // Tasks neither panic nor are cancelled.
                    Err(error) => tracing::error!("a write to the store: {error}"),
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.promote_due(),
                _ = renewal.tick() => self.due.extend(self.idle()),
            }
        }
    }

    fn promote_due(&mut self) {
        let now = Instant::now();
        while let Some((at, key)) = self.scheduled.pop_first() {
            if at > now {
                self.scheduled.insert((at, key));
                return;
            }
            self.due.insert(key);
        }
    }

    fn idle(&self) -> Vec<Key> {
        let idle = self.keys.iter().filter(|(_, entry)| !entry.in_flight);
        idle.map(|(key, _)| key.clone()).collect()
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Publish { key, value, timing, done } => {
                let entry = self.keys.entry(key.clone()).or_default();
                entry.publish_waiters.extend(done);
                // The key is in use again: callers that withdrew it need not wait.
                entry.withdraw_waiters.drain(..).for_each(|done| done.send(()).unwrap_or_default());
                let same = entry.written.as_ref() == Some(&value) && entry.publish_waiters.is_empty();
                entry.value = Some(value);
                entry.reclaimed = false;
                if entry.in_flight || same || self.due.contains(&key) {
                    return;
                }
                let at = entry.earliest_write();
                match timing {
                    Timing::Immediate => self.schedule(key, at),
                    Timing::Debounced => self.schedule(key, at.max(Instant::now() + STATE_DEBOUNCE)),
                }
            }
            Command::Withdraw { key, done } => {
                let entry = self.keys.entry(key.clone()).or_default();
                entry.value = None;
                entry.withdraw_waiters.push(done);
                if !entry.in_flight {
                    self.due.insert(key);
                }
            }
            Command::RepublishAll { done } => {
                for (key, entry) in &mut self.keys {
                    entry.written = None;
                    entry.reclaimed = is_claim(key);
                }
                self.due.extend(self.idle());
                self.republish_waiters.push((self.keys.keys().cloned().collect(), done));
                self.complete_republish();
            }
        }
    }

    fn schedule(&mut self, key: Key, at: Instant) {
        let Some(entry) = self.keys.get_mut(&key) else { return };
        if at <= Instant::now() {
            self.due.insert(key);
        } else if entry.scheduled.is_none_or(|scheduled| at < scheduled) {
            if let Some(scheduled) = entry.scheduled.replace(at) {
                self.scheduled.remove(&(scheduled, key.clone()));
            }
            self.scheduled.insert((at, key));
        }
    }

    /// Notifies callers of [`KeyPublisher::republish_all`] whose keys are all written.
    fn complete_republish(&mut self) {
        let published = &self.keys;
        let is_published =
            |entry: &PublishedKey| entry.foreign || entry.written.is_some() && !entry.in_flight;
        for (mut keys, done) in std::mem::take(&mut self.republish_waiters) {
            keys.retain(|key| published.get(key).is_some_and(|entry| !is_published(entry)));
            if keys.is_empty() {
                done.send(()).unwrap_or_default();
            } else {
                self.republish_waiters.push((keys, done));
            }
        }
    }

    /// Starts writes up to the limit.
    fn start_writes(&mut self) {
        while self.tasks.len() < MAX_CONCURRENT
            && let Some(key) = self.due.pop_first()
        {
            let Some(entry) = self.keys.get_mut(&key) else { continue };
            entry.in_flight = true;
            if let Some(at) = entry.scheduled.take() {
                self.scheduled.remove(&(at, key.clone()));
            }
            let (store, ttl) = (self.store.clone(), self.ttl);
            let operation = match &entry.value {
                None => Operation::Delete,
                Some(value) if entry.written.as_ref() == Some(value) && entry.publish_waiters.is_empty() => {
                    Operation::Refresh
                }
                Some(value) if entry.reclaimed => Operation::Reclaim(value.clone()),
                Some(value) => Operation::Put(value.clone()),
            };
            let value = entry.value.clone().unwrap_or_default();
            // A job state belongs to the machine that claimed it last. Only this machine writes its states.
            let precondition = match &key {
                Key::JobState(_) => Precondition::Value(self.machine_id.to_string()),
                _ => Precondition::Always,
            };
            self.tasks.spawn(async move {
                let outcome = match &operation {
                    Operation::Put(value) => store.put(&key, value, Some(ttl), Precondition::Always).await,
                    Operation::Reclaim(value) => {
                        match store.put(&key, value, Some(ttl), precondition).await {
                            Err(StoreError::Rejected(_)) => {
                                store.put(&key, value, Some(ttl), Precondition::Absent).await
                            }
                            put => put,
                        }
                    }
                    Operation::Delete => store.delete(&key, precondition).await,
                    Operation::Refresh => {
                        store.refresh(&key, &value, ttl, Precondition::Value(value.clone())).await
                    }
                    Operation::Paused => Ok(0),
                };
                (key, operation, outcome)
            });
        }
    }

    fn write_finished(&mut self, key: Key, operation: Operation, outcome: Result<u64, StoreError>) {
        let Some(entry) = self.keys.get_mut(&key) else { return };
        let failed = match (&operation, &outcome) {
            // The key still exists, or the next refresh is rejected.
            (Operation::Refresh, Err(StoreError::Unavailable(why))) => Some(why),
            (_, Err(StoreError::Unavailable(why))) => {
                entry.written = None;
                Some(why)
            }
            // Missing permission, or a directory of that name: an immediate retry would be rejected as well.
            (Operation::Put(_), Err(StoreError::Rejected(why))) => {
                entry.written = None;
                if !std::mem::replace(&mut entry.rejected, true) {
                    tracing::error!("cannot write {}: {why}", key.path());
                }
                Some(why)
            }
            (Operation::Reclaim(_), Err(StoreError::Rejected(why))) => {
                entry.foreign = true;
                Some(why)
            }
            _ => None,
        };
        if let Some(why) = failed {
            tracing::debug!("{}: {why}", key.path());
            let retry_interval = self.retry_interval;
            self.tasks.spawn(async move {
                sleep(retry_interval).await;
                (key, Operation::Paused, Ok(0))
            });
            return;
        }
        entry.in_flight = false;
        match (operation, outcome) {
            (Operation::Put(value) | Operation::Reclaim(value), Ok(index)) => {
                let current = entry.value.as_ref() == Some(&value);
                entry.written = Some(value);
                (entry.rejected, entry.reclaimed, entry.foreign) = (false, false, false);
                entry.rate_limiter.record(Instant::now());
                if current {
                    // The caller may have given up.
                    entry.publish_waiters.drain(..).for_each(|waiter| {
                        waiter.send(index).unwrap_or_default();
                    });
                    return;
                }
            }
            // A missing key counts as deleted.
            (Operation::Delete, _) => {
                entry.written = None;
                entry.withdraw_waiters.drain(..).for_each(|done| done.send(()).unwrap_or_default());
                if entry.value.is_none() {
                    self.keys.remove(&key);
                    return;
                }
            }
            (Operation::Refresh, Ok(_)) if entry.value == entry.written => return,
            (Operation::Refresh, Ok(_)) | (Operation::Paused, _) => {}
            // The key has expired, or a delayed earlier write has changed it.
            (Operation::Refresh | Operation::Put(_) | Operation::Reclaim(_), Err(_)) => {
                entry.written = None;
                entry.reclaimed = is_claim(&key);
            }
        }
        let at = entry.earliest_write();
        self.schedule(key, at);
    }
}
