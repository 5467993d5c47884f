//! Queries systemd's state of this boot.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::systemd::{self, ManagerProxy, QueryError, ServiceProxy, UnitProxy};

use super::{member, update_engine};

/// systemd answers in milliseconds, but in seconds on a busy emulated machine.
const TIMEOUT: Duration = Duration::from_secs(25);
/// It answers from memory.
const UPDATE_ENGINE_TIMEOUT: Duration = Duration::from_secs(10);
/// The names of the etcd unit.
const MEMBER_UNITS: [&str; 2] = ["etcd.service", "etcd2.service"];

#[derive(Debug)]
pub struct Facts {
    pub target: String,
    pub target_state: String,
    /// Units with running jobs, sorted.
    pub jobs: Vec<String>,
    /// Includes units that wait for their restart after a failure.
    pub failed_units: Vec<String>,
    /// Restart counts of the image's long-running services; on trial only.
    pub restarts: BTreeMap<String, u32>,
    pub update_engine: Option<update_engine::Unit>,
    pub member: Option<member::Unit>,
    /// systemd's start on the monotonic clock.
    pub started: Duration,
}

/// `trial`: whether this version is on trial.
pub fn observe(trial: bool) -> Result<Facts, QueryError> {
    systemd::query(TIMEOUT, |bus| async move {
        let manager = ManagerProxy::new(&bus).await?;
        let target = manager.get_default_target().await?;
        let rows = manager.list_units_by_names(&[&target]).await?;
        let target_state = rows.into_iter().next().map_or_else(|| "unknown".to_owned(), |row| row.3);
        let mut jobs = Vec::new();
        if target_state != "active" {
            let rows = manager.list_jobs().await?;
            jobs.extend(rows.into_iter().filter(|job| job.3 == "running").map(|job| job.1));
            jobs.sort();
        }
        Ok(Facts {
            target,
            target_state,
            jobs,
            failed_units: systemd::failed_units(&bus, &manager).await?,
            restarts: if trial { systemd::restarts(&bus, &manager).await? } else { BTreeMap::new() },
            update_engine: update_engine_unit(&bus, &manager).await?,
            member: member_unit(&bus, &manager).await?,
            started: Duration::from_micros(manager.userspace_timestamp_monotonic().await?),
        })
    })
}

/// `None` if the unit does not exist.
async fn update_engine_unit(
    bus: &zbus::Connection,
    manager: &ManagerProxy<'_>,
) -> zbus::Result<Option<update_engine::Unit>> {
    let rows = manager.list_units_by_names(&[update_engine::UNIT]).await?;
    let Some((_, _, load, active, sub, ..)) = rows.into_iter().next() else { return Ok(None) };
    let response = match active.as_str() {
        "active" => Some(update_engine_status(bus).await),
        _ => None,
    };
    Ok(Some(update_engine::Unit { load, active, sub, response }))
}

async fn update_engine_status(bus: &zbus::Connection) -> Result<(), String> {
    let (name, path, interface) = update_engine::OBJECT;
    let call = bus.call_method(Some(name), path, Some(interface), "GetStatus", &());
    match tokio::time::timeout(UPDATE_ENGINE_TIMEOUT, call).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no response in {} s", UPDATE_ENGINE_TIMEOUT.as_secs())),
    }
}

/// `None` if the unit does not exist, or is neither enabled nor running.
async fn member_unit(
    bus: &zbus::Connection,
    manager: &ManagerProxy<'_>,
) -> zbus::Result<Option<member::Unit>> {
    // An alias gives the same row twice; an active unit takes precedence.
    let mut rows = manager.list_units_by_names(&MEMBER_UNITS).await?;
    rows.retain(|row| row.2 == "loaded");
    rows.sort_by_key(|row| row.3 == "inactive");
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let (name, _, _, active, _, _, path, ..) = row;
    // A transiently started unit has no unit file state.
    let file = manager.get_unit_file_state(&name).await.unwrap_or_default();
    let enabled = matches!(file.as_str(), "enabled" | "enabled-runtime");
    if active == "inactive" && !enabled {
        return Ok(None);
    }
    let unit = UnitProxy::builder(bus).path(&path).build().await?;
    let conditions_checked = unit.condition_timestamp().await? != 0;
    let condition_met = !conditions_checked || unit.condition_result().await?;
    let pid = ServiceProxy::builder(bus).path(&path).build().await?.main_pid().await?;
    Ok(Some(member::Unit { name, active, enabled, condition_met, pid }))
}
