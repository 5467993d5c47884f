//! Reboots through logind, which ends sessions cleanly, or through systemd without logind.

use std::time::Duration;

/// The default timeout of D-Bus clients.
const CALL_TIMEOUT: Duration = Duration::from_secs(25);

#[derive(Debug, thiserror::Error)]
pub enum RebootError {
    #[error("cannot start the D-Bus client")]
    Runtime(#[source] std::io::Error),
    #[error("cannot reach the system bus")]
    Bus(#[source] zbus::Error),
    #[error("neither logind ({logind}) nor systemd can reboot")]
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
        reboot_over(&bus).await
    })
}

/// Fails after [`CALL_TIMEOUT`].
async fn with_timeout<T>(call: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    let timed_out = || zbus::Error::Failure(format!("no response after {} s", CALL_TIMEOUT.as_secs()));
    tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_elapsed| Err(timed_out()))
}

async fn reboot_over(bus: &zbus::Connection) -> Result<(), RebootError> {
    let call = with_timeout(async { LogindProxy::new(bus).await?.reboot(false).await });
    let Err(logind) = call.await else { return Ok(()) };
    let call = with_timeout(async {
        // The mode of `systemctl reboot`: later jobs cannot cancel it.
        SystemdProxy::new(bus).await?.start_unit("reboot.target", "replace-irreversibly").await
    });
    match call.await {
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

    struct FakeLogind(Calls);

    #[zbus::interface(name = "org.freedesktop.login1.Manager")]
    impl FakeLogind {
        fn reboot(&self, interactive: bool) {
            self.0.lock().unwrap().push(format!("logind {interactive}"));
        }
    }

    struct FakeSystemd(Calls);

    #[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
    impl FakeSystemd {
        fn start_unit(&self, name: &str, mode: &str) -> OwnedObjectPath {
            self.0.lock().unwrap().push(format!("systemd {name} {mode}"));
            OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/1").unwrap()
        }
    }

    fn check(logind: bool, systemd: bool, expected: Result<&str, &str>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let calls = Calls::default();
            let (client_stream, server_stream) = UnixStream::pair().unwrap();
            let guid = zbus::Guid::generate();
            // Always serves an object: a peer without any does not reply at all.
            let mut server = zbus::connection::Builder::unix_stream(server_stream)
                .server(guid)
                .p2p()
                .serve_at("/", FakeSystemd(calls.clone()));
            if logind {
                server = server.serve_at("/org/freedesktop/login1", FakeLogind(calls.clone()));
            }
            if systemd {
                server = server.serve_at("/org/freedesktop/systemd1", FakeSystemd(calls.clone()));
            }
            let client = zbus::connection::Builder::unix_stream(client_stream).p2p();
            let (server, client) = tokio::try_join!(server.build(), client.build()).unwrap();
            let outcome = reboot_over(&client).await;
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
    fn failure_names_both() {
        check(false, false, Err("neither logind"));
    }
}
