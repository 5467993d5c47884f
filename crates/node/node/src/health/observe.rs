//! What systemd knows of this boot, asked for in one go.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::systemd::{self, AskError, ManagerProxy, ServiceProxy, UnitProxy};

use super::{member, updater};

/// systemd answers in milliseconds; on an emulated machine that is busy, in seconds.
const ANSWER: Duration = Duration::from_secs(25);
/// Its status is in its memory.
const UPDATER_ANSWER: Duration = Duration::from_secs(10);
/// The member's unit, by its two names.
const MEMBER: [&str; 2] = ["etcd.service", "etcd2.service"];

#[derive(Debug)]
pub struct Facts {
    pub target: String,
    pub target_state: String,
    /// Units that systemd is busy with, sorted.
    pub jobs: Vec<String>,
    /// Those that wait to be started again after a failure, too.
    pub failed_units: Vec<String>,
    /// How often each of the image's lasting services was started again, on trial.
    pub restarts: BTreeMap<String, u32>,
    pub updater: Option<updater::Unit>,
    pub member: Option<member::Unit>,
    /// systemd's own start, by the monotonic clock.
    pub started: Duration,
}

/// `trial`: whether this version has to be found good.
pub fn observe(trial: bool) -> Result<Facts, AskError> {
    systemd::ask(ANSWER, |bus| async move {
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
            updater: updater_unit(&bus, &manager).await?,
            member: member_unit(&bus, &manager).await?,
            started: Duration::from_micros(manager.userspace_timestamp_monotonic().await?),
        })
    })
}

/// None where there is no such unit.
async fn updater_unit(
    bus: &zbus::Connection,
    manager: &ManagerProxy<'_>,
) -> zbus::Result<Option<updater::Unit>> {
    let rows = manager.list_units_by_names(&[updater::UNIT]).await?;
    let Some((_, _, load, active, sub, ..)) = rows.into_iter().next() else { return Ok(None) };
    let answer = match active.as_str() {
        "active" => Some(status_of_updater(bus).await),
        _ => None,
    };
    Ok(Some(updater::Unit { load, active, sub, answer }))
}

async fn status_of_updater(bus: &zbus::Connection) -> Result<(), String> {
    let (name, path, interface) = updater::OBJECT;
    let asked = bus.call_method(Some(name), path, Some(interface), "GetStatus", &());
    match tokio::time::timeout(UPDATER_ANSWER, asked).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("nothing in {} s", UPDATER_ANSWER.as_secs())),
    }
}

/// None where there is no such unit, or a machine has it only in its image.
async fn member_unit(
    bus: &zbus::Connection,
    manager: &ManagerProxy<'_>,
) -> zbus::Result<Option<member::Unit>> {
    // Where one name is an alias of the other, both give the same row; the one that does something counts.
    let mut rows = manager.list_units_by_names(&MEMBER).await?;
    rows.retain(|row| row.2 == "loaded");
    rows.sort_by_key(|row| row.3 == "inactive");
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let (name, _, _, active, _, _, path, ..) = row;
    // A unit that was only started has no state of its file.
    let file = manager.get_unit_file_state(&name).await.unwrap_or_default();
    let enabled = matches!(file.as_str(), "enabled" | "enabled-runtime");
    if active == "inactive" && !enabled {
        return Ok(None);
    }
    let unit = UnitProxy::builder(bus).path(&path).build().await?;
    let looked = unit.condition_timestamp().await? != 0;
    let meant = !looked || unit.condition_result().await?;
    let pid = ServiceProxy::builder(bus).path(&path).build().await?.main_pid().await?;
    Ok(Some(member::Unit { name, active, enabled, meant, pid }))
}
