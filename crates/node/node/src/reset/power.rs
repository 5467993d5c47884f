//! Reboots by logind, which lets the sessions end well, or by systemd where there is no logind.

use std::time::Duration;

/// The usual patience of D-Bus clients.
const ANSWER: Duration = Duration::from_secs(25);

#[derive(Debug, thiserror::Error)]
pub enum RebootError {
    #[error("cannot start the bus client")]
    Runtime(#[source] std::io::Error),
    #[error("cannot reach the system bus")]
    Bus(#[source] zbus::Error),
    #[error("neither logind ({logind}) nor systemd reboots")]
    Refused { logind: Box<zbus::Error>, source: Box<zbus::Error> },
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Logind {
    fn reboot(&self, interactive: bool) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Systemd {
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<zbus::wire::OwnedObjectPath>;
}

pub fn reboot() -> Result<(), RebootError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RebootError::Runtime)?;
    runtime.block_on(async {
        let bus = zbus::Connection::system().await.map_err(RebootError::Bus)?;
        by(&bus).await
    })
}

/// What was asked, or an error when nobody answers in [`ANSWER`].
async fn answered<T>(asked: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    let late = || zbus::Error::Failure(format!("no answer after {} s", ANSWER.as_secs()));
    tokio::time::timeout(ANSWER, asked).await.unwrap_or_else(|_elapsed| Err(late()))
}

async fn by(bus: &zbus::Connection) -> Result<(), RebootError> {
    let asked = answered(async { LogindProxy::new(bus).await?.reboot(false).await });
    let Err(logind) = asked.await else { return Ok(()) };
    let asked = answered(async {
        // The mode of `systemctl reboot`: no later job takes it back.
        SystemdProxy::new(bus).await?.start_unit("reboot.target", "replace-irreversibly").await
    });
    match asked.await {
        Ok(_job) => Ok(()),
        Err(source) => Err(RebootError::Refused { logind: Box::new(logind), source: Box::new(source) }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Mutex};

    use zbus::wire::OwnedObjectPath;

    use super::*;

    type Calls = Arc<Mutex<Vec<String>>>;

    struct MadeLogind(Calls);

    #[zbus::interface(name = "org.freedesktop.login1.Manager")]
    impl MadeLogind {
        fn reboot(&self, interactive: bool) {
            self.0.lock().unwrap().push(format!("logind {interactive}"));
        }
    }

    struct MadeSystemd(Calls);

    #[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
    impl MadeSystemd {
        fn start_unit(&self, name: &str, mode: &str) -> OwnedObjectPath {
            self.0.lock().unwrap().push(format!("systemd {name} {mode}"));
            OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/1").unwrap()
        }
    }

    fn check(logind: bool, systemd: bool, expected: Result<&str, &str>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let calls = Calls::default();
            let (here, there) = UnixStream::pair().unwrap();
            let guid = zbus::Guid::generate();
            // Something is always served: a peer that serves nothing does not answer at all.
            let mut server = zbus::connection::Builder::unix_stream(there)
                .server(guid)
                .p2p()
                .serve_at("/", MadeSystemd(calls.clone()));
            if logind {
                server = server.serve_at("/org/freedesktop/login1", MadeLogind(calls.clone()));
            }
            if systemd {
                server = server.serve_at("/org/freedesktop/systemd1", MadeSystemd(calls.clone()));
            }
            let client = zbus::connection::Builder::unix_stream(here).p2p();
            let (server, client) = tokio::try_join!(server.build(), client.build()).unwrap();
            let outcome = by(&client).await;
            drop(server);
            match (outcome, expected) {
                (Ok(()), Ok(call)) => assert_eq!(*calls.lock().unwrap(), [call]),
                (Err(error), Err(start)) => assert!(error.to_string().starts_with(start), "{error}"),
                (outcome, _) => panic!("{outcome:?} instead of {expected:?}"),
            }
        });
    }

    #[test]
    fn logind_first_then_systemd() {
        check(true, true, Ok("logind false"));
        check(false, true, Ok("systemd reboot.target replace-irreversibly"));
    }

    #[test]
    fn nobody_reboots() {
        check(false, false, Err("neither logind"));
    }
}
