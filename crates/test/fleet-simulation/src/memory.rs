//! A model of the store: one history in memory, reached over links that can be cut.

mod keys;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fleet_core::registry::Key;
use fleet_node::{Change, Only, Reading, Store, StoreError, Stored, Watch};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use unit_file::UnitName;

use crate::about::About;
use crate::memory::keys::{Entry, HISTORY, Keys};
use crate::store::{Link, Service};

/// So long a request waits for its answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Microseconds, each way.
const FAST: Range<u64> = 50..2_000;

#[derive(Clone)]
pub struct MemoryStore {
    keys: Arc<Mutex<Keys>>,
    /// Rises with each event.
    news: watch::Sender<u64>,
}

impl MemoryStore {
    pub fn new(chance: fastrand::Rng) -> Self {
        let keys = Keys {
            entries: BTreeMap::new(),
            index: 0,
            events: VecDeque::new(),
            chance,
            down: false,
            lossy: 0,
            requests: BTreeMap::new(),
            forbidden: None,
            ends: BTreeSet::new(),
            refused: Vec::new(),
        };
        let store = Self { keys: Arc::new(Mutex::new(keys)), news: watch::Sender::new(0) };
        tokio::spawn(store.clone().keep_time());
        store
    }

    /// Keys end also where nobody asks. Never ends.
    async fn keep_time(self) {
        loop {
            sleep(Duration::from_millis(250)).await;
            let index = {
                let mut keys = self.keys();
                keys.expire();
                keys.index
            };
            self.news.send_replace(index);
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap()
    }

    pub fn set_lossy(&self, of_hundred: u32) {
        self.keys().lossy = of_hundred;
    }

    pub fn forbid(&self, prefix: &'static str) {
        self.keys().forbidden = Some(prefix);
    }

    pub fn requests(&self) -> BTreeMap<About, u64> {
        self.keys().requests.clone()
    }

    pub fn refused(&self) -> Vec<String> {
        self.keys().refused.clone()
    }
}

impl Service for MemoryStore {
    type Link = MemoryLink;
    const FAULTS: u32 = 1;

    fn link(&self, _: usize) -> MemoryLink {
        MemoryLink::to(self)
    }

    fn set_down(&self, down: bool) {
        self.keys().down = down;
        self.news.send_modify(|_| ());
    }

    fn fault(&self, chance: &mut fastrand::Rng) -> String {
        let lossy = chance.u32(0..20);
        self.set_lossy(lossy);
        format!("{lossy} of a hundred answers are lost")
    }

    fn heal(&self) {
        self.set_lossy(0);
    }

    fn shown(&self) -> Vec<(String, String)> {
        self.keys().entries.iter().map(|(path, entry)| (path.clone(), entry.value.clone())).collect()
    }
}

/// One machine's way to the service.
#[derive(Clone)]
pub struct MemoryLink {
    pub service: MemoryStore,
    cut: Arc<Mutex<bool>>,
    /// Who follows hears nothing any more after a cut, as on a connection whose other end is gone without a word.
    pub deafens: bool,
    /// Watches that were begun before are deaf, though requests are answered.
    deaf_before: Arc<Mutex<u64>>,
    /// Microseconds that a request takes until it is carried out, and its answer back.
    pace: Arc<Mutex<Range<u64>>>,
    timeout: Duration,
}

impl MemoryLink {
    pub fn to(service: &MemoryStore) -> Self {
        Self {
            service: service.clone(),
            cut: Arc::default(),
            deafens: false,
            deaf_before: Arc::default(),
            pace: Arc::new(Mutex::new(FAST)),
            timeout: TIMEOUT,
        }
    }

    fn is_cut(&self) -> bool {
        *self.cut.lock().unwrap() || self.service.keys().down
    }

    async fn ask<R>(
        &self,
        about: About,
        work: impl FnOnce(&mut Keys) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let pace = self.pace.lock().unwrap().clone();
        let (there, back, lost) = {
            let mut keys = self.service.keys();
            let mut micros = || Duration::from_micros(keys.chance.u64(pace.clone()));
            let (there, back) = (micros(), micros());
            let lossy = keys.lossy;
            (there, back, keys.chance.u32(0..100) < lossy)
        };
        if self.is_cut() {
            sleep(self.timeout).await;
            return Err(StoreError::Away("cut".into()));
        }
        // Who gives up has it carried out all the same.
        let waited = there.min(self.timeout);
        sleep(waited).await;
        let (outcome, index) = {
            let mut keys = self.service.keys();
            keys.expire();
            *keys.requests.entry(about).or_default() += 1;
            (work(&mut keys), keys.index)
        };
        self.service.news.send_if_modified(|known| std::mem::replace(known, index) != index);
        let left = self.timeout - waited;
        sleep(back.min(left)).await;
        if self.is_cut() || lost {
            sleep(left.saturating_sub(back)).await;
            return Err(StoreError::Away("the answer was lost".into()));
        }
        if back >= left {
            return Err(StoreError::Away("no answer in time".into()));
        }
        outcome
    }
}

impl Link for MemoryLink {
    fn patient(&self, timeout: Duration) -> Self {
        Self { timeout: timeout.max(TIMEOUT), ..self.clone() }
    }

    fn set_cut(&self, cut: bool) {
        *self.cut.lock().unwrap() = cut;
    }

    fn set_slow(&self, each_way: Option<Range<u64>>) {
        let slow = each_way.map(|millis| millis.start * 1_000..millis.end * 1_000);
        *self.pace.lock().unwrap() = slow.unwrap_or(FAST);
    }

    fn deafen(&self) {
        *self.deaf_before.lock().unwrap() += 1;
    }
}

impl Store for MemoryLink {
    type Watch = Following;

    async fn read(&self) -> Result<Reading, StoreError> {
        self.ask(About::Reading, |keys| {
            let pairs =
                keys.entries.iter().map(|(path, entry)| (path.clone(), entry.value.clone())).collect();
            Ok(Reading { pairs, index: keys.index })
        })
        .await
    }

    fn watch(&self, after: u64) -> Following {
        let begun = *self.deaf_before.lock().unwrap();
        Following { link: self.clone(), news: self.service.news.subscribe(), after, begun }
    }

    async fn get(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        self.ask(About::writing(key), |keys| {
            Ok(keys.entries.get(&key.path()).map(|entry| Stored {
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
        only: Only,
    ) -> Result<u64, StoreError> {
        self.ask(About::writing(key), |keys| {
            let path = key.path();
            keys.holds(&path, &only)?;
            let index = keys.event(&path, Some(value));
            let expires = ttl.map(|ttl| Instant::now() + ttl);
            keys.insert(path, Entry { value: value.into(), index, expires });
            Ok(index)
        })
        .await
    }

    async fn refresh(&self, key: &Key, _: &str, ttl: Duration, only: Only) -> Result<u64, StoreError> {
        self.ask(About::renewing(key), |keys| {
            let path = key.path();
            keys.holds(&path, &Only::Present)?;
            keys.holds(&path, &only)?;
            keys.index += 1;
            let index = keys.index;
            let value = keys.entries[&path].value.clone();
            keys.insert(path, Entry { value, index, expires: Some(Instant::now() + ttl) });
            Ok(index)
        })
        .await
    }

    async fn delete(&self, key: &Key, only: Only) -> Result<u64, StoreError> {
        self.ask(About::writing(key), |keys| {
            let path = key.path();
            keys.holds(&path, &Only::Present)?;
            keys.holds(&path, &only)?;
            keys.remove(&path);
            Ok(keys.event(&path, None))
        })
        .await
    }

    async fn delete_job(&self, name: &UnitName) -> Result<u64, StoreError> {
        self.ask(About::Other, |keys| {
            let folder = format!("job/{name}");
            let below = format!("{folder}/");
            let paths: Vec<String> = keys
                .entries
                .range(below.clone()..)
                .map(|(path, _)| path.clone())
                .take_while(|path| path.starts_with(&below))
                .collect();
            if paths.is_empty() {
                return Err(StoreError::Refused(folder));
            }
            paths.iter().for_each(|path| keys.remove(path));
            Ok(keys.event(&folder, None))
        })
        .await
    }
}

pub struct Following {
    link: MemoryLink,
    news: watch::Receiver<u64>,
    after: u64,
    begun: u64,
}

impl Watch for Following {
    async fn next(&mut self) -> Result<Change, StoreError> {
        loop {
            self.news.borrow_and_update();
            if self.begun < *self.link.deaf_before.lock().unwrap() {
                return std::future::pending().await;
            }
            if self.link.is_cut() {
                if self.link.deafens {
                    return std::future::pending().await;
                }
                sleep(TIMEOUT).await;
                return Err(StoreError::Away("cut".into()));
            }
            {
                let keys = self.link.service.keys();
                let oldest = keys.events.front().map_or(keys.index, |event| event.index);
                if keys.events.len() == HISTORY && self.after + 1 < oldest {
                    return Err(StoreError::Cleared);
                }
                let next = keys.events.partition_point(|event| event.index <= self.after);
                if let Some(event) = keys.events.get(next) {
                    self.after = event.index;
                    return Ok(event.clone());
                }
            }
            self.news.changed().await.unwrap();
        }
    }
}
