//! What a life wants to be done, done: each work is a task that ends with one event.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use etcd_client::TlsFiles;
use fleet_client::Client;
use jiff::Zoned;
use locksmith_core::{Acquired, Action, DaemonSettings, Event, FleetLockRequest, NotLocked, Note};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use zbus::Connection;

use crate::hands::fleet::{self, Memory};
use crate::hands::fleet_lock::{FleetLockClient, FleetLockError};
use crate::hands::lock::{EtcdLock, StoreError};
use crate::hands::lock_marker::LockMarker;
use crate::hands::{bus, machine, power, systemd, terminals};
use crate::limits::FLEET_LOOK;

/// The names that an etcd has on a machine.
const ETCD_UNITS: [&str; 3] = ["etcd.service", "etcd2.service", "etcd-member.service"];

enum Lock {
    Etcd(EtcdLock),
    FleetLock(FleetLockClient),
}

pub struct Hands {
    id: String,
    boot_id: String,
    version: String,
    bus: Connection,
    lock: Lock,
    fleet: Client,
    memory: Memory,
    marker: LockMarker,
    drain_timeout: Option<Duration>,
    /// Waits for a cluster manager that is to have this machine back.
    returning: Mutex<Option<JoinHandle<()>>>,
}

impl Hands {
    pub async fn open(settings: &DaemonSettings) -> anyhow::Result<Self> {
        let store = &settings.store;
        let lock = match &settings.fleet_lock {
            Some(server) => {
                let tls = store.tls.as_ref().map_or_else(TlsFiles::default, |tls| TlsFiles {
                    ca: Some(tls.ca.clone().into()),
                    certificate: Some(tls.certificate.clone().into()),
                    key: Some(tls.key.clone().into()),
                });
                Lock::FleetLock(FleetLockClient::new(server.clone(), &tls).context("the FleetLock server")?)
            }
            None => Lock::Etcd(EtcdLock::open(store, None, None).context("Error initializing etcd client")?),
        };
        Ok(Self {
            id: machine::id()?,
            boot_id: machine::boot_id()?,
            version: machine::version(),
            bus: bus::connect().await?,
            lock,
            fleet: fleet::client(&store.fleet).with_context(|| store.fleet.clone())?,
            memory: Memory::in_folder(&machine::state_folder()),
            marker: LockMarker::in_folder(&machine::state_folder()),
            drain_timeout: settings.drain_timeout,
            returning: Mutex::default(),
        })
    }

    /// Begins the work; its event comes when it is over.
    pub fn begin(self: &Arc<Self>, work: Action, done: UnboundedSender<Event>) {
        let hands = Arc::clone(self);
        tokio::spawn(async move {
            let Some(event) = hands.work(work).await else { return };
            // The daemon may end first.
            if done.send(event).is_err() {
                tracing::debug!("nobody waits any more");
            }
        });
    }

    async fn work(self: &Arc<Self>, work: Action) -> Option<Event> {
        Some(match work {
            Action::AskHealth => Event::Health(self.health().await),
            // Without an answer the lock is asked for: a reboot too many at a time is worse than a late one.
            Action::AskEtcd => {
                Event::EtcdHere(systemd::any_runs(&self.bus, &ETCD_UNITS).await.unwrap_or_else(|error| {
                    tracing::warn!("asking whether an etcd runs here: {error}");
                    true
                }))
            }
            Action::AskInhibitors => Event::Inhibitors(match power::inhibitors(&self.bus).await {
                Ok(found) => found,
                Err(error) => vec![format!("logind cannot be asked ({error})")],
            }),
            Action::Lock { reason } => {
                let asked_before = self.marker.exists();
                if let Err(error) = self.marker.put() {
                    tracing::warn!("cannot record that the lock is requested: {error}");
                }
                let locked = self.acquire(reason).await;
                let of_others = match &locked {
                    Err(NotLocked::Refused(_)) => true,
                    // An operator locked it with this machine's id.
                    Ok(Acquired::Before) => !asked_before,
                    _ => false,
                };
                if of_others {
                    self.no_lock();
                }
                Event::Locked(locked)
            }
            Action::Release => {
                let released = self.release().await;
                if released.is_ok() {
                    self.no_lock();
                }
                Event::Released(released)
            }
            Action::Drain => {
                self.drain().await;
                Event::Drained
            }
            Action::Undrain => Event::Undrained(self.undrain().await),
            Action::Warn(message) => Event::Warned(self.warn(message).await),
            Action::Reboot => Event::RebootSent(power::reboot(&self.bus).await.map_err(|error| error.told())),
            Action::Log(..) | Action::Coordinate(_) | Action::Exit(_) => return None,
        })
    }

    async fn health(&self) -> Result<(), String> {
        match systemd::not_good(&self.bus).await {
            Ok(None) => Ok(()),
            Ok(Some(why)) => Err(why),
            Err(error) => Err(format!("systemd cannot be asked ({error})")),
        }
    }

    /// The lock is certainly not held.
    fn no_lock(&self) {
        if let Err(error) = self.marker.remove() {
            tracing::warn!("cannot record that the lock is not held: {error}");
        }
    }

    async fn acquire(&self, reason: String) -> Result<Acquired, NotLocked> {
        match &self.lock {
            // The server does not say whether it was ours before; giving it back twice is allowed.
            Lock::FleetLock(client) => {
                let granted = client.ask(FleetLockRequest::PreReboot, &self.id).await;
                granted.map(|()| Acquired::Now).map_err(|error| match &error {
                    FleetLockError::Refused(_) => NotLocked::Refused(error.to_string()),
                    FleetLockError::Unreachable { .. } => NotLocked::Unknown(error.to_string()),
                })
            }
            Lock::Etcd(lock) => {
                let acquired = acquire(lock, &self.id).await.map_err(|error| match &error {
                    StoreError::Lock(_) | StoreError::Value { .. } => NotLocked::Refused(error.to_string()),
                    StoreError::Etcd(_) => NotLocked::Unknown(error.to_string()),
                })?;
                let note = Note {
                    since: machine::now(),
                    boot_id: self.boot_id.clone(),
                    version: self.version.clone(),
                    reason,
                };
                // For people only: the lock is there without it.
                if acquired == Acquired::Now
                    && let Err(error) = lock.note(&self.id, Some(&note)).await
                {
                    tracing::warn!("writing down why the lock is held: {error}");
                }
                Ok(acquired)
            }
        }
    }

    async fn release(&self) -> Result<bool, String> {
        match &self.lock {
            Lock::FleetLock(client) => {
                let granted = client.ask(FleetLockRequest::SteadyState, &self.id).await;
                granted.map(|()| false).map_err(|error| error.to_string())
            }
            Lock::Etcd(lock) => {
                let released = release(lock, &self.id).await.map_err(|error| error.to_string())?;
                if released && let Err(error) = lock.note(&self.id, None).await {
                    tracing::warn!("taking back why the lock was held: {error}");
                }
                Ok(released)
            }
        }
    }

    async fn fleet_runs(&self) -> bool {
        systemd::any_runs(&self.bus, &fleet::UNITS).await.unwrap_or_else(|error| {
            tracing::warn!("asking whether the cluster manager runs here: {error}");
            false
        })
    }

    async fn drain(&self) {
        if let Some(returning) = self.returning().take() {
            returning.abort();
        }
        let Some(limit) = self.drain_timeout else { return };
        // Its socket would start it.
        if !self.fleet_runs().await {
            return tracing::info!("No cluster manager runs here: no units to move away");
        }
        tracing::info!("Moving the units of this machine away, for at most {limit:?}");
        match fleet::drain(&self.fleet, &self.memory, &self.id, limit).await {
            Ok(moved) => {
                for unit in &moved.stay {
                    tracing::warn!("Unit {unit} stays here");
                }
                match moved.late.as_slice() {
                    [] => tracing::info!("The units have moved away"),
                    late => tracing::warn!("Not moved away in time: {}", late.join(" ")),
                }
            }
            // The reboot is not to wait for a cluster manager that is broken.
            Err(error) => tracing::warn!("Moving the units away failed, rebooting anyway: {error}"),
        }
    }

    async fn undrain(self: &Arc<Self>) -> Result<(), String> {
        match self.memory.before() {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
        if self.fleet_runs().await {
            return self.undrain_now().await;
        }
        tracing::info!("No cluster manager runs here: it gets this machine back when it does");
        let hands = Arc::clone(self);
        let waiting = tokio::spawn(async move {
            loop {
                tokio::time::sleep(FLEET_LOOK).await;
                if hands.fleet_runs().await && hands.undrain_now().await.is_ok() {
                    return;
                }
            }
        });
        if let Some(earlier) = self.returning().replace(waiting) {
            earlier.abort();
        }
        Ok(())
    }

    async fn undrain_now(&self) -> Result<(), String> {
        match fleet::undrain(&self.fleet, &self.memory, &self.id).await {
            Ok(true) => tracing::info!("This machine takes units again"),
            Ok(false) => {}
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    fn returning(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.returning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn warn(&self, message: String) -> usize {
        let sessions = power::sessions(&self.bus).await.unwrap_or_else(|error| {
            tracing::warn!("asking who is logged in: {error}");
            Vec::new()
        });
        let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string();
        let told = tokio::task::spawn_blocking(move || terminals::tell(&sessions, &message, &now));
        told.await.unwrap_or_default()
    }
}

async fn acquire(lock: &EtcdLock, id: &str) -> Result<Acquired, StoreError> {
    lock.create().await?;
    lock.acquire(id).await
}

async fn release(lock: &EtcdLock, id: &str) -> Result<bool, StoreError> {
    lock.create().await?;
    lock.release(id).await
}
