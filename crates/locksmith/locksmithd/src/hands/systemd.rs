//! What systemd says of units and of this boot.

use zbus::{Connection, OwnedObjectPath};

use super::bus::{BusError, Place, call, property};

const MANAGER: Place<'static> = Place {
    service: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// Reached when all that judges a boot found it good.
const GOOD_BOOT: &str = "boot-complete.target";

/// `None` where systemd does not know the unit.
async fn unit(bus: &Connection, name: &str) -> Result<Option<OwnedObjectPath>, BusError> {
    match call(bus, MANAGER, "GetUnit", &name).await {
        Ok(path) => Ok(Some(path)),
        Err(error) if error.is(NO_SUCH_UNIT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `active`, `activating`, `inactive`, ...; `inactive` where systemd does not know the unit.
pub async fn active_state(bus: &Connection, name: &str) -> Result<String, BusError> {
    match unit(bus, name).await? {
        Some(path) => property(bus, Place { path: &path, interface: UNIT, ..MANAGER }, "ActiveState").await,
        None => Ok("inactive".to_owned()),
    }
}

/// Whether one of them runs, or is being started.
pub async fn any_runs(bus: &Connection, names: &[&str]) -> Result<bool, BusError> {
    for name in names {
        if matches!(active_state(bus, name).await?.as_str(), "active" | "activating" | "reloading") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Why this boot does not count as good yet; `None` where it does. Where nothing judges boots, one that is over is
/// good.
pub async fn not_good(bus: &Connection) -> Result<Option<String>, BusError> {
    if let Some(path) = unit(bus, GOOD_BOOT).await? {
        let target = Place { path: &path, interface: UNIT, ..MANAGER };
        let mut wanted_by: Vec<String> = property(bus, target, "RequiredBy").await?;
        wanted_by.extend(property::<Vec<String>>(bus, target, "WantedBy").await?);
        let state: String = property(bus, target, "ActiveState").await?;
        if state != "active" && !wanted_by.is_empty() {
            return Ok(Some(format!("{GOOD_BOOT} is {state}")));
        }
    }
    let state: String = property(bus, MANAGER, "SystemState").await?;
    Ok(match state.as_str() {
        "initializing" | "starting" => Some("the machine is still starting".to_owned()),
        "stopping" => Some("the machine is stopping".to_owned()),
        // `degraded` is for the health checks to judge.
        _ => None,
    })
}
