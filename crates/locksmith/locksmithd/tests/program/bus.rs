//! A private bus with fakes of locksmithd's peers.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;
use zbus::connection::Builder;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedObjectPath, fdo};

const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
"#;

type Status = (i64, f64, String, String, i64);

/// What the fakes report, and the requests that they received.
#[derive(Debug, Default)]
pub struct FakeState {
    /// Active states by unit.
    pub units: BTreeMap<String, String>,
    pub requires_good_boot: bool,
    /// What, who, why, mode.
    pub inhibitors: Vec<[String; 4]>,
    /// Requested reboots, in order.
    pub reboots: Vec<String>,
    /// Delays logind's reply to a reboot request.
    pub reboot_reply_delay: Duration,
}

pub type Shared = Arc<Mutex<FakeState>>;

pub struct Bus {
    process: Child,
    pub address: String,
    runtime: Runtime,
    _machine: Connection,
    pub state: Shared,
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Bus {
    /// With systemd and logind, but no update engine.
    pub fn start(folder: &Path) -> Bus {
        let (socket, config) = (folder.join("bus"), folder.join("bus.conf"));
        std::fs::write(&config, CONFIG.replace("SOCKET", socket.to_str().unwrap())).unwrap();
        let mut process = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--print-address"])
            .arg(format!("--config-file={}", config.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = Shared::default();
        let machine = runtime.block_on(async {
            Builder::address(address.as_str())
                .serve_at("/org/freedesktop/login1", Logind(Arc::clone(&state)))
                .serve_at("/org/freedesktop/systemd1", Systemd(Arc::clone(&state)))
                .serve_at(BOOT_COMPLETE, Unit { state: Arc::clone(&state), name: "boot-complete.target" })
                .serve_at(ETCD, Unit { state: Arc::clone(&state), name: "etcd.service" })
                .serve_at(FLEET, Unit { state: Arc::clone(&state), name: "fleet.service" })
                .name("org.freedesktop.login1")
                .name("org.freedesktop.systemd1")
                .build()
                .await
                .unwrap()
        });
        Bus { process, address, runtime, _machine: machine, state }
    }

    pub fn change(&self, change: impl FnOnce(&mut FakeState)) {
        change(&mut self.state.lock().unwrap());
    }

    pub fn reboots(&self) -> Vec<String> {
        self.state.lock().unwrap().reboots.clone()
    }

    /// An update engine with this status.
    pub fn engine(&self, operation: &str) -> Engine<'_> {
        let built = Builder::address(self.address.as_str())
            .serve_at("/com/coreos/update1", UpdateAgent(operation.to_owned()))
            .name("com.coreos.update1")
            .build();
        Engine { connection: self.runtime.block_on(built).unwrap(), runtime: &self.runtime }
    }
}

pub struct Engine<'a> {
    connection: Connection,
    runtime: &'a Runtime,
}

impl Engine<'_> {
    pub fn logs(&self, operation: &str, version: &str) {
        let emitter = SignalEmitter::new(&self.connection, "/com/coreos/update1").unwrap();
        let sent = UpdateAgent::status_update(&emitter, 1, 0.0, operation, version, 5);
        self.runtime.block_on(sent).unwrap();
    }
}

const BOOT_COMPLETE: &str = "/org/freedesktop/systemd1/unit/good";
const ETCD: &str = "/org/freedesktop/systemd1/unit/etcd";
const FLEET: &str = "/org/freedesktop/systemd1/unit/fleet";

struct UpdateAgent(String);

#[zbus::interface(name = "com.coreos.update1.Manager")]
impl UpdateAgent {
    fn get_status(&self) -> Status {
        (1, 0.0, self.0.clone(), "2.0.0".to_owned(), 5)
    }

    #[zbus(signal)]
    async fn status_update(
        emitter: &SignalEmitter<'_>,
        last_checked: i64,
        progress: f64,
        operation: &str,
        version: &str,
        size: i64,
    ) -> zbus::Result<()>;
}

struct Logind(Shared);

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Logind {
    fn list_inhibitors(&self) -> Vec<(String, String, String, String, u32, u32)> {
        let state = self.0.lock().unwrap();
        let all = state.inhibitors.iter().cloned();
        all.map(|[what, who, why, mode]| (what, who, why, mode, 0, 1)).collect()
    }

    fn list_sessions(&self) -> Vec<(String, u32, String, String, OwnedObjectPath)> {
        Vec::new()
    }

    async fn reboot_with_flags(&self, flags: u64) {
        let delay = {
            let mut state = self.0.lock().unwrap();
            state.reboots.push(format!("flags {flags}"));
            state.reboot_reply_delay
        };
        tokio::time::sleep(delay).await;
    }

    fn reboot(&self, interactive: bool) {
        self.0.lock().unwrap().reboots.push(format!("interactive {interactive}"));
    }
}

struct Systemd(Shared);

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum SystemdError {
    #[zbus(error)]
    Zbus(zbus::Error),
    NoSuchUnit(String),
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn get_unit(&self, name: &str) -> Result<OwnedObjectPath, SystemdError> {
        let path = match name {
            "boot-complete.target" => BOOT_COMPLETE,
            "etcd.service" => ETCD,
            "fleet.service" => FLEET,
            _ => "",
        };
        let known = self.0.lock().unwrap().units.contains_key(name);
        match OwnedObjectPath::try_from(path) {
            Ok(path) if known => Ok(path),
            _ => Err(SystemdError::NoSuchUnit(format!("Unit {name} not loaded."))),
        }
    }

    #[zbus(property)]
    fn system_state(&self) -> String {
        "running".to_owned()
    }
}

struct Unit {
    state: Shared,
    name: &'static str,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn active_state(&self) -> fdo::Result<String> {
        let state = self.state.lock().unwrap();
        state.units.get(self.name).cloned().ok_or_else(|| fdo::Error::UnknownObject(self.name.to_owned()))
    }

    #[zbus(property)]
    fn required_by(&self) -> Vec<String> {
        let required = self.state.lock().unwrap().requires_good_boot;
        if required { vec!["systemd-bless-boot.service".to_owned()] } else { Vec::new() }
    }

    #[zbus(property)]
    fn wanted_by(&self) -> Vec<String> {
        Vec::new()
    }
}
