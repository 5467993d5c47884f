//! The units of the directory: connection and simple calls.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;
use unit_file::{UnitFile, UnitKind, UnitName};

use crate::dial::{Bus, Dial};
use crate::error::Error;
use crate::limits::FAILURE_CACHE_TIME;
use crate::links::Links;
use crate::retry::Retries;
use crate::session::Session;
use crate::state::SystemdState;
use crate::supported::{check_supported, is_supported};
use crate::unit_directory::UnitDirectory;
use crate::watcher::Watchers;

/// Cheap to clone. The caller serializes calls for the same unit; calls for different units may run concurrently.
/// Needs a tokio runtime.
#[derive(Clone)]
pub struct Units(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub directory: Arc<UnitDirectory>,
    pub links: Links,
    pub watchers: Arc<Watchers>,
    dial: Box<dyn Dial>,
    connection: Mutex<ConnectionState>,
}

enum ConnectionState {
    Empty,
    Open(Arc<Session>),
    Failed(Instant, Error),
}

impl Units {
    /// Creates the directory if needed. Connects on demand and reconnects after a failure.
    pub fn open(directory: &Path, bus: Bus) -> Result<Self, Error> {
        Self::with_dial(directory, bus.links(), Box::new(bus))
    }

    /// Like [`Units::open`], with another bus and directory of links.
    pub fn with_dial(directory: &Path, links: PathBuf, dial: Box<dyn Dial>) -> Result<Self, Error> {
        let directory = Arc::new(UnitDirectory::open(directory)?);
        let (watchers, connection) = (Arc::default(), Mutex::new(ConnectionState::Empty));
        let links = Links::new(links);
        Ok(Self(Arc::new(Inner { directory, links, watchers, dial, connection })))
    }

    /// The current connection, or a new one.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Error> {
        let mut connection = self.0.connection.lock().await;
        match &*connection {
            ConnectionState::Open(session) if !session.is_closed() => return Ok(session.clone()),
            // Other callers may have waited for this attempt.
            ConnectionState::Failed(when, error) if when.elapsed() < FAILURE_CACHE_TIME => {
                return Err(error.clone());
            }
            _ => {}
        }
        match Session::open(&*self.0.dial, &self.0.directory, &self.0.watchers).await {
            Ok(session) => {
                let session = Arc::new(session);
                *connection = ConnectionState::Open(session.clone());
                Ok(session)
            }
            Err(error) => {
                *connection = ConnectionState::Failed(Instant::now(), error.clone());
                Err(error)
            }
        }
    }

    /// Runs blocking file operations on a blocking thread.
    pub(crate) async fn with_directory<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&UnitDirectory) -> Result<T, Error> + Send + 'static,
    {
        let directory = self.0.directory.clone();
        let path = directory.path().to_owned();
        let done = tokio::task::spawn_blocking(move || work(&directory)).await;
        done.map_err(|error| Error::file("work on", path, error.into()))?
    }

    /// Unit files of types that can run. Other files are logged once. An invalid unit file is logged and returned
    /// without options, so that it differs from every desired unit.
    pub async fn list_unit_files(&self) -> Result<BTreeMap<UnitName, UnitFile>, Error> {
        self.with_directory(UnitDirectory::list_unit_files).await
    }

    /// The path of the unit's file.
    pub fn file(&self, name: &UnitName) -> PathBuf {
        self.0.directory.file(name)
    }

    /// Makes systemd reload all unit files.
    pub async fn daemon_reload(&self) -> Result<(), Error> {
        self.session().await?.daemon_reload().await
    }

    /// Returns the job id without waiting for the job.
    pub async fn start(&self, name: &UnitName) -> Result<u32, Error> {
        check_supported(name)?;
        let job = self.session().await?.start(name).await?;
        tracing::info!("Triggered systemd unit {name} start: job={job}");
        Ok(job)
    }

    /// Sends SIGKILL to all processes of the unit, if any. `Restart=` may start a unit again that is not being
    /// stopped.
    pub async fn kill(&self, name: &UnitName) -> Result<(), Error> {
        let has_processes = matches!(name.kind(), UnitKind::Service | UnitKind::Socket | UnitKind::Mount);
        if !is_supported(name) || !has_processes {
            return Ok(());
        }
        let mut retries = Retries::default();
        loop {
            let killed = async { self.session().await?.kill(name).await };
            match killed.await {
                Err(error) if retries.should_retry(&error).await => {}
                done => return done,
            }
        }
    }

    /// Current states. Names that systemd does not support are skipped.
    pub async fn states(&self, names: &[UnitName]) -> Result<BTreeMap<UnitName, SystemdState>, Error> {
        let names: Vec<&UnitName> = names.iter().filter(|name| is_supported(name)).collect();
        let statuses = self.session().await?.list_units(&names).await?;
        Ok(names.into_iter().cloned().zip(statuses.into_iter().map(|unit| unit.state)).collect())
    }
}
