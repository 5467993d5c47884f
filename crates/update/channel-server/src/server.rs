//! What all requests share: the fleet, its database, the files, the keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use parking_lot::Mutex;
use release::Keys;
use rollout::{App, Fleet, Record, Track};
use tokio::sync::{Semaphore, watch};

use crate::files::{Files, FilesError};
use crate::key_sets::{KeySetError, KeySets};
use crate::limits::{FOLLOWERS, READERS};
use crate::metrics::Metrics;
use crate::signing::{Signer, SigningError};
use crate::store::{self, Queued, Store, StoreError};
use crate::token::{TokenError, Tokens};

/// How the server is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Everything that it keeps.
    pub data: PathBuf,
    /// What machines reach it by: `https://updates.example.net`. Without it, what each request calls it.
    pub public_url: Option<String>,
    /// The online key; without it one that the server makes for itself.
    pub key: Option<PathBuf>,
    /// The application that is there from the start, with channels `alpha`, `beta` and `stable`.
    pub app: App,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    #[error("cannot open the online key")]
    Signing(#[from] SigningError),
    #[error("cannot open the tokens")]
    Token(#[from] TokenError),
    #[error("cannot open the releases")]
    Files(#[from] FilesError),
    #[error("cannot make the application")]
    App(#[from] rollout::OperateError),
    #[error("the key {0}")]
    Key(PathBuf, #[source] std::io::Error),
    #[error("cannot open the sets of keys")]
    KeySets(#[from] KeySetError),
    #[error("cannot count")]
    Metrics(#[from] prometheus::Error),
    #[error("a key of releases is none")]
    NoKey(#[from] release::KeyError),
}

pub struct Server {
    pub settings: Settings,
    pub fleet: Mutex<Fleet>,
    pub signer: Mutex<Signer>,
    pub tokens: Tokens,
    pub files: Files,
    pub key_sets: KeySets,
    /// Of who signs releases, where no set of keys says it. Without any, what is uploaded is checked by the machines alone.
    pub keys: Keys,
    pub metrics: Metrics,
    pub followers: Semaphore,
    pub readers: std::sync::Arc<Semaphore>,
    store: Store,
    /// What changed and need not be on disk at once.
    pending: Mutex<BTreeSet<Record>>,
    /// Records whose commit failed. No request is answered before they are written.
    unwritten: Mutex<BTreeSet<Record>>,
    /// Counts up with each change.
    news: watch::Sender<u64>,
}

const CHANNELS: [&str; 3] = ["alpha", "beta", "stable"];
/// Keys of releases, as minisign writes public ones.
const KEYS: &str = "keys";

impl Server {
    /// Opens what is kept in the folder, or begins it. Reads files: at the start only.
    ///
    /// # Errors
    /// The folder is no good, in use, or something in it is damaged.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let (store, found) = Store::open(&settings.data)?;
        let server = Self {
            fleet: Mutex::new(found.fleet),
            signer: Mutex::new(Signer::open(&settings.data, settings.key.as_deref(), found.issued)?),
            tokens: Tokens::open(&settings.data)?,
            files: Files::open(&settings.data)?,
            key_sets: KeySets::open(&settings.data)?,
            keys: keys(&settings.data.join(KEYS))?,
            metrics: Metrics::new()?,
            followers: Semaphore::new(FOLLOWERS),
            readers: std::sync::Arc::new(Semaphore::new(READERS)),
            store,
            pending: Mutex::default(),
            unwritten: Mutex::default(),
            news: watch::Sender::new(0),
            settings,
        };
        let begun = {
            let mut fleet = server.fleet.lock();
            let app = &server.settings.app;
            if fleet.app(&app.id).is_none() {
                fleet.put_app(app.clone())?;
                for name in CHANNELS {
                    if let Ok(track) = name.parse::<Track>() {
                        fleet.ensure_channel(&app.id, &track, now())?;
                    }
                }
            }
            server.changed(&mut fleet)
        };
        server.keep(begun).await?;
        Ok(server)
    }

    /// Takes the fleet's changes: those that must be on disk before the answer are queued, the rest waits for
    /// [`Server::flush`]. Call it under the fleet's lock, which keeps the writes in order.
    #[must_use]
    pub fn changed(&self, fleet: &mut Fleet) -> Urgent<'_> {
        let changes = fleet.take_changes();
        if !changes.is_empty() {
            self.news.send_modify(|count| *count += 1);
        }
        let mut pending = self.pending.lock();
        let mut records = std::mem::take(&mut *self.unwritten.lock());
        // Decisions rely on records that are in memory only: all of them must be on disk before the next answer.
        let is_behind = !records.is_empty();
        for (record, is_urgent) in changes {
            if is_urgent || is_behind {
                pending.remove(&record);
                records.insert(record);
            } else {
                pending.insert(record);
            }
        }
        self.queue(fleet, records)
    }

    fn queue(&self, fleet: &Fleet, mut records: BTreeSet<Record>) -> Urgent<'_> {
        let mut changes = Vec::new();
        records.retain(|record| match store::change(fleet, record) {
            Ok(change) => {
                changes.push(change);
                true
            }
            Err(error) => {
                tracing::error!(%error, "a record cannot be written");
                false
            }
        });
        Urgent { unwritten: Unwritten { server: self, records }, queued: self.store.queue(changes) }
    }

    /// # Errors
    /// The commit failed: the request must not be answered. The records are written with the next commit.
    pub async fn keep(&self, urgent: Urgent<'_>) -> Result<(), StoreError> {
        let Urgent { mut unwritten, queued } = urgent;
        queued.kept().await?;
        unwritten.records.clear();
        Ok(())
    }

    /// Writes the highest time at which a timestamp was issued.
    ///
    /// # Errors
    /// The database failed.
    pub async fn keep_issued(&self, at: u64) -> Result<(), StoreError> {
        self.store.queue(vec![store::issued(at)]).kept().await
    }

    /// Writes what could wait.
    pub async fn flush(&self) {
        let urgent = {
            let fleet = self.fleet.lock();
            let mut records = std::mem::take(&mut *self.pending.lock());
            records.append(&mut self.unwritten.lock());
            self.queue(&fleet, records)
        };
        if let Err(error) = self.keep(urgent).await {
            tracing::error!(%error, "what machines said last is not on disk");
        }
    }

    /// Ends what ran out of time.
    pub async fn tick(&self) {
        let changes = {
            let mut fleet = self.fleet.lock();
            fleet.tick(now(), &zones);
            self.changed(&mut fleet)
        };
        if let Err(error) = self.keep(changes).await {
            tracing::error!(%error, "what ran out of time is not on disk");
        }
    }

    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

/// Records that must be on disk before the request is answered.
pub struct Urgent<'a> {
    unwritten: Unwritten<'a>,
    queued: Queued,
}

/// Records with a pending commit. If the commit fails, or its waiter is dropped, they are written again.
struct Unwritten<'a> {
    server: &'a Server,
    records: BTreeSet<Record>,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.server.unwritten.lock().append(&mut self.records);
    }
}

/// Every `.pub` file in the folder; none where there is no folder.
fn keys(folder: &Path) -> Result<Keys, OpenError> {
    let mut keys = Keys::default();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Key(path, error)
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(keys),
        Err(error) => return Err(failed(folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "pub") {
            let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
            keys.add(&path.file_name().unwrap_or_default().to_string_lossy(), &text)?;
        }
    }
    Ok(keys)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Of the system's own database.
pub fn zones(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    const APP: &str = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";

    async fn open(data: &Path) -> Server {
        let app = App { id: APP.to_owned(), name: "Keelson".to_owned(), product_id: None };
        let settings = Settings { data: data.to_owned(), public_url: None, key: None, app };
        Server::open(settings).await.unwrap()
    }

    #[tokio::test]
    async fn what_a_full_disk_did_not_take_is_written_before_the_next_answer() {
        let folder = tempfile::tempdir().unwrap();
        let server = open(folder.path()).await;
        let track: Track = "alpha".parse().unwrap();
        let change = |act: &dyn Fn(&mut Fleet)| {
            let mut fleet = server.fleet.lock();
            act(&mut fleet);
            server.changed(&mut fleet)
        };
        let pause = |fleet: &mut Fleet| fleet.pause(APP, &track, "to look at it", 1).unwrap();
        server.store.is_full.store(true, Ordering::SeqCst);
        assert!(server.keep(change(&pause)).await.is_err());
        // The group is paused in memory only: no answer may rely on it.
        assert!(server.keep(change(&|_| {})).await.is_err());
        // A dropped waiter does not lose the records.
        drop(server.keep(change(&|_| {})));
        server.flush().await;
        server.store.is_full.store(false, Ordering::SeqCst);
        server.keep(change(&|_| {})).await.unwrap();
        assert!(server.unwritten.lock().is_empty());
        drop(server);
        let server = open(folder.path()).await;
        let fleet = server.fleet.lock();
        let (_, app) = fleet.app(APP).unwrap();
        assert!(app.groups[&track].group.paused.is_some());
    }
}
