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
use crate::store::{self, Store, StoreError};
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

    /// What the fleet says has to be kept: that which must be on disk at once comes back, the rest waits for
    /// [`Server::flush`]. To be called before the lock is given back, so that nothing is written out of order.
    pub fn changed(&self, fleet: &mut Fleet) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let changes = fleet.take_changes();
        if changes.is_empty() {
            return Vec::new();
        }
        self.news.send_modify(|count| *count += 1);
        let mut pending = self.pending.lock();
        let mut urgent = Vec::new();
        for (record, is_urgent) in changes {
            if !is_urgent {
                pending.insert(record);
                continue;
            }
            pending.remove(&record);
            match store::change(fleet, &record) {
                Ok(change) => urgent.push(change),
                Err(error) => tracing::error!(%error, ?record, "a record could not be written"),
            }
        }
        urgent
    }

    /// # Errors
    /// The database failed: what was to be answered must not be.
    pub async fn keep(&self, urgent: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StoreError> {
        self.store.write(urgent).await
    }

    /// Writes what could wait.
    pub async fn flush(&self) {
        let changes: Vec<_> = {
            let fleet = self.fleet.lock();
            let pending = std::mem::take(&mut *self.pending.lock());
            pending.iter().filter_map(|record| store::change(&fleet, record).ok()).collect()
        };
        if let Err(error) = self.store.write(changes).await {
            tracing::error!(%error, "what machines said last is not on disk");
        }
    }

    /// Ends what ran out of time.
    pub async fn tick(&self) {
        let changes = {
            let mut fleet = self.fleet.lock();
            fleet.tick(now());
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
