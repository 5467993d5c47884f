//! Notifications to systemd while the store is unavailable: a boot must not wait forever.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// READY=1 must not be sent before this time: the store may still be starting.
const NOT_READY_FOR: Duration = Duration::from_secs(15);
/// The limit of 20 s, with a margin for a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Killed on drop.
struct Fleetd(Child);

impl Drop for Fleetd {
    fn drop(&mut self) {
        self.0.kill().unwrap_or(());
        self.0.wait().map(drop).unwrap_or(());
    }
}

/// Receives the next notification; `None` after `end`.
fn receive_notification(socket: &UnixDatagram, end: Instant) -> Option<String> {
    let remaining = end.saturating_duration_since(Instant::now());
    if remaining.is_zero() {
        return None;
    }
    socket.set_read_timeout(Some(remaining)).unwrap();
    let mut text = [0; 4096];
    match socket.recv(&mut text) {
        Ok(count) => Some(String::from_utf8(text[..count].to_vec()).unwrap()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn boot_waits_for_the_store_for_a_limited_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    // Accepts connections without responding.
    let store = TcpListener::bind("127.0.0.1:0").unwrap();
    let path_of = |name: &str| folder.path().join(name);
    let start = Instant::now();
    let mut fleetd = Fleetd(
        Command::new(env!("CARGO_BIN_EXE_fleetd"))
            .env_clear()
            .env("NOTIFY_SOCKET", &path)
            .env("STATE_DIRECTORY", path_of("state"))
            .env("RUNTIME_DIRECTORY", path_of("run"))
            // No bus: requests to systemd fail immediately.
            .env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", path_of("no-bus").display()))
            .env("FLEET_ETCD_SERVERS", format!("http://{}", store.local_addr().unwrap()))
            .env("FLEET_UNITS_DIRECTORY", path_of("units"))
            .env("FLEET_PUBLIC_IP", "127.0.0.1")
            .env("FLEET_PARTITION_PORT", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let first = receive_notification(&socket, start + NOT_READY_FOR).expect("it says what it waits for");
    assert_eq!(first, "STATUS=waiting for the key-value store\n");
    assert_eq!(receive_notification(&socket, start + NOT_READY_FOR), None, "the store may still come");
    let ready = receive_notification(&socket, start + READY_TIMEOUT).expect("the boot goes on");
    assert_eq!(ready, "READY=1\nSTATUS=waiting for the key-value store\n");
    // It continues to wait without further notifications.
    assert_eq!(receive_notification(&socket, Instant::now() + Duration::from_secs(1)), None);
    assert!(fleetd.0.try_wait().unwrap().is_none(), "it ended");
}
