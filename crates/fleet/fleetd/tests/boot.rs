//! What systemd is told by a fleetd whose store does not answer: a machine's boot must not wait forever.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Less than any store needs that only starts late, as on a machine that boots the whole cluster.
const SOON: Duration = Duration::from_secs(15);
/// The limit is 20 s; a busy machine may be late.
const LATE: Duration = Duration::from_secs(60);

/// Ends with the test.
struct Fleetd(Child);

impl Drop for Fleetd {
    fn drop(&mut self) {
        self.0.kill().unwrap_or(());
        self.0.wait().map(drop).unwrap_or(());
    }
}

/// The next that systemd is told, `None` once `end` has come.
fn told(socket: &UnixDatagram, end: Instant) -> Option<String> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return None;
    }
    socket.set_read_timeout(Some(left)).unwrap();
    let mut text = [0; 4096];
    match socket.recv(&mut text) {
        Ok(count) => Some(String::from_utf8(text[..count].to_vec()).unwrap()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_boot_waits_for_the_store_and_not_forever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    // It takes connections and answers nothing: a store that is about to come.
    let store = TcpListener::bind("127.0.0.1:0").unwrap();
    let below = |name: &str| folder.path().join(name);
    let start = Instant::now();
    let mut fleetd = Fleetd(
        Command::new(env!("CARGO_BIN_EXE_fleetd"))
            .env_clear()
            .env("NOTIFY_SOCKET", &path)
            .env("STATE_DIRECTORY", below("state"))
            .env("RUNTIME_DIRECTORY", below("run"))
            // Nobody is there either: what it asks of systemd fails at once.
            .env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", below("no-bus").display()))
            .env("FLEET_ETCD_SERVERS", format!("http://{}", store.local_addr().unwrap()))
            .env("FLEET_UNITS_DIRECTORY", below("units"))
            .env("FLEET_PUBLIC_IP", "127.0.0.1")
            .env("FLEET_PARTITION_PORT", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let first = told(&socket, start + SOON).expect("it says what it waits for");
    assert_eq!(first, "STATUS=waiting for the key-value store\n");
    assert_eq!(told(&socket, start + SOON), None, "the store may still come");
    let ready = told(&socket, start + LATE).expect("the boot goes on");
    assert_eq!(ready, "READY=1\nSTATUS=waiting for the key-value store\n");
    // It waits on, and says nothing twice.
    assert_eq!(told(&socket, Instant::now() + Duration::from_secs(1)), None);
    assert!(fleetd.0.try_wait().unwrap().is_none(), "it ended");
}
