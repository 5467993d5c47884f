//! What systemd knows of this boot, asked for in one go.

use std::time::Duration;

use crate::systemd::{self, AskError, ManagerProxy, ServiceProxy, UnitProxy};

use super::member;

/// systemd answers in milliseconds; on an emulated machine that is busy, in seconds.
const ANSWER: Duration = Duration::from_secs(25);
/// The member's unit, by its two names.
const MEMBER: [&str; 2] = ["etcd.service", "etcd2.service"];

#[derive(Debug)]
pub struct Facts {
    pub target: String,
    pub target_state: String,
    /// Units that systemd is busy with, sorted.
    pub jobs: Vec<String>,
    pub failed_units: Vec<String>,
    pub member: Option<member::Unit>,
    /// systemd's own start, by the monotonic clock.
    pub started: Duration,
}

pub fn observe() -> Result<Facts, AskError> {
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
            failed_units: systemd::failed_units(&manager).await?,
            member: member_unit(&bus, &manager).await?,
            started: Duration::from_micros(manager.userspace_timestamp_monotonic().await?),
        })
    })
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
