//! systemd's state of units and of this boot.

use zbus::{Connection, OwnedObjectPath};

use super::dbus::{BusError, RemoteObject, call, property};

const MANAGER: RemoteObject<'static> = RemoteObject {
    service: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// Active once all boot checks have succeeded.
const BOOT_COMPLETE: &str = "boot-complete.target";

/// `None` if the unit is not loaded.
async fn unit(bus: &Connection, name: &str) -> Result<Option<OwnedObjectPath>, BusError> {
    match call(bus, MANAGER, "GetUnit", &name).await {
        Ok(path) => Ok(Some(path)),
        Err(error) if error.is(NO_SUCH_UNIT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `active`, `activating`, `inactive`, ...; `inactive` if the unit is not loaded.
pub async fn active_state(bus: &Connection, name: &str) -> Result<String, BusError> {
    match unit(bus, name).await? {
        Some(path) => {
            property(bus, RemoteObject { path: &path, interface: UNIT, ..MANAGER }, "ActiveState").await
        }
        None => Ok("inactive".to_owned()),
    }
}

/// Whether any of the units is active or starting.
pub async fn any_running(bus: &Connection, names: &[&str]) -> Result<bool, BusError> {
    for name in names {
        if matches!(active_state(bus, name).await?.as_str(), "active" | "activating" | "reloading") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Why this boot does not count as good yet, `None` if it does. Without boot checks, a finished boot is good.
pub async fn boot_problem(bus: &Connection) -> Result<Option<String>, BusError> {
    if let Some(path) = unit(bus, BOOT_COMPLETE).await? {
        let target = RemoteObject { path: &path, interface: UNIT, ..MANAGER };
        let mut dependents: Vec<String> = property(bus, target, "RequiredBy").await?;
        dependents.extend(property::<Vec<String>>(bus, target, "WantedBy").await?);
        let state: String = property(bus, target, "ActiveState").await?;
        if state != "active" && !dependents.is_empty() {
            return Ok(Some(format!("{BOOT_COMPLETE} is {state}")));
        }
    }
    let state: String = property(bus, MANAGER, "SystemState").await?;
    Ok(match state.as_str() {
        "initializing" | "starting" => Some("the machine is still starting".to_owned()),
        "stopping" => Some("the machine is stopping".to_owned()),
        // `degraded` is left to the health checks.
        _ => None,
    })
}
