//! What this machine says of its units: keys with a TTL, written when they change and renewed while they stand.
//!
//! Each key has at most one write on its way; what changed meanwhile is written after it.

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

/// Words outlive the machine's presence by as much: what it holds is known at least until it is taken for dead, even
/// where the last word about it is nearly a TTL older than the last beat.
const TTL_FACTOR: u32 = 2;

/// Says things, and takes them back.
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
    /// After [`STATE_DEBOUNCE`], if nothing else is to be said by then.
    Debounced,
}

/// The other end, which does it.
pub struct PublisherTask<S> {
    store: S,
    machine_id: MachineId,
    ttl: Duration,
    renewal_interval: Duration,
    retry_interval: Duration,
    commands: mpsc::UnboundedReceiver<Command>,
    keys: BTreeMap<Key, PublishedKey>,
    /// Keys whose write is due, and none is on its way.
    due: BTreeSet<Key>,
    /// Keys that become due; the times are those of their words.
    scheduled: BTreeSet<(Instant, Key)>,
    /// Which words are left of those that were to be said again.
    republish_waiters: Vec<(BTreeSet<Key>, oneshot::Sender<()>)>,
    tasks: JoinSet<(Key, Operation, Result<u64, StoreError>)>,
}

#[derive(Default)]
struct PublishedKey {
    /// `None`: it is to be deleted.
    value: Option<String>,
    /// What the store has, as far as this machine knows.
    written: Option<String>,
    in_flight: bool,
    /// A claim that is said again: another machine may have made it since, and then it is that one's.
    reclaimed: bool,
    /// Another machine has the claim. What is said again ends there, until that one takes it back.
    foreign: bool,
    /// The store rejected the last write.
    rejected: bool,
    /// When it becomes due. Not while it is on its way.
    scheduled: Option<Instant>,
    rate_limiter: RateLimiter,
    publish_waiters: Vec<oneshot::Sender<u64>>,
    withdraw_waiters: Vec<oneshot::Sender<()>>,
}

impl PublishedKey {
    /// Who waits for it, and what goes, does not wait for that.
    fn earliest_write(&mut self) -> Instant {
        let now = Instant::now();
        let is_change = self.value.is_some() && self.publish_waiters.is_empty();
        if is_change { self.rate_limiter.next_allowed(now) } else { now }
    }
}

enum Operation {
    Put(String),
    /// Only where no other machine has claimed it.
    Reclaim(String),
    Delete,
    Refresh,
    /// It failed, and has waited.
    Paused,
}

/// `KeyPublisher` end when the speaker does: then nothing is said any more.
pub fn publisher<S: Store>(store: S, settings: &Settings) -> (KeyPublisher, PublisherTask<S>) {
    // The orders are bounded by the units of this machine: each task of a unit gives a few.
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

    /// Something that may be over in a moment: what is said of it within [`STATE_DEBOUNCE`] is said instead.
    pub fn publish_debounced(&self, key: Key, value: String) {
        self.send(Command::Publish { key, value, timing: Timing::Debounced, done: None });
    }

    /// Returns the index of the write, once it is done: with the store away, later.
    pub async fn publish_and_wait(&self, key: Key, value: String) -> Option<u64> {
        let (done, written) = oneshot::channel();
        self.send(Command::Publish { key, value, timing: Timing::Immediate, done: Some(done) });
        written.await.ok()
    }

    /// What is answered comes when the store has it no more, and need not be waited for.
    pub fn withdraw(&self, key: Key) -> oneshot::Receiver<()> {
        let (done, withdrawn) = oneshot::channel();
        self.send(Command::Withdraw { key, done });
        withdrawn
    }

    /// The store may have lost what was written: it was away. Returns when it has it all again.
    pub async fn republish_all(&self) {
        let (done, written) = oneshot::channel();
        self.send(Command::RepublishAll { done });
        // A speaker that has ended says nothing more.
        written.await.unwrap_or(());
    }

    fn send(&self, command: Command) {
        // The speaker ends with the node: then there is nothing to be said.
        if self.0.send(command).is_err() {
            tracing::debug!("nothing is said any more");
        }
    }
}

/// That this machine has launched a unit: any machine may write it.
fn is_claim(key: &Key) -> bool {
    matches!(key, Key::JobState(_))
}

impl<S: Store> PublisherTask<S> {
    /// Until all [`KeyPublisher`] are gone.
    pub async fn run(mut self) {
        let mut renewal_interval = interval_at(Instant::now() + self.renewal_interval, self.renewal_interval);
        renewal_interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_writes();
            let next = self.scheduled.first().map(|(at, _)| *at);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle(command),
                    None => return,
                },
                Some(write_finished) = self.tasks.join_next() => match write_finished {
                    Ok((key, operation, outcome)) => {
                        self.write_finished(key, operation, outcome);
                        self.complete_republish();
                    }
                    // A task neither panics nor is ended.
                    Err(error) => tracing::error!("a write to the store: {error}"),
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.promote_due(),
                _ = renewal_interval.tick() => self.due.extend(self.idle()),
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
                // Who waits for the end of an older word need not wait for this one's.
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
        } else if entry.scheduled.is_none_or(|registry| at < registry) {
            if let Some(registry) = entry.scheduled.replace(at) {
                self.scheduled.remove(&(registry, key.clone()));
            }
            self.scheduled.insert((at, key));
        }
    }

    /// Who asked for all to be said again is told when no word is left that the store does not have.
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

    /// Starts as many writes as may be on their way.
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
            // Whoever launched it last has the key; of a state's key only this machine writes.
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
            // The key is still there, or the next renewal is rejected.
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
                    // Who asked may have stopped waiting.
                    entry.publish_waiters.drain(..).for_each(|waiter| {
                        waiter.send(index).unwrap_or_default();
                    });
                    return;
                }
            }
            // What is not there is deleted, too.
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
            // It has expired meanwhile, or an earlier write arrived late.
            (Operation::Refresh | Operation::Put(_) | Operation::Reclaim(_), Err(_)) => {
                entry.written = None;
                entry.reclaimed = is_claim(&key);
            }
        }
        let at = entry.earliest_write();
        self.schedule(key, at);
    }
}
