//! The folder's units: what is asked once and answered at once. Loading, unloading, stopping and watching stand in
//! files of their own.

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

/// Clones are the same. Calls for one unit are the caller's to put in order; those for different units may be made
/// all at once. Wants a tokio runtime.
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
    /// Makes the folder where there is none. Connects when first needed, and again after the bus was lost.
    pub fn open(directory: &Path, bus: Bus) -> Result<Self, Error> {
        Self::with_dial(directory, bus.links(), Box::new(bus))
    }

    /// The same, with a bus and a folder of links of the caller's.
    pub fn with_dial(directory: &Path, links: PathBuf, dial: Box<dyn Dial>) -> Result<Self, Error> {
        let directory = Arc::new(UnitDirectory::open(directory)?);
        let (watchers, connection) = (Arc::default(), Mutex::new(ConnectionState::Empty));
        let links = Links::new(links);
        Ok(Self(Arc::new(Inner { directory, links, watchers, dial, connection })))
    }

    /// The connection, made if there is none.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Error> {
        let mut connection = self.0.connection.lock().await;
        match &*connection {
            ConnectionState::Open(session) if !session.is_closed() => return Ok(session.clone()),
            // Many may have waited for this one try.
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

    /// Files may be slow: `work` runs where it keeps nobody from working.
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

    /// The folder's units of types that can run. What is no unit is logged, once. A file that cannot be read as a
    /// unit is logged and comes without any option, so that it is not what anybody asked for.
    pub async fn list_unit_files(&self) -> Result<BTreeMap<UnitName, UnitFile>, Error> {
        self.with_directory(UnitDirectory::list_unit_files).await
    }

    /// Where the unit's file is, or would be.
    pub fn file(&self, name: &UnitName) -> PathBuf {
        self.0.directory.file(name)
    }

    /// systemd reads its unit files again.
    pub async fn daemon_reload(&self) -> Result<(), Error> {
        self.session().await?.daemon_reload().await
    }

    /// The number of the job, which is not waited for.
    pub async fn start(&self, name: &UnitName) -> Result<u32, Error> {
        check_supported(name)?;
        let job = self.session().await?.start(name).await?;
        tracing::info!("Triggered systemd unit {name} start: job={job}");
        Ok(job)
    }

    /// SIGKILL to all processes of the unit. Where there are none, that is well. A unit that is not being stopped may
    /// be started again by its `Restart=`.
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

    /// What systemd says of them now. Names that it takes for no unit that can run are left out.
    pub async fn states(&self, names: &[UnitName]) -> Result<BTreeMap<UnitName, SystemdState>, Error> {
        let names: Vec<&UnitName> = names.iter().filter(|name| is_supported(name)).collect();
        let statuses = self.session().await?.list_units(&names).await?;
        Ok(names.into_iter().cloned().zip(statuses.into_iter().map(|unit| unit.state)).collect())
    }
}
