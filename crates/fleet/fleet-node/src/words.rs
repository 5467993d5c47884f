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

use crate::allowance::Allowance;
use crate::limits::{AT_A_TIME, PASSING};
use crate::settings::Settings;
use crate::store::{Only, Store, StoreError};

/// Words outlive the machine's presence by as much: what it holds is known at least until it is taken for dead, even
/// where the last word about it is nearly a TTL older than the last beat.
const OUTLIVES: u32 = 2;

/// Says things, and takes them back.
#[derive(Clone)]
pub struct Words(mpsc::UnboundedSender<Order>);

enum Order {
    Say { key: Key, value: String, when: When, done: Option<oneshot::Sender<u64>> },
    TakeBack { key: Key, done: oneshot::Sender<()> },
    SayAllAgain { done: oneshot::Sender<()> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    /// After [`PASSING`], if nothing else is to be said by then.
    Later,
}

/// The other end, which does it.
pub struct Speaker<S> {
    store: S,
    me: MachineId,
    ttl: Duration,
    renewal: Duration,
    pause: Duration,
    orders: mpsc::UnboundedReceiver<Order>,
    words: BTreeMap<Key, Word>,
    /// Keys whose write is due, and none is on its way.
    due: BTreeSet<Key>,
    /// Keys that become due; the times are those of their words.
    later: BTreeSet<(Instant, Key)>,
    /// Which words are left of those that were to be said again.
    again: Vec<(BTreeSet<Key>, oneshot::Sender<()>)>,
    tasks: JoinSet<(Key, Work, Result<u64, StoreError>)>,
}

#[derive(Default)]
struct Word {
    /// `None`: it is to be deleted.
    value: Option<String>,
    /// What the store has, as far as this machine knows.
    written: Option<String>,
    on_its_way: bool,
    /// A claim that is said again: another machine may have made it since, and then it is that one's.
    reclaimed: bool,
    /// Another machine has the claim. What is said again ends there, until that one takes it back.
    anothers: bool,
    /// The store rejected the last write.
    refused: bool,
    /// When it becomes due. Not while it is on its way.
    later: Option<Instant>,
    allowance: Allowance,
    said: Vec<oneshot::Sender<u64>>,
    taken_back: Vec<oneshot::Sender<()>>,
}

impl Word {
    /// Who waits for it, and what goes, does not wait for that.
    fn may_be_written(&mut self) -> Instant {
        let now = Instant::now();
        let changes = self.value.is_some() && self.said.is_empty();
        if changes { self.allowance.next(now) } else { now }
    }
}

enum Work {
    Put(String),
    /// Only where no other machine has claimed it.
    Reclaim(String),
    Delete,
    Refresh,
    /// It failed, and has waited.
    Nothing,
}

/// `Words` end when the speaker does: then nothing is said any more.
pub fn words<S: Store>(store: S, settings: &Settings) -> (Words, Speaker<S>) {
    // The orders are bounded by the units of this machine: each task of a unit gives a few.
    let (sender, orders) = mpsc::unbounded_channel();
    let speaker = Speaker {
        store,
        me: settings.me.clone(),
        ttl: settings.ttl * OUTLIVES,
        renewal: settings.renewal(),
        pause: settings.pause(),
        orders,
        words: BTreeMap::new(),
        due: BTreeSet::new(),
        later: BTreeSet::new(),
        again: Vec::new(),
        tasks: JoinSet::new(),
    };
    (Words(sender), speaker)
}

impl Words {
    pub fn say(&self, key: Key, value: String) {
        self.order(Order::Say { key, value, when: When::Now, done: None });
    }

    /// Something that may be over in a moment: what is said of it within [`PASSING`] is said instead.
    pub fn say_if_it_lasts(&self, key: Key, value: String) {
        self.order(Order::Say { key, value, when: When::Later, done: None });
    }

    /// Returns the index of the write, once it is done: with the store away, later.
    pub async fn say_surely(&self, key: Key, value: String) -> Option<u64> {
        let (done, said) = oneshot::channel();
        self.order(Order::Say { key, value, when: When::Now, done: Some(done) });
        said.await.ok()
    }

    /// What is answered comes when the store has it no more, and need not be waited for.
    pub fn take_back(&self, key: Key) -> oneshot::Receiver<()> {
        let (done, taken_back) = oneshot::channel();
        self.order(Order::TakeBack { key, done });
        taken_back
    }

    /// The store may have lost what was written: it was away. Returns when it has it all again.
    pub async fn say_all_again(&self) {
        let (done, said) = oneshot::channel();
        self.order(Order::SayAllAgain { done });
        // A speaker that has ended says nothing more.
        said.await.unwrap_or(());
    }

    fn order(&self, order: Order) {
        // The speaker ends with the node: then there is nothing to be said.
        if self.0.send(order).is_err() {
            tracing::debug!("nothing is said any more");
        }
    }
}

/// That this machine has launched a unit: any machine may write it.
fn is_claim(key: &Key) -> bool {
    matches!(key, Key::JobState(_))
}

impl<S: Store> Speaker<S> {
    /// Until all [`Words`] are gone.
    pub async fn speak(mut self) {
        let mut renewal = interval_at(Instant::now() + self.renewal, self.renewal);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin();
            let next = self.later.first().map(|(at, _)| *at);
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.take(order),
                    None => return,
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok((key, work, outcome)) => {
                        self.ended(key, work, outcome);
                        self.tell_again();
                    }
                    // A task neither panics nor is ended.
                    Err(error) => tracing::error!("a write to the store: {error}"),
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.come_due(),
                _ = renewal.tick() => self.due.extend(self.idle()),
            }
        }
    }

    fn come_due(&mut self) {
        let now = Instant::now();
        while let Some((at, key)) = self.later.pop_first() {
            if at > now {
                self.later.insert((at, key));
                return;
            }
            self.due.insert(key);
        }
    }

    fn idle(&self) -> Vec<Key> {
        let idle = self.words.iter().filter(|(_, word)| !word.on_its_way);
        idle.map(|(key, _)| key.clone()).collect()
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Say { key, value, when, done } => {
                let word = self.words.entry(key.clone()).or_default();
                word.said.extend(done);
                // Who waits for the end of an older word need not wait for this one's.
                word.taken_back.drain(..).for_each(|done| done.send(()).unwrap_or_default());
                let same = word.written.as_ref() == Some(&value) && word.said.is_empty();
                word.value = Some(value);
                word.reclaimed = false;
                if word.on_its_way || same || self.due.contains(&key) {
                    return;
                }
                let at = word.may_be_written();
                match when {
                    When::Now => self.becomes_due(key, at),
                    When::Later => self.becomes_due(key, at.max(Instant::now() + PASSING)),
                }
            }
            Order::TakeBack { key, done } => {
                let word = self.words.entry(key.clone()).or_default();
                word.value = None;
                word.taken_back.push(done);
                if !word.on_its_way {
                    self.due.insert(key);
                }
            }
            Order::SayAllAgain { done } => {
                for (key, word) in &mut self.words {
                    word.written = None;
                    word.reclaimed = is_claim(key);
                }
                self.due.extend(self.idle());
                self.again.push((self.words.keys().cloned().collect(), done));
                self.tell_again();
            }
        }
    }

    fn becomes_due(&mut self, key: Key, at: Instant) {
        let Some(word) = self.words.get_mut(&key) else { return };
        if at <= Instant::now() {
            self.due.insert(key);
        } else if word.later.is_none_or(|known| at < known) {
            if let Some(known) = word.later.replace(at) {
                self.later.remove(&(known, key.clone()));
            }
            self.later.insert((at, key));
        }
    }

    /// Who asked for all to be said again is told when no word is left that the store does not have.
    fn tell_again(&mut self) {
        let words = &self.words;
        let is_said = |word: &Word| word.anothers || word.written.is_some() && !word.on_its_way;
        for (mut keys, done) in std::mem::take(&mut self.again) {
            keys.retain(|key| words.get(key).is_some_and(|word| !is_said(word)));
            if keys.is_empty() {
                done.send(()).unwrap_or_default();
            } else {
                self.again.push((keys, done));
            }
        }
    }

    /// Starts as many writes as may be on their way.
    fn begin(&mut self) {
        while self.tasks.len() < AT_A_TIME
            && let Some(key) = self.due.pop_first()
        {
            let Some(word) = self.words.get_mut(&key) else { continue };
            word.on_its_way = true;
            if let Some(at) = word.later.take() {
                self.later.remove(&(at, key.clone()));
            }
            let (store, ttl) = (self.store.clone(), self.ttl);
            let work = match &word.value {
                None => Work::Delete,
                Some(value) if word.written.as_ref() == Some(value) && word.said.is_empty() => Work::Refresh,
                Some(value) if word.reclaimed => Work::Reclaim(value.clone()),
                Some(value) => Work::Put(value.clone()),
            };
            let value = word.value.clone().unwrap_or_default();
            // Whoever launched it last has the key; of a state's key only this machine writes.
            let only = match &key {
                Key::JobState(_) => Only::Value(self.me.to_string()),
                _ => Only::Always,
            };
            self.tasks.spawn(async move {
                let outcome = match &work {
                    Work::Put(value) => store.put(&key, value, Some(ttl), Only::Always).await,
                    Work::Reclaim(value) => match store.put(&key, value, Some(ttl), only).await {
                        Err(StoreError::Refused(_)) => store.put(&key, value, Some(ttl), Only::Absent).await,
                        put => put,
                    },
                    Work::Delete => store.delete(&key, only).await,
                    Work::Refresh => store.refresh(&key, &value, ttl, Only::Value(value.clone())).await,
                    Work::Nothing => Ok(0),
                };
                (key, work, outcome)
            });
        }
    }

    fn ended(&mut self, key: Key, work: Work, outcome: Result<u64, StoreError>) {
        let Some(word) = self.words.get_mut(&key) else { return };
        let failed = match (&work, &outcome) {
            // The key is still there, or the next renewal is rejected.
            (Work::Refresh, Err(StoreError::Away(why))) => Some(why),
            (_, Err(StoreError::Away(why))) => {
                word.written = None;
                Some(why)
            }
            // Missing permission, or a directory of that name: an immediate retry would be rejected as well.
            (Work::Put(_), Err(StoreError::Refused(why))) => {
                word.written = None;
                if !std::mem::replace(&mut word.refused, true) {
                    tracing::error!("cannot write {}: {why}", key.path());
                }
                Some(why)
            }
            (Work::Reclaim(_), Err(StoreError::Refused(why))) => {
                word.anothers = true;
                Some(why)
            }
            _ => None,
        };
        if let Some(why) = failed {
            tracing::debug!("{}: {why}", key.path());
            let pause = self.pause;
            self.tasks.spawn(async move {
                sleep(pause).await;
                (key, Work::Nothing, Ok(0))
            });
            return;
        }
        word.on_its_way = false;
        match (work, outcome) {
            (Work::Put(value) | Work::Reclaim(value), Ok(index)) => {
                let current = word.value.as_ref() == Some(&value);
                word.written = Some(value);
                (word.refused, word.reclaimed, word.anothers) = (false, false, false);
                word.allowance.spend(Instant::now());
                if current {
                    // Who asked may have stopped waiting.
                    word.said.drain(..).for_each(|said| {
                        said.send(index).unwrap_or_default();
                    });
                    return;
                }
            }
            // What is not there is deleted, too.
            (Work::Delete, _) => {
                word.written = None;
                word.taken_back.drain(..).for_each(|done| done.send(()).unwrap_or_default());
                if word.value.is_none() {
                    self.words.remove(&key);
                    return;
                }
            }
            (Work::Refresh, Ok(_)) if word.value == word.written => return,
            (Work::Refresh, Ok(_)) | (Work::Nothing, _) => {}
            // It has expired meanwhile, or an earlier write arrived late.
            (Work::Refresh | Work::Put(_) | Work::Reclaim(_), Err(_)) => {
                word.written = None;
                word.reclaimed = is_claim(&key);
            }
        }
        let at = word.may_be_written();
        self.becomes_due(key, at);
    }
}
