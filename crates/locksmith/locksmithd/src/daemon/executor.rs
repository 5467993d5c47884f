//! Runs the actions of the state machine: each is a task that completes with one event.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use etcd_client::TlsFiles;
use fleet_client::Client;
use jiff::Zoned;
use locksmith_core::{
    Acquired, Action, DaemonSettings, Event, FleetLockRequest, HolderMetadata, LockFailure,
};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use zbus::Connection;

use crate::io::etcd_lock::{EtcdLock, StoreError};
use crate::io::fleet::{self, CordonFile};
use crate::io::fleet_lock::{FleetLockClient, FleetLockError};
use crate::io::lock_marker::LockMarker;
use crate::io::{dbus, logind, machine, systemd, terminals};
use crate::limits::FLEET_POLL;

/// The units that may run an etcd.
const ETCD_UNITS: [&str; 3] = ["etcd.service", "etcd2.service", "etcd-member.service"];

enum Lock {
    Etcd(EtcdLock),
    FleetLock(FleetLockClient),
}

pub struct Executor {
    id: String,
    boot_id: String,
    version: String,
    bus: Connection,
    lock: Lock,
    fleet: Client,
    cordon_file: CordonFile,
    marker: LockMarker,
    drain_timeout: Option<Duration>,
    /// Waits for the cluster manager to undrain this machine.
    pending_undrain: Mutex<Option<JoinHandle<()>>>,
}

impl Executor {
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
            bus: dbus::connect().await?,
            lock,
            fleet: fleet::client(&store.fleet).with_context(|| store.fleet.clone())?,
            cordon_file: CordonFile::in_folder(&machine::state_folder()),
            marker: LockMarker::in_folder(&machine::state_folder()),
            drain_timeout: settings.drain_timeout,
            pending_undrain: Mutex::default(),
        })
    }

    /// Starts the action; its event is sent to `completed` on completion.
    pub fn spawn(self: &Arc<Self>, action: Action, completed: UnboundedSender<Event>) {
        let executor = Arc::clone(self);
        tokio::spawn(async move {
            let Some(event) = executor.execute(action).await else { return };
            // The daemon may be exiting.
            if completed.send(event).is_err() {
                tracing::debug!("nobody waits any more");
            }
        });
    }

    async fn execute(self: &Arc<Self>, action: Action) -> Option<Event> {
        Some(match action {
            Action::CheckHealth => Event::Health(self.health().await),
            // Falls back to locking: an unlocked reboot is worse than a delayed one.
            Action::CheckEtcd => Event::EtcdRunning(
                systemd::any_running(&self.bus, &ETCD_UNITS).await.unwrap_or_else(|error| {
                    tracing::warn!("asking whether an etcd runs here: {error}");
                    true
                }),
            ),
            Action::ListInhibitors => Event::Inhibitors(match logind::list_inhibitors(&self.bus).await {
                Ok(found) => found,
                Err(error) => vec![format!("logind cannot be asked ({error})")],
            }),
            Action::Lock { reason } => {
                let requested_before = self.marker.exists();
                if let Err(error) = self.marker.create() {
                    tracing::warn!("cannot record that the lock is requested: {error}");
                }
                let locked = self.acquire(reason, requested_before).await;
                let not_ours = match &locked {
                    Err(LockFailure::Refused(_)) => true,
                    // An operator locked it with this machine's ID.
                    Ok(Acquired::AlreadyHeld) => !requested_before,
                    _ => false,
                };
                if not_ours {
                    self.clear_marker();
                }
                Event::Locked(locked)
            }
            Action::Release => {
                let released = self.release().await;
                if released.is_ok() {
                    self.clear_marker();
                }
                Event::Released(released)
            }
            Action::Drain => {
                self.drain().await;
                Event::Drained
            }
            Action::Undrain => Event::Undrained(self.undrain().await),
            Action::Warn(message) => Event::Warned(self.warn(message).await),
            Action::Reboot => {
                Event::RebootSent(logind::reboot(&self.bus).await.map_err(|error| error.message()))
            }
            Action::Log(..) | Action::SetState(_) | Action::Exit(_) => return None,
        })
    }

    async fn health(&self) -> Result<(), String> {
        match systemd::boot_problem(&self.bus).await {
            Ok(None) => Ok(()),
            Ok(Some(why)) => Err(why),
            Err(error) => Err(format!("systemd cannot be asked ({error})")),
        }
    }

    /// The lock is certainly not held.
    fn clear_marker(&self) {
        if let Err(error) = self.marker.remove() {
            tracing::warn!("cannot record that the lock is not held: {error}");
        }
    }

    async fn acquire(&self, reason: String, requested_before: bool) -> Result<Acquired, LockFailure> {
        match &self.lock {
            // The protocol does not tell whether the lock was held before: that of an earlier request may be.
            Lock::FleetLock(client) => {
                let granted = client.send(FleetLockRequest::PreReboot, &self.id).await;
                let acquired = if requested_before { Acquired::AlreadyHeld } else { Acquired::New };
                granted.map(|()| acquired).map_err(|error| match &error {
                    FleetLockError::Refused(_) => LockFailure::Refused(error.to_string()),
                    FleetLockError::Unreachable { .. } => LockFailure::Unknown(error.to_string()),
                })
            }
            Lock::Etcd(lock) => {
                let acquired = acquire(lock, &self.id).await.map_err(|error| match &error {
                    StoreError::Lock(_) | StoreError::Value { .. } => LockFailure::Refused(error.to_string()),
                    StoreError::Etcd(_) => LockFailure::Unknown(error.to_string()),
                })?;
                let metadata = HolderMetadata {
                    since: machine::now(),
                    boot_id: self.boot_id.clone(),
                    version: self.version.clone(),
                    reason,
                };
                // Informational: the lock is held without it.
                if acquired == Acquired::New
                    && let Err(error) = lock.write_metadata(&self.id, Some(&metadata)).await
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
                let granted = client.send(FleetLockRequest::SteadyState, &self.id).await;
                granted.map(|()| false).map_err(|error| error.to_string())
            }
            Lock::Etcd(lock) => {
                let released = release(lock, &self.id).await.map_err(|error| error.to_string())?;
                if released && let Err(error) = lock.write_metadata(&self.id, None).await {
                    tracing::warn!("taking back why the lock was held: {error}");
                }
                Ok(released)
            }
        }
    }

    async fn fleet_runs(&self) -> bool {
        systemd::any_running(&self.bus, &fleet::UNITS).await.unwrap_or_else(|error| {
            tracing::warn!("asking whether the cluster manager runs here: {error}");
            false
        })
    }

    async fn drain(&self) {
        if let Some(pending_undrain) = self.pending_undrain().take() {
            pending_undrain.abort();
        }
        let Some(limit) = self.drain_timeout else { return };
        // A request to its socket would start it.
        if !self.fleet_runs().await {
            return tracing::info!("No cluster manager runs here: no units to move away");
        }
        tracing::info!("Moving the units of this machine away, for at most {limit:?}");
        match fleet::drain(&self.fleet, &self.cordon_file, &self.id, limit).await {
            Ok(report) => {
                for unit in &report.unmovable {
                    tracing::warn!("Unit {unit} remains on this machine");
                }
                match report.remaining.as_slice() {
                    [] => tracing::info!("The units have moved away"),
                    remaining => tracing::warn!("Not moved away in time: {}", remaining.join(" ")),
                }
            }
            // A broken cluster manager must not block the reboot.
            Err(error) => tracing::warn!("Moving the units away failed, rebooting anyway: {error}"),
        }
    }

    async fn undrain(self: &Arc<Self>) -> Result<(), String> {
        match self.cordon_file.read() {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
        if self.fleet_runs().await {
            return self.undrain_now().await;
        }
        tracing::info!("No cluster manager runs here: it gets this machine back when it does");
        let executor = Arc::clone(self);
        let waiting = tokio::spawn(async move {
            loop {
                tokio::time::sleep(FLEET_POLL).await;
                if executor.fleet_runs().await && executor.undrain_now().await.is_ok() {
                    return;
                }
            }
        });
        if let Some(previous) = self.pending_undrain().replace(waiting) {
            previous.abort();
        }
        Ok(())
    }

    async fn undrain_now(&self) -> Result<(), String> {
        match fleet::undrain(&self.fleet, &self.cordon_file, &self.id).await {
            Ok(true) => tracing::info!("This machine takes units again"),
            Ok(false) => {}
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    fn pending_undrain(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.pending_undrain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn warn(&self, message: String) -> usize {
        let sessions = logind::sessions(&self.bus).await.unwrap_or_else(|error| {
            tracing::warn!("asking who is logged in: {error}");
            Vec::new()
        });
        let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string();
        let reached = tokio::task::spawn_blocking(move || terminals::broadcast(&sessions, &message, &now));
        reached.await.unwrap_or_default()
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
