//! The state that all requests share.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use parking_lot::Mutex;
use rollout::{App, RecordKey, Track, UpdateState};
use tokio::sync::{Semaphore, watch};

use crate::files::Files;
use crate::files_error::FilesError;
use crate::image_store::ImageStore;
use crate::limits::{IMAGE_READERS, READERS, SUBSCRIBERS};
use crate::metrics::Metrics;
use crate::repository::{OpenRepositoryError, Repositories};
use crate::signing::{OnlineKey, SigningError};
use crate::store::{self, PendingWrite, Store, StoreError};
use crate::token::{TokenError, Tokens};

/// Configuration of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server's folder.
    pub data: PathBuf,
    /// Base URL for machines: `https://updates.example.net`. Defaults to the `Host` header of each request.
    pub public_url: Option<String>,
    /// The online key. Default: a key that the server generates in its folder.
    pub key: Option<PathBuf>,
    /// The application to create at the first start, with channels `alpha`, `beta` and `stable`.
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
    #[error("cannot create the application")]
    App(#[from] rollout::OperateError),
    #[error("cannot open the root and targets metadata")]
    Repositories(#[from] OpenRepositoryError),
    #[error("cannot register the metrics")]
    Metrics(#[from] prometheus::Error),
}

pub struct Server {
    pub settings: Settings,
    pub state: Mutex<UpdateState>,
    pub online_key: OnlineKey,
    pub tokens: Tokens,
    pub files: Files,
    pub images: ImageStore,
    pub repositories: Repositories,
    pub metrics: Metrics,
    pub subscribers: Semaphore,
    pub readers: std::sync::Arc<Semaphore>,
    pub image_readers: std::sync::Arc<Semaphore>,
    store: Store,
    /// Changed records that no response depends on.
    deferred: Mutex<BTreeSet<RecordKey>>,
    /// Records whose commit failed. No response is sent before they are committed.
    uncommitted: Mutex<BTreeSet<RecordKey>>,
    /// Incremented with each change.
    changes: watch::Sender<u64>,
}

const CHANNELS: [&str; 3] = ["alpha", "beta", "stable"];

impl Server {
    /// Opens the server's folder, or initializes it. Blocks on file I/O: call it at startup only.
    ///
    /// # Errors
    /// The folder is unusable or in use, or its content is damaged.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let (store, state) = Store::open(&settings.data)?;
        let online_key = OnlineKey::open(&settings.data, settings.key.as_deref())?;
        let repositories = Repositories::open(&settings.data, &online_key)?;
        let server = Self {
            state: Mutex::new(state),
            online_key,
            tokens: Tokens::open(&settings.data)?,
            files: Files::open(&settings.data)?,
            images: ImageStore::open(&settings.data)?,
            repositories,
            metrics: Metrics::new()?,
            subscribers: Semaphore::new(SUBSCRIBERS),
            readers: std::sync::Arc::new(Semaphore::new(READERS)),
            image_readers: std::sync::Arc::new(Semaphore::new(IMAGE_READERS)),
            store,
            deferred: Mutex::default(),
            uncommitted: Mutex::default(),
            changes: watch::Sender::new(0),
            settings,
        };
        let initialized = {
            let mut state = server.state.lock();
            let app = &server.settings.app;
            if state.app(&app.id).is_none() {
                state.put_app(app.clone())?;
                for name in CHANNELS {
                    if let Ok(track) = name.parse::<Track>() {
                        state.ensure_channel(&app.id, &track, now())?;
                    }
                }
            }
            server.stage_changes(&mut state)
        };
        server.commit(initialized).await?;
        Ok(server)
    }

    /// Stages the changes of the state: those that a response depends on are queued for a commit, the rest waits for
    /// [`Server::flush`]. Call it with `state` locked, which keeps commits in order.
    #[must_use]
    pub fn stage_changes(&self, state: &mut UpdateState) -> PendingCommit<'_> {
        let changes = state.take_changes();
        if !changes.is_empty() {
            self.changes.send_modify(|count| *count += 1);
        }
        let mut deferred = self.deferred.lock();
        let mut records = std::mem::take(&mut *self.uncommitted.lock());
        // Decisions rely on records that exist in memory only: commit all of them before the next response.
        let must_commit_all = !records.is_empty();
        for (record, is_durable) in changes {
            if is_durable || must_commit_all {
                deferred.remove(&record);
                records.insert(record);
            } else {
                deferred.insert(record);
            }
        }
        self.queue(state, records)
    }

    fn queue(&self, state: &UpdateState, mut records: BTreeSet<RecordKey>) -> PendingCommit<'_> {
        let mut changes = Vec::new();
        records.retain(|record| match store::encode_change(state, record) {
            Ok(change) => {
                changes.push(change);
                true
            }
            Err(error) => {
                tracing::error!(%error, "cannot encode a record");
                false
            }
        });
        PendingCommit {
            uncommitted: UncommittedRecords { server: self, records },
            write: self.store.queue(changes),
        }
    }

    /// # Errors
    /// The commit failed: do not send the response. The next commit includes the records.
    pub async fn commit(&self, pending: PendingCommit<'_>) -> Result<(), StoreError> {
        let PendingCommit { mut uncommitted, write } = pending;
        write.committed().await?;
        uncommitted.records.clear();
        Ok(())
    }

    /// Commits the deferred changes.
    pub async fn flush(&self) {
        let pending = {
            let state = self.state.lock();
            let mut records = std::mem::take(&mut *self.deferred.lock());
            records.append(&mut self.uncommitted.lock());
            self.queue(&state, records)
        };
        if let Err(error) = self.commit(pending).await {
            tracing::error!(%error, "cannot save the latest reports of machines");
        }
    }

    /// Expires grants.
    pub async fn tick(&self) {
        let changes = {
            let mut state = self.state.lock();
            state.tick(now(), &zones);
            self.stage_changes(&mut state)
        };
        if let Err(error) = self.commit(changes).await {
            tracing::error!(%error, "cannot save expired grants");
        }
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Records that must be committed before the response is sent.
pub struct PendingCommit<'a> {
    uncommitted: UncommittedRecords<'a>,
    write: PendingWrite,
}

/// Records of a pending commit. If it fails, or the future is dropped, the next commit includes them.
struct UncommittedRecords<'a> {
    server: &'a Server,
    records: BTreeSet<RecordKey>,
}

impl Drop for UncommittedRecords<'_> {
    fn drop(&mut self) {
        self.server.uncommitted.lock().append(&mut self.records);
    }
}

/// Unix time in seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// From the system's time zone database.
pub fn zones(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::Ordering;

    use super::*;

    const APP: &str = "e96281a6-d1af-4bde-9a0a-97b76e56dc57";

    async fn open(data: &Path) -> Server {
        let app = App { id: APP.to_owned(), name: "Keelson".to_owned(), product_id: None };
        let settings = Settings { data: data.to_owned(), public_url: None, key: None, app };
        Server::open(settings).await.unwrap()
    }

    #[tokio::test]
    async fn records_of_a_failed_commit_are_committed_before_the_next_response() {
        let folder = tempfile::tempdir().unwrap();
        let server = open(folder.path()).await;
        let track: Track = "alpha".parse().unwrap();
        let change = |act: &dyn Fn(&mut UpdateState)| {
            let mut state = server.state.lock();
            act(&mut state);
            server.stage_changes(&mut state)
        };
        let pause = |state: &mut UpdateState| state.pause(APP, &track, "to look at it", 1).unwrap();
        server.store.is_full.store(true, Ordering::SeqCst);
        assert!(server.commit(change(&pause)).await.is_err());
        // The group is paused in memory only: no response may rely on that.
        assert!(server.commit(change(&|_| {})).await.is_err());
        // A dropped commit does not lose records.
        drop(server.commit(change(&|_| {})));
        server.flush().await;
        server.store.is_full.store(false, Ordering::SeqCst);
        server.commit(change(&|_| {})).await.unwrap();
        assert!(server.uncommitted.lock().is_empty());
        drop(server);
        let server = open(folder.path()).await;
        let state = server.state.lock();
        let (_, app) = state.app(APP).unwrap();
        assert!(app.groups[&track].group.paused.is_some());
    }

    /// Versions of this program before they had repositories stored it.
    #[tokio::test]
    async fn the_counter_of_older_versions_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let server = open(folder.path()).await;
        let counter = (b"!issued".to_vec(), Some(b"1795000000".to_vec()));
        server.store.queue(vec![counter]).committed().await.unwrap();
        drop(server);
        assert!(open(folder.path()).await.state.lock().app(APP).is_some());
    }
}
