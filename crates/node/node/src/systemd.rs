//! What systemd says of units, over D-Bus. It is only asked: nothing here starts or stops anything.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use zbus::wire::OwnedObjectPath;

/// One unit as `ListUnits...` gives it: name, description, load, active and sub state, followed unit, path, job id,
/// job type, job path.
pub type UnitRow =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);
/// Job id, unit, type, state (`waiting`, `running`), the job's path and the unit's.
pub type JobRow = (u32, String, String, String, OwnedObjectPath, OwnedObjectPath);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub trait Manager {
    fn list_units_filtered(&self, states: &[&str]) -> zbus::Result<Vec<UnitRow>>;
    /// Also those that are not loaded.
    fn list_units_by_names(&self, names: &[&str]) -> zbus::Result<Vec<UnitRow>>;
    /// Those that are loaded, in one of these states.
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<UnitRow>>;
    fn list_jobs(&self) -> zbus::Result<Vec<JobRow>>;
    fn get_default_target(&self) -> zbus::Result<String>;
    fn get_unit_file_state(&self, name: &str) -> zbus::Result<String>;

    /// Microseconds of the monotonic clock.
    #[zbus(property(emits_changed_signal = "false"))]
    fn userspace_timestamp_monotonic(&self) -> zbus::Result<u64>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1",
    assume_defaults = false
)]
pub trait Service {
    /// 0 where none runs.
    #[zbus(property(emits_changed_signal = "false"), name = "MainPID")]
    fn main_pid(&self) -> zbus::Result<u32>;
    /// Result of the last run: `success`, `exit-code`, `signal`, ...
    #[zbus(property(emits_changed_signal = "false"))]
    fn result(&self) -> zbus::Result<String>;
    /// How often systemd restarted it.
    #[zbus(property(emits_changed_signal = "false"), name = "NRestarts")]
    fn restarts(&self) -> zbus::Result<u32>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1",
    assume_defaults = false
)]
pub trait Unit {
    /// Whether the unit's conditions held when it was last started.
    #[zbus(property(emits_changed_signal = "false"))]
    fn condition_result(&self) -> zbus::Result<bool>;
    /// Wall clock, microseconds; 0 where they were never looked at.
    #[zbus(property(emits_changed_signal = "false"))]
    fn condition_timestamp(&self) -> zbus::Result<u64>;
}

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("systemd does not answer on the bus")]
    Bus(#[from] zbus::Error),
    #[error("systemd did not answer in {} ms", .0.as_millis())]
    Late(Duration),
}

/// Runs the questions of `ask` on one thread, for `limit` at most.
///
/// # Errors
/// The bus or systemd is not there, or is late.
pub fn ask<T, F, A>(limit: Duration, ask: F) -> Result<T, AskError>
where
    F: FnOnce(zbus::Connection) -> A,
    A: Future<Output = zbus::Result<T>>,
{
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AskError::Runtime)?;
    runtime.block_on(async {
        let all = async { ask(zbus::Connection::system().await?).await };
        match tokio::time::timeout(limit, all).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(AskError::Late(limit)),
        }
    })
}

/// The failed units, and those that failed and wait for their restart; sorted.
///
/// # Errors
/// systemd does not answer.
pub async fn failed_units(bus: &zbus::Connection, manager: &ManagerProxy<'_>) -> zbus::Result<Vec<String>> {
    let mut names = Vec::new();
    for (name, _, _, active, sub, _, path, ..) in
        manager.list_units_filtered(&["failed", "activating"]).await?
    {
        let counts = match active.as_str() {
            "failed" => true,
            _ if !sub.starts_with("auto-restart") => false,
            _ => ServiceProxy::builder(bus).path(&path).build().await?.result().await? != "success",
        };
        if counts {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Long-running services of the image.
const LASTING: [&str; 13] = [
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

/// How often systemd restarted each of them. Services of an operator may be meant to exit. One call for each that runs: on an
/// emulated machine a call takes tens of milliseconds.
///
/// # Errors
/// systemd does not answer.
pub async fn restarts(
    bus: &zbus::Connection,
    manager: &ManagerProxy<'_>,
) -> zbus::Result<BTreeMap<String, u32>> {
    let mut restarts = BTreeMap::new();
    for (name, _, _, _, _, _, path, ..) in
        manager.list_units_by_patterns(&["active", "activating"], &LASTING).await?
    {
        let service = ServiceProxy::builder(bus).path(&path).build().await?;
        restarts.insert(name, service.restarts().await?);
    }
    Ok(restarts)
}
