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
use crate::folder::Folder;
use crate::limits::REFUSED_FOR;
use crate::links::Links;
use crate::session::Session;
use crate::state::SystemdState;
use crate::takes::{check, takes};
use crate::tries::Tries;
use crate::watcher::Watchers;

/// Clones are the same. Calls for one unit are the caller's to put in order; those for different units may be made
/// all at once. Wants a tokio runtime.
#[derive(Clone)]
pub struct Units(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub folder: Arc<Folder>,
    pub links: Links,
    pub watchers: Arc<Watchers>,
    dial: Box<dyn Dial>,
    slot: Mutex<Slot>,
}

enum Slot {
    Empty,
    Open(Arc<Session>),
    Refused(Instant, Error),
}

impl Units {
    /// Makes the folder where there is none. Connects when first needed, and again after the bus was lost.
    pub fn open(folder: &Path, bus: Bus) -> Result<Self, Error> {
        Self::over(folder, bus.links(), Box::new(bus))
    }

    /// The same, with a bus and a folder of links of the caller's.
    pub fn over(folder: &Path, links: PathBuf, dial: Box<dyn Dial>) -> Result<Self, Error> {
        let folder = Arc::new(Folder::open(folder)?);
        let (watchers, slot) = (Arc::default(), Mutex::new(Slot::Empty));
        let links = Links::new(links);
        Ok(Self(Arc::new(Inner { folder, links, watchers, dial, slot })))
    }

    /// The connection, made if there is none.
    pub(crate) async fn systemd(&self) -> Result<Arc<Session>, Error> {
        let mut slot = self.0.slot.lock().await;
        match &*slot {
            Slot::Open(session) if !session.is_closed() => return Ok(session.clone()),
            // Many may have waited for this one try.
            Slot::Refused(when, error) if when.elapsed() < REFUSED_FOR => return Err(error.clone()),
            _ => {}
        }
        match Session::open(&*self.0.dial, &self.0.folder, &self.0.watchers).await {
            Ok(session) => {
                let session = Arc::new(session);
                *slot = Slot::Open(session.clone());
                Ok(session)
            }
            Err(error) => {
                *slot = Slot::Refused(Instant::now(), error.clone());
                Err(error)
            }
        }
    }

    /// Files may be slow: `work` runs where it keeps nobody from working.
    pub(crate) async fn with_folder<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Folder) -> Result<T, Error> + Send + 'static,
    {
        let folder = self.0.folder.clone();
        let path = folder.path().to_owned();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        done.map_err(|error| Error::file("work on", path, error.into()))?
    }

    /// The folder's units of types that can run. What is no unit is logged, once. A file that cannot be read as a
    /// unit is logged and comes without any option, so that it is not what anybody asked for.
    pub async fn found(&self) -> Result<BTreeMap<UnitName, UnitFile>, Error> {
        self.with_folder(Folder::found).await
    }

    /// Where the unit's file is, or would be.
    pub fn file(&self, name: &UnitName) -> PathBuf {
        self.0.folder.file(name)
    }

    /// systemd reads its unit files again.
    pub async fn reload(&self) -> Result<(), Error> {
        self.systemd().await?.reload().await
    }

    /// The number of the job, which is not waited for.
    pub async fn start(&self, name: &UnitName) -> Result<u32, Error> {
        check(name)?;
        let job = self.systemd().await?.start(name).await?;
        tracing::info!("Triggered systemd unit {name} start: job={job}");
        Ok(job)
    }

    /// SIGKILL to all processes of the unit. Where there are none, that is well. A unit that is not being stopped may
    /// be started again by its `Restart=`.
    pub async fn kill(&self, name: &UnitName) -> Result<(), Error> {
        let has_processes = matches!(name.kind(), UnitKind::Service | UnitKind::Socket | UnitKind::Mount);
        if !takes(name) || !has_processes {
            return Ok(());
        }
        let mut tries = Tries::default();
        loop {
            let killed = async { self.systemd().await?.kill(name).await };
            match killed.await {
                Err(error) if tries.go_on(&error).await => {}
                done => return done,
            }
        }
    }

    /// What systemd says of them now. Names that it takes for no unit that can run are left out.
    pub async fn states(&self, names: &[UnitName]) -> Result<BTreeMap<UnitName, SystemdState>, Error> {
        let names: Vec<&UnitName> = names.iter().filter(|name| takes(name)).collect();
        let rows = self.systemd().await?.rows(&names).await?;
        Ok(names.into_iter().cloned().zip(rows.into_iter().map(|row| row.state)).collect())
    }
}
