//! A private bus with a fake systemd that records its calls.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, DBusError, OwnedObjectPath, OwnedVariant, fdo, interface};

use super::Machine;

const CONFIG: &str = r#"<busconfig><type>session</type><listen>unix:path=BUS</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>"#;
/// Long enough to detect a client that does not wait.
const JOB_TIME: Duration = Duration::from_millis(150);

/// Prefix of a result: the job runs this shell script.
pub const RUNS: &str = "runs ";
/// In place of a result: the job never finishes.
pub const NEVER: &str = "never";

async fn run(script: String) -> String {
    let job = move || Command::new("sh").args(["-c", &script]).status().is_ok_and(|status| status.success());
    if tokio::task::spawn_blocking(job).await.unwrap() { "done".to_owned() } else { "failed".to_owned() }
}

#[derive(Debug, DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum SystemdError {
    NoSuchUnit(String),
}

const SCRIPT: &str = "/org/freedesktop/systemd1/unit/script";

/// A failed script, as a unit and as a service.
struct Script;
struct ScriptService;

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Script {
    #[zbus(property)]
    fn active_state(&self) -> String {
        "failed".into()
    }
}

#[interface(name = "org.freedesktop.systemd1.Service")]
impl ScriptService {
    #[zbus(property)]
    fn result(&self) -> String {
        "exit-code".into()
    }

    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        3
    }
}

type Calls = Arc<Mutex<Vec<String>>>;

pub struct FakeSystemd {
    bus: Child,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    calls: Calls,
}

struct Manager {
    calls: Calls,
    /// Job results by unit; other units do not exist.
    results: BTreeMap<String, String>,
    jobs: u32,
    subscribers: BTreeSet<String>,
}

impl Manager {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    fn job(
        &mut self,
        method: &str,
        unit: String,
        emitter: SignalEmitter<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        self.note(format!("{method} {unit}"));
        let Some(result) = self.results.get(&unit).cloned() else {
            return Err(fdo::Error::Failed(format!("Unit {unit} not found.")));
        };
        self.jobs += 1;
        let id = self.jobs;
        let path = OwnedObjectPath::try_from(format!("/org/freedesktop/systemd1/job/{id}")).unwrap();
        let (job, emitter, calls) = (path.clone(), emitter.to_owned(), self.calls.clone());
        tokio::spawn(async move {
            let result = match result.strip_prefix(RUNS) {
                Some(script) => run(script.to_owned()).await,
                None if result == NEVER => std::future::pending().await,
                None => {
                    tokio::time::sleep(JOB_TIME).await;
                    result
                }
            };
            calls.lock().unwrap().push(format!("job of {unit}: {result}"));
            Manager::job_removed(&emitter, id, job, unit, result).await.unwrap();
        });
        Ok(path)
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    /// Like systemd: once per client.
    fn subscribe(&mut self, #[zbus(header)] header: Header<'_>) -> fdo::Result<()> {
        let client = header.sender().map(ToString::to_string).unwrap_or_default();
        if !self.subscribers.insert(client) {
            return Err(fdo::Error::Failed("Client is already subscribed.".into()));
        }
        Ok(())
    }

    /// Knows `loaded.service` and scripts: the first one is unloaded, the others failed.
    fn get_unit(&self, unit: String) -> Result<OwnedObjectPath, SystemdError> {
        if unit == "loaded.service" {
            return Ok(OwnedObjectPath::try_from("/org/freedesktop/systemd1/unit/loaded").unwrap());
        }
        if unit.starts_with("coreos-cloudinit-") && unit.ends_with("-2.service") {
            return Ok(OwnedObjectPath::try_from(SCRIPT).unwrap());
        }
        Err(SystemdError::NoSuchUnit(format!("Unit {unit} not loaded.")))
    }

    fn reload(&self) {
        self.note("Reload".into());
    }

    fn enable_unit_files(
        &self,
        files: Vec<String>,
        runtime: bool,
        force: bool,
    ) -> (bool, Vec<(String, String, String)>) {
        self.note(format!("EnableUnitFiles {} runtime={runtime} force={force}", files.join(",")));
        (true, vec![("symlink".into(), "a".into(), "b".into())])
    }

    fn start_unit(
        &mut self,
        unit: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        assert_eq!(mode, "replace");
        self.job("StartUnit", unit, emitter)
    }

    fn restart_unit(
        &mut self,
        unit: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        assert_eq!(mode, "replace");
        self.job("RestartUnit", unit, emitter)
    }

    /// Recorded without program and description.
    fn start_transient_unit(
        &self,
        unit: String,
        mode: String,
        properties: Vec<(String, OwnedVariant)>,
        _more: Vec<(String, Vec<(String, OwnedVariant)>)>,
    ) -> fdo::Result<OwnedObjectPath> {
        assert_eq!(mode, "replace");
        let mut call = format!("StartTransientUnit {unit}");
        for (name, value) in properties {
            if !matches!(&*name, "Description" | "ExecStart") {
                // The strings of the value, single or in a list.
                let value = format!("{:?}", *value);
                let texts: Vec<_> = value.split('"').skip(1).step_by(2).collect();
                call.push_str(&format!(" {name}={}", texts.join(",")));
            }
        }
        self.note(call);
        Ok(OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/1").unwrap())
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
}

impl FakeSystemd {
    /// `results`: units and the results of their jobs.
    pub fn start(machine: &Machine, results: &[(&str, &str)]) -> Self {
        let config = machine.folder().join("bus.conf");
        std::fs::write(&config, CONFIG.replace("BUS", machine.bus_path().to_str().unwrap())).unwrap();
        let mut bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nosyslog"])
            .stdout(Stdio::null())
            .spawn()
            .expect("dbus-daemon (package dbus-daemon) is needed");
        let deadline = Instant::now() + Duration::from_secs(10);
        // The socket file exists before the daemon listens.
        while UnixStream::connect(machine.bus_path()).is_err() {
            assert!(Instant::now() < deadline && bus.try_wait().unwrap().is_none(), "the bus does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        let calls = Calls::default();
        let manager = Manager {
            calls: calls.clone(),
            results: results.iter().map(|(unit, end)| ((*unit).to_owned(), (*end).to_owned())).collect(),
            jobs: 0,
            subscribers: BTreeSet::new(),
        };
        let address = format!("unix:path={}", machine.bus_path().display());
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::spawn(move || serve(&address, manager, &ready, stopped));
        is_ready.recv_timeout(Duration::from_secs(10)).expect("the fake systemd is on the bus");
        Self { bus, stop: Some(stop), thread: Some(thread), calls }
    }

    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

fn serve(address: &str, manager: Manager, ready: &mpsc::Sender<()>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let _connection: Connection = zbus::connection::Builder::address(address)
            .serve_at("/org/freedesktop/systemd1", manager)
            .serve_at(SCRIPT, Script)
            .serve_at(SCRIPT, ScriptService)
            .name("org.freedesktop.systemd1")
            .build()
            .await
            .unwrap();
        ready.send(()).unwrap();
        stopped.await.unwrap_or(());
    });
}

impl Drop for FakeSystemd {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or(());
        }
        self.bus.kill().unwrap_or(());
        self.bus.wait().map(drop).unwrap_or(());
    }
}
