//! logind: who is logged in, who keeps the machine from going down, and the reboot itself.

use zbus::{Connection, OwnedObjectPath};

use super::bus::{BusError, Place, call, property};

const MANAGER: Place<'static> = Place {
    service: "org.freedesktop.login1",
    path: "/org/freedesktop/login1",
    interface: "org.freedesktop.login1.Manager",
};
const SESSION: &str = "org.freedesktop.login1.Session";
const UNKNOWN_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";

/// `SD_LOGIND_ROOT_CHECK_INHIBITORS` of sd-login.h: without it what root asks for is done whoever inhibits it.
const HONOUR_INHIBITORS: u64 = 1;

/// What, who, why, mode, user, process.
type Inhibitor = (String, String, String, String, u32, u32);

/// Those who keep the machine from going down, one sentence each.
pub async fn inhibitors(bus: &Connection) -> Result<Vec<String>, BusError> {
    let all: Vec<Inhibitor> = call(bus, MANAGER, "ListInhibitors", &()).await?;
    Ok(all.iter().filter(|one| keeps_up(one)).map(|(_, who, why, ..)| format!("{who} ({why})")).collect())
}

fn keeps_up((what, _, _, mode, ..): &Inhibitor) -> bool {
    mode == "block" && what.split(':').any(|one| one == "shutdown")
}

/// Without asking anybody, but not against those who inhibit it.
pub async fn reboot(bus: &Connection) -> Result<(), BusError> {
    match call(bus, MANAGER, "RebootWithFlags", &HONOUR_INHIBITORS).await {
        Err(error) if error.is(UNKNOWN_METHOD) => reboot_at_once(bus).await,
        done => done,
    }
}

/// What an operator asked for.
pub async fn reboot_at_once(bus: &Connection) -> Result<(), BusError> {
    let ask = false;
    call(bus, MANAGER, "Reboot", &ask).await
}

/// Where somebody is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// As below `/dev`; empty where logind does not know it, as with sshd.
    pub terminal: String,
    /// The unit that its processes are in.
    pub scope: String,
}

/// Of users, not of services or of the login prompt.
pub async fn sessions(bus: &Connection) -> Result<Vec<Session>, BusError> {
    let all: Vec<(String, u32, String, String, OwnedObjectPath)> =
        call(bus, MANAGER, "ListSessions", &()).await?;
    let mut found = Vec::new();
    for (.., path) in all {
        // It may have ended meanwhile.
        if let Ok(Some(session)) = session(bus, &path).await {
            found.push(session);
        }
    }
    Ok(found)
}

async fn session(bus: &Connection, path: &OwnedObjectPath) -> Result<Option<Session>, BusError> {
    let place = Place { path, interface: SESSION, ..MANAGER };
    let class: String = property(bus, place, "Class").await?;
    let state: String = property(bus, place, "State").await?;
    if !class.starts_with("user") || state == "closing" {
        return Ok(None);
    }
    let terminal = property(bus, place, "TTY").await?;
    Ok(Some(Session { terminal, scope: property(bus, place, "Scope").await? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_a_machine_up() {
        let check = |what: &str, mode: &str, expect: bool| {
            let one = (what.into(), "backup".into(), "writing".into(), mode.into(), 0, 1);
            assert_eq!(keeps_up(&one), expect, "{what} {mode}");
        };
        check("shutdown", "block", true);
        check("sleep:shutdown:idle", "block", true);
        check("shutdown", "delay", false);
        check("shutdown", "block-weak", false);
        check("handle-power-key:sleep", "block", false);
    }
}
