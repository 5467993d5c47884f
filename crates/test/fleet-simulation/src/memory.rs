//! In-memory model of the store, reached over links with faults.

mod keys;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fleet_core::registry::Key;
use fleet_node::{Change, Precondition, Snapshot, Store, StoreError, StoredValue, Watch};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use unit_file::UnitName;

use crate::memory::keys::{Entry, HISTORY, Keys};
use crate::request_kind::RequestKind;
use crate::store::{Link, Service};

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Microseconds each way.
const FAST: Range<u64> = 50..2_000;

#[derive(Clone)]
pub struct MemoryStore {
    keys: Arc<Mutex<Keys>>,
    /// Index of the last event.
    events: watch::Sender<u64>,
}

impl MemoryStore {
    pub fn new(rng: fastrand::Rng) -> Self {
        let keys = Keys {
            entries: BTreeMap::new(),
            index: 0,
            events: VecDeque::new(),
            rng,
            down: false,
            loss_percent: 0,
            requests: BTreeMap::new(),
            forbidden_prefix: None,
            expirations: BTreeSet::new(),
            rejected: Vec::new(),
        };
        let store = Self { keys: Arc::new(Mutex::new(keys)), events: watch::Sender::new(0) };
        tokio::spawn(store.clone().run_expiry());
        store
    }

    /// Expires keys also without requests. Never returns.
    async fn run_expiry(self) {
        loop {
            sleep(Duration::from_millis(250)).await;
            let index = {
                let mut keys = self.keys();
                keys.expire();
                keys.index
            };
            self.events.send_replace(index);
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap()
    }

    pub fn set_loss(&self, percent: u32) {
        self.keys().loss_percent = percent;
    }

    pub fn forbid(&self, prefix: &'static str) {
        self.keys().forbidden_prefix = Some(prefix);
    }

    pub fn requests(&self) -> BTreeMap<RequestKind, u64> {
        self.keys().requests.clone()
    }

    pub fn rejected(&self) -> Vec<String> {
        self.keys().rejected.clone()
    }
}

impl Service for MemoryStore {
    type Link = MemoryLink;
    const FAULT_WEIGHT: u32 = 1;

    fn link(&self, _: usize) -> MemoryLink {
        MemoryLink::to(self)
    }

    fn set_down(&self, down: bool) {
        self.keys().down = down;
        self.events.send_modify(|_| ());
    }

    fn inject_fault(&self, rng: &mut fastrand::Rng) -> String {
        let loss_percent = rng.u32(0..20);
        self.set_loss(loss_percent);
        format!("{loss_percent} of a hundred answers are lost")
    }

    fn heal(&self) {
        self.set_loss(0);
    }

    fn all_keys(&self) -> Vec<(String, String)> {
        self.keys().entries.iter().map(|(path, entry)| (path.clone(), entry.value.clone())).collect()
    }
}

/// A machine's link to the store.
#[derive(Clone)]
pub struct MemoryLink {
    pub service: MemoryStore,
    cut: Arc<Mutex<bool>>,
    /// A cut stalls open watches, as on a half-open connection.
    pub stall_watches_on_cut: bool,
    /// Watches of earlier generations are stalled, while requests succeed.
    stalled_before: Arc<Mutex<u64>>,
    /// Additional latency of events.
    watch_delay: Arc<Mutex<Duration>>,
    /// Latency each way in microseconds.
    latency: Arc<Mutex<Range<u64>>>,
    timeout: Duration,
}

impl MemoryLink {
    pub fn to(service: &MemoryStore) -> Self {
        Self {
            service: service.clone(),
            cut: Arc::default(),
            stall_watches_on_cut: false,
            stalled_before: Arc::default(),
            watch_delay: Arc::default(),
            latency: Arc::new(Mutex::new(FAST)),
            timeout: TIMEOUT,
        }
    }

    /// Delays events while requests are fast, as when the watch is served by a member that is behind.
    pub fn set_watch_delay(&self, delay: Duration) {
        *self.watch_delay.lock().unwrap() = delay;
    }

    fn is_cut(&self) -> bool {
        *self.cut.lock().unwrap() || self.service.keys().down
    }

    async fn request<R>(
        &self,
        kind: RequestKind,
        work: impl FnOnce(&mut Keys) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let latency = self.latency.lock().unwrap().clone();
        let (outbound, inbound, lost) = {
            let mut keys = self.service.keys();
            let mut micros = || Duration::from_micros(keys.rng.u64(latency.clone()));
            let (outbound, inbound) = (micros(), micros());
            let loss_percent = keys.loss_percent;
            (outbound, inbound, keys.rng.u32(0..100) < loss_percent)
        };
        if self.is_cut() {
            sleep(self.timeout).await;
            return Err(StoreError::Unavailable("cut".into()));
        }
        // An abandoned request is still executed.
        let waited = outbound.min(self.timeout);
        sleep(waited).await;
        let (outcome, index) = {
            let mut keys = self.service.keys();
            keys.expire();
            *keys.requests.entry(kind).or_default() += 1;
            (work(&mut keys), keys.index)
        };
        self.service.events.send_if_modified(|known| std::mem::replace(known, index) != index);
        let left = self.timeout - waited;
        sleep(inbound.min(left)).await;
        if self.is_cut() || lost {
            sleep(left.saturating_sub(inbound)).await;
            return Err(StoreError::Unavailable("the answer was lost".into()));
        }
        if inbound >= left {
            return Err(StoreError::Unavailable("no response in time".into()));
        }
        outcome
    }
}

impl Link for MemoryLink {
    fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout: timeout.max(TIMEOUT), ..self.clone() }
    }

    fn set_cut(&self, cut: bool) {
        *self.cut.lock().unwrap() = cut;
    }

    fn set_slow(&self, each_way: Option<Range<u64>>) {
        let slow = each_way.map(|millis| millis.start * 1_000..millis.end * 1_000);
        *self.latency.lock().unwrap() = slow.unwrap_or(FAST);
    }

    fn stall_watches(&self) {
        *self.stalled_before.lock().unwrap() += 1;
    }
}

impl Store for MemoryLink {
    type Watch = MemoryWatch;

    async fn read(&self) -> Result<Snapshot, StoreError> {
        self.request(RequestKind::Snapshot, |keys| {
            let pairs =
                keys.entries.iter().map(|(path, entry)| (path.clone(), entry.value.clone())).collect();
            Ok(Snapshot { pairs, index: keys.index })
        })
        .await
    }

    fn watch(&self, after: u64) -> MemoryWatch {
        let generation = *self.stalled_before.lock().unwrap();
        MemoryWatch { link: self.clone(), events: self.service.events.subscribe(), after, generation }
    }

    async fn get(&self, key: &Key) -> Result<Option<StoredValue>, StoreError> {
        self.request(RequestKind::writing(key), |keys| {
            Ok(keys.entries.get(&key.path()).map(|entry| StoredValue {
                value: entry.value.clone(),
                index: entry.index,
                remaining: entry.expires.map(|at| at.saturating_duration_since(Instant::now())),
            }))
        })
        .await
    }

    async fn put(
        &self,
        key: &Key,
        value: &str,
        ttl: Option<Duration>,
        precondition: Precondition,
    ) -> Result<u64, StoreError> {
        self.request(RequestKind::writing(key), |keys| {
            let path = key.path();
            keys.check_precondition(&path, &precondition)?;
            let index = keys.event(&path, Some(value));
            let expires = ttl.map(|ttl| Instant::now() + ttl);
            keys.insert(path, Entry { value: value.into(), index, expires });
            Ok(index)
        })
        .await
    }

    async fn refresh(
        &self,
        key: &Key,
        _: &str,
        ttl: Duration,
        precondition: Precondition,
    ) -> Result<u64, StoreError> {
        self.request(RequestKind::renewing(key), |keys| {
            let path = key.path();
            keys.check_precondition(&path, &Precondition::Present)?;
            keys.check_precondition(&path, &precondition)?;
            keys.index += 1;
            let index = keys.index;
            let value = keys.entries[&path].value.clone();
            keys.insert(path, Entry { value, index, expires: Some(Instant::now() + ttl) });
            Ok(index)
        })
        .await
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<u64, StoreError> {
        self.request(RequestKind::writing(key), |keys| {
            let path = key.path();
            keys.check_precondition(&path, &Precondition::Present)?;
            keys.check_precondition(&path, &precondition)?;
            keys.remove(&path);
            Ok(keys.event(&path, None))
        })
        .await
    }

    async fn delete_job(&self, name: &UnitName) -> Result<u64, StoreError> {
        self.request(RequestKind::Other, |keys| {
            let folder = format!("job/{name}");
            let below = format!("{folder}/");
            let paths: Vec<String> = keys
                .entries
                .range(below.clone()..)
                .map(|(path, _)| path.clone())
                .take_while(|path| path.starts_with(&below))
                .collect();
            if paths.is_empty() {
                return Err(StoreError::Rejected(folder));
            }
            paths.iter().for_each(|path| keys.remove(path));
            Ok(keys.event(&folder, None))
        })
        .await
    }
}

pub struct MemoryWatch {
    link: MemoryLink,
    events: watch::Receiver<u64>,
    after: u64,
    generation: u64,
}

impl Watch for MemoryWatch {
    async fn next(&mut self) -> Result<Change, StoreError> {
        loop {
            self.events.borrow_and_update();
            if self.generation < *self.link.stalled_before.lock().unwrap() {
                return std::future::pending().await;
            }
            if self.link.is_cut() {
                if self.link.stall_watches_on_cut {
                    return std::future::pending().await;
                }
                sleep(TIMEOUT).await;
                return Err(StoreError::Unavailable("cut".into()));
            }
            let event = {
                let keys = self.link.service.keys();
                let oldest = keys.events.front().map_or(keys.index, |(_, event)| event.index);
                if keys.events.len() == HISTORY && self.after + 1 < oldest {
                    return Err(StoreError::HistoryCleared);
                }
                let next = keys.events.partition_point(|(_, event)| event.index <= self.after);
                keys.events.get(next).cloned()
            };
            if let Some((at, event)) = event {
                let delay = *self.link.watch_delay.lock().unwrap();
                sleep_until(at + delay).await;
                self.after = event.index;
                return Ok(event);
            }
            self.events.changed().await.unwrap();
        }
    }
}
