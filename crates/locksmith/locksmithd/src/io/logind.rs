//! logind: sessions, shutdown inhibitors, and the reboot.

use zbus::{Connection, OwnedObjectPath};

use super::dbus::{BusError, RemoteObject, call, property};

const MANAGER: RemoteObject<'static> = RemoteObject {
    service: "org.freedesktop.login1",
    path: "/org/freedesktop/login1",
    interface: "org.freedesktop.login1.Manager",
};
const SESSION: &str = "org.freedesktop.login1.Session";
const UNKNOWN_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";

/// `SD_LOGIND_ROOT_CHECK_INHIBITORS` of sd-login.h: without it root's requests ignore inhibitors.
const CHECK_INHIBITORS: u64 = 1;

/// What, who, why, mode, UID, PID.
type Inhibitor = (String, String, String, String, u32, u32);

/// One sentence for each inhibitor that blocks the shutdown.
pub async fn list_inhibitors(bus: &Connection) -> Result<Vec<String>, BusError> {
    let all: Vec<Inhibitor> = call(bus, MANAGER, "ListInhibitors", &()).await?;
    Ok(all
        .iter()
        .filter(|inhibitor| blocks_shutdown(inhibitor))
        .map(|(_, who, why, ..)| format!("{who} ({why})"))
        .collect())
}

fn blocks_shutdown((what, _, _, mode, ..): &Inhibitor) -> bool {
    mode == "block" && what.split(':').any(|inhibitor| inhibitor == "shutdown")
}

/// Non-interactive, but respects inhibitors.
pub async fn reboot(bus: &Connection) -> Result<(), BusError> {
    match call(bus, MANAGER, "RebootWithFlags", &CHECK_INHIBITORS).await {
        Err(error) if error.is(UNKNOWN_METHOD) => reboot_unconditionally(bus).await,
        result => result,
    }
}

/// Ignores inhibitors: an operator requested it.
pub async fn reboot_unconditionally(bus: &Connection) -> Result<(), BusError> {
    let interactive = false;
    call(bus, MANAGER, "Reboot", &interactive).await
}

/// A login session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Relative to `/dev`; empty if logind does not know it, as with sshd.
    pub terminal: String,
    /// The unit of the session's processes.
    pub scope: String,
}

/// User sessions only, without services and login prompts.
pub async fn sessions(bus: &Connection) -> Result<Vec<Session>, BusError> {
    let all: Vec<(String, u32, String, String, OwnedObjectPath)> =
        call(bus, MANAGER, "ListSessions", &()).await?;
    let mut found = Vec::new();
    for (.., path) in all {
        // The session may have ended meanwhile.
        if let Ok(Some(session)) = session(bus, &path).await {
            found.push(session);
        }
    }
    Ok(found)
}

async fn session(bus: &Connection, path: &OwnedObjectPath) -> Result<Option<Session>, BusError> {
    let object = RemoteObject { path, interface: SESSION, ..MANAGER };
    let class: String = property(bus, object, "Class").await?;
    let state: String = property(bus, object, "State").await?;
    if !class.starts_with("user") || state == "closing" {
        return Ok(None);
    }
    let terminal = property(bus, object, "TTY").await?;
    Ok(Some(Session { terminal, scope: property(bus, object, "Scope").await? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_block_inhibitors_of_shutdown_count() {
        let check = |what: &str, mode: &str, expect: bool| {
            let inhibitor = (what.into(), "backup".into(), "writing".into(), mode.into(), 0, 1);
            assert_eq!(blocks_shutdown(&inhibitor), expect, "{what} {mode}");
        };
        check("shutdown", "block", true);
        check("sleep:shutdown:idle", "block", true);
        check("shutdown", "delay", false);
        check("shutdown", "block-weak", false);
        check("handle-power-key:sleep", "block", false);
    }
}
