//! Read-only queries of systemd over D-Bus.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use zbus::wire::OwnedObjectPath;

/// A row of `ListUnits...`: name, description, load, active and sub state, followed unit, path, job ID, job
/// type, job path.
pub type UnitRow =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);
/// A row of `ListJobs`: ID, unit, type, state (`waiting`, `running`), job path, unit path.
pub type JobRow = (u32, String, String, String, OwnedObjectPath, OwnedObjectPath);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub trait Manager {
    fn list_units_filtered(&self, states: &[&str]) -> zbus::Result<Vec<UnitRow>>;
    /// Includes units that are not loaded.
    fn list_units_by_names(&self, names: &[&str]) -> zbus::Result<Vec<UnitRow>>;
    /// Loaded units in one of these states.
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<UnitRow>>;
    fn list_jobs(&self) -> zbus::Result<Vec<JobRow>>;
    fn get_default_target(&self) -> zbus::Result<String>;
    fn get_unit_file_state(&self, name: &str) -> zbus::Result<String>;

    /// In microseconds of the monotonic clock.
    #[zbus(property(emits_changed_signal = "false"))]
    fn userspace_timestamp_monotonic(&self) -> zbus::Result<u64>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1",
    assume_defaults = false
)]
pub trait Service {
    /// 0 if it does not run.
    #[zbus(property(emits_changed_signal = "false"), name = "MainPID")]
    fn main_pid(&self) -> zbus::Result<u32>;
    /// The result of the last run: `success`, `exit-code`, `signal`, ...
    #[zbus(property(emits_changed_signal = "false"))]
    fn result(&self) -> zbus::Result<String>;
    /// The number of automatic restarts.
    #[zbus(property(emits_changed_signal = "false"), name = "NRestarts")]
    fn restarts(&self) -> zbus::Result<u32>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1",
    assume_defaults = false
)]
pub trait Unit {
    /// Whether the conditions held at the last start.
    #[zbus(property(emits_changed_signal = "false"))]
    fn condition_result(&self) -> zbus::Result<bool>;
    /// Wall clock in microseconds; 0 if the conditions were never checked.
    #[zbus(property(emits_changed_signal = "false"))]
    fn condition_timestamp(&self) -> zbus::Result<u64>;
}

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("cannot start the async runtime")]
    Runtime(#[source] std::io::Error),
    #[error("systemd does not respond on D-Bus")]
    Bus(#[from] zbus::Error),
    #[error("systemd did not respond within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// Runs the queries of `query` on a single-threaded runtime, for `limit` at most.
///
/// # Errors
/// The bus or systemd is unavailable, or the time is over.
pub fn query<T, F, A>(limit: Duration, query: F) -> Result<T, QueryError>
where
    F: FnOnce(zbus::Connection) -> A,
    A: Future<Output = zbus::Result<T>>,
{
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(QueryError::Runtime)?;
    runtime.block_on(async {
        let response = async { query(zbus::Connection::system().await?).await };
        match tokio::time::timeout(limit, response).await {
            Ok(value) => Ok(value?),
            Err(_) => Err(QueryError::Timeout(limit)),
        }
    })
}

/// The failed units and those that wait for their restart after a failure, sorted.
///
/// # Errors
/// systemd does not answer.
pub async fn failed_units(bus: &zbus::Connection, manager: &ManagerProxy<'_>) -> zbus::Result<Vec<String>> {
    let mut names = Vec::new();
    for (name, _, _, active, sub, _, path, ..) in
        manager.list_units_filtered(&["failed", "activating"]).await?
    {
        let is_failed = match active.as_str() {
            "failed" => true,
            _ if !sub.starts_with("auto-restart") => false,
            _ => ServiceProxy::builder(bus).path(&path).build().await?.result().await? != "success",
        };
        if is_failed {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The image's long-running services.
const LONG_RUNNING: [&str; 13] = [
    "containerd.service",
    "dbus.service",
    "docker.service",
    "etcd.service",
    "etcd2.service",
    "fleet.service",
    "locksmithd.service",
    "systemd-journald.service",
    "systemd-logind.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "update-engine.service",
];

/// The restart counts of these services; an operator's services may be meant to exit. One call per running
/// service: each takes tens of milliseconds on an emulated machine.
///
/// # Errors
/// systemd does not answer.
pub async fn restarts(
    bus: &zbus::Connection,
    manager: &ManagerProxy<'_>,
) -> zbus::Result<BTreeMap<String, u32>> {
    let mut restarts = BTreeMap::new();
    for (name, _, _, _, _, _, path, ..) in
        manager.list_units_by_patterns(&["active", "activating"], &LONG_RUNNING).await?
    {
        let service = ServiceProxy::builder(bus).path(&path).build().await?;
        restarts.insert(name, service.restarts().await?);
    }
    Ok(restarts)
}
