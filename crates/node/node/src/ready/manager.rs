//! Follows the boot's progress over D-Bus and waits for systemd to finish it.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use zbus::export::futures_core::Stream;
use zbus::wire::OwnedObjectPath;

/// How often jobs are polled: each poll takes milliseconds of an emulated processor.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
const MAX_STATUS_CHARS: usize = 200;

/// A row of `ListUnitsFiltered`: name, description, load, active and sub state, followed unit, path, job ID,
/// job type, job path.
type UnitRow =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A row of `ListJobs`: ID, unit, type, state, job path, unit path.
type JobRow = (u32, String, String, String, OwnedObjectPath, OwnedObjectPath);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    /// Required before systemd sends signals.
    fn subscribe(&self) -> zbus::Result<()>;
    fn list_units_filtered(&self, states: &[&str]) -> zbus::Result<Vec<UnitRow>>;
    fn list_jobs(&self) -> zbus::Result<Vec<JobRow>>;

    #[zbus(signal)]
    fn startup_finished(
        &self,
        firmware: u64,
        loader: u64,
        kernel: u64,
        initrd: u64,
        userspace: u64,
        total: u64,
    ) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "false"))]
    fn system_state(&self) -> zbus::Result<String>;
    /// Wall clock in microseconds; 0 in a container, which has no kernel of its own.
    #[zbus(property(emits_changed_signal = "false"))]
    fn kernel_timestamp(&self) -> zbus::Result<u64>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn userspace_timestamp_monotonic(&self) -> zbus::Result<u64>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn finish_timestamp_monotonic(&self) -> zbus::Result<u64>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
trait Service {
    #[zbus(property(emits_changed_signal = "false"))]
    fn status_text(&self) -> zbus::Result<String>;
}

/// The result of the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Sorted.
    pub failed_units: Vec<String>,
    pub startup_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Finished(Boot),
    /// The system is shutting down and never gets ready.
    Stopping,
}

#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    #[error("systemd does not respond on D-Bus")]
    Bus(#[from] zbus::Error),
    #[error("the D-Bus connection was closed before the boot finished; the state of systemd was {0}")]
    Closed(String),
}

/// The jobs of a boot in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jobs {
    pub left: usize,
    /// The units of running jobs, sorted.
    pub running: Vec<String>,
    /// The status text (sd_notify's `STATUS=`) of the first unit that has one.
    pub status: Option<Status>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    pub unit: String,
    /// At most [`MAX_STATUS_CHARS`] characters.
    pub text: String,
}

/// Returns once the boot has no more jobs. Calls `on_progress` whenever the jobs change.
pub async fn wait_for_boot(
    bus: &zbus::Connection,
    on_progress: impl Fn(&Jobs),
) -> Result<Outcome, WaitError> {
    let manager = ManagerProxy::new(bus).await?;
    // Subscribed before the state is read, so that no signal is missed.
    let mut finished = manager.receive_startup_finished().await?;
    manager.subscribe().await?;
    loop {
        let state = manager.system_state().await?;
        match state.as_str() {
            "running" | "degraded" => return Ok(Outcome::Finished(boot(&manager).await?)),
            "stopping" => return Ok(Outcome::Stopping),
            _ => {}
        }
        let signal = poll_fn(|context| Pin::new(&mut finished).poll_next(context));
        tokio::select! {
            signal = signal => if signal.is_none() {
                return Err(WaitError::Closed(state));
            },
            error = report_jobs(&manager, &on_progress) => return Err(error.into()),
        }
    }
}

/// Returns only on an error.
async fn report_jobs(manager: &ManagerProxy<'_>, on_progress: impl Fn(&Jobs)) -> zbus::Error {
    let mut reported: Option<Jobs> = None;
    loop {
        let rows = match manager.list_jobs().await {
            Ok(rows) => rows,
            Err(error) => return error,
        };
        let mut active_jobs: Vec<_> = rows.iter().filter(|row| row.3 == "running").collect();
        active_jobs.sort_by(|one, other| one.1.cmp(&other.1));
        let running: Vec<String> = active_jobs.iter().map(|row| row.1.clone()).collect();
        // Only while the jobs are unchanged: each query takes time on an emulated machine.
        let is_unchanged = reported.as_ref().is_some_and(|reported| reported.running == running);
        let status =
            if is_unchanged { status(manager.inner().connection(), &active_jobs).await } else { None };
        let jobs = Jobs { left: rows.len(), running, status };
        if reported.as_ref() != Some(&jobs) {
            on_progress(&jobs);
            reported = Some(jobs);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The status of the first job's service that has one.
async fn status(bus: &zbus::Connection, active_jobs: &[&JobRow]) -> Option<Status> {
    for (_, unit, _, _, _, path) in active_jobs {
        // Other unit types, and services that have just exited, have none.
        let Ok(service) = ServiceProxy::builder(bus).path(path).build().await else { continue };
        let text = service.status_text().await.unwrap_or_default();
        if !text.is_empty() {
            return Some(Status { unit: unit.clone(), text: text.chars().take(MAX_STATUS_CHARS).collect() });
        }
    }
    None
}

async fn boot(manager: &ManagerProxy<'_>) -> Result<Boot, WaitError> {
    let rows = manager.list_units_filtered(&["failed"]).await?;
    let mut failed_units: Vec<_> = rows.into_iter().map(|row| row.0).collect();
    failed_units.sort();
    // The monotonic clock starts with the kernel; a container counts from its systemd's start.
    let from = match manager.kernel_timestamp().await? {
        0 => manager.userspace_timestamp_monotonic().await?,
        _ => 0,
    };
    let until = manager.finish_timestamp_monotonic().await?;
    Ok(Boot { failed_units, startup_ms: until.saturating_sub(from) / 1000 })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Mutex};

    use zbus::object_server::SignalEmitter;

    use super::*;

    const PATH: &str = "/org/freedesktop/systemd1";

    /// A fake systemd with a settable state.
    struct FakeManager {
        state: Arc<Mutex<&'static str>>,
        kernel: u64,
        failed: Vec<&'static str>,
        subscribed: Arc<tokio::sync::Notify>,
    }

    #[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
    impl FakeManager {
        fn subscribe(&self) {
            self.subscribed.notify_one();
        }

        fn list_units_filtered(&self, states: Vec<String>) -> Vec<UnitRow> {
            assert_eq!(states, ["failed"]);
            let none = || OwnedObjectPath::try_from("/").unwrap();
            let row = |name: &&str| {
                let [a, b, c, d, e] = ["", "loaded", "failed", "failed", ""].map(str::to_owned);
                ((*name).to_owned(), a, b, c, d, e, none(), 0, String::new(), none())
            };
            self.failed.iter().map(row).collect()
        }

        fn list_jobs(&self) -> Vec<JobRow> {
            let none = || OwnedObjectPath::try_from("/").unwrap();
            let row = |id, unit: &str, state: &str| {
                (id, unit.to_owned(), "start".to_owned(), state.to_owned(), none(), none())
            };
            vec![
                row(1, "b.service", "running"),
                row(2, "c.target", "waiting"),
                row(3, "a.service", "running"),
            ]
        }

        #[zbus(signal)]
        async fn startup_finished(
            emitter: &SignalEmitter<'_>,
            firmware: u64,
            loader: u64,
            kernel: u64,
            initrd: u64,
            userspace: u64,
            total: u64,
        ) -> zbus::Result<()>;

        #[zbus(property)]
        fn system_state(&self) -> String {
            (*self.state.lock().unwrap()).to_owned()
        }

        #[zbus(property)]
        fn kernel_timestamp(&self) -> u64 {
            self.kernel
        }

        #[zbus(property)]
        fn userspace_timestamp_monotonic(&self) -> u64 {
            4_000_000
        }

        #[zbus(property)]
        fn finish_timestamp_monotonic(&self) -> u64 {
            5_500_000
        }
    }

    /// A service with a status text.
    struct FakeService;

    #[zbus::interface(name = "org.freedesktop.systemd1.Service")]
    impl FakeService {
        #[zbus(property)]
        fn status_text(&self) -> String {
            "waiting for a majority".to_owned() + &" ".repeat(MAX_STATUS_CHARS)
        }
    }

    /// Runs `wait_for_boot` while systemd goes through the states of `then`, with a signal each.
    fn check(
        first: &'static str,
        then: &[&'static str],
        kernel: u64,
        failed: &[&'static str],
        expected: &Outcome,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client_stream, server_stream) = UnixStream::pair().unwrap();
            let state = Arc::new(Mutex::new(first));
            let subscribed = Arc::new(tokio::sync::Notify::new());
            let manager = FakeManager {
                state: state.clone(),
                kernel,
                failed: failed.to_vec(),
                subscribed: subscribed.clone(),
            };
            let server = zbus::connection::Builder::unix_stream(server_stream)
                .server(zbus::Guid::generate())
                .p2p()
                .serve_at(PATH, manager)
                .build();
            let client = zbus::connection::Builder::unix_stream(client_stream).p2p().build();
            let (server, client) = tokio::try_join!(server, client).unwrap();
            let advance = async {
                subscribed.notified().await;
                for next in then {
                    *state.lock().unwrap() = next;
                    let emitter = SignalEmitter::new(&server, PATH).unwrap();
                    FakeManager::startup_finished(&emitter, 0, 0, 1, 2, 3, 6).await.unwrap();
                }
            };
            let reported = std::cell::RefCell::new(Vec::new());
            let (outcome, ()) = tokio::join!(
                wait_for_boot(&client, |jobs| reported.borrow_mut().push(jobs.clone())),
                advance
            );
            assert_eq!(&outcome.unwrap(), expected);
            let running = vec!["a.service".into(), "b.service".into()];
            let jobs = Jobs { left: 3, running, status: None };
            assert!(reported.into_inner().iter().all(|reported| *reported == jobs));
        });
    }

    #[test]
    fn first_status_of_an_active_job_is_reported() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client_stream, server_stream) = UnixStream::pair().unwrap();
            let server = zbus::connection::Builder::unix_stream(server_stream)
                .server(zbus::Guid::generate())
                .p2p()
                .serve_at("/b", FakeService)
                .build();
            let client = zbus::connection::Builder::unix_stream(client_stream).p2p().build();
            let (_server, client) = tokio::try_join!(server, client).unwrap();
            let row = |unit: &str, path: &str| {
                let path = OwnedObjectPath::try_from(path).unwrap();
                (1, unit.to_owned(), "start".to_owned(), "running".to_owned(), path.clone(), path)
            };
            let (silent, busy) = (row("a.service", "/a"), row("b.service", "/b"));
            assert_eq!(status(&client, &[&silent]).await, None);
            let found = status(&client, &[&silent, &busy]).await.unwrap();
            assert_eq!(found.unit, "b.service");
            assert_eq!(found.text, format!("{:1$}", "waiting for a majority", MAX_STATUS_CHARS));
        });
    }

    fn finished(failed_units: &[&str], startup_ms: u64) -> Outcome {
        let failed_units = failed_units.iter().map(|name| (*name).to_owned()).collect();
        Outcome::Finished(Boot { failed_units, startup_ms })
    }

    #[test]
    fn finished_boot_is_reported_immediately() {
        check("running", &[], 1, &[], &finished(&[], 5500));
    }

    #[test]
    fn running_boot_is_awaited_and_failed_units_listed() {
        check(
            "starting",
            &["degraded"],
            1,
            &["b.service", "a.service"],
            &finished(&["a.service", "b.service"], 5500),
        );
        check("maintenance", &["starting", "running"], 1, &[], &finished(&[], 5500));
    }

    #[test]
    fn container_boot_time_starts_with_its_systemd() {
        check("running", &[], 0, &[], &finished(&[], 1500));
    }

    #[test]
    fn stopping_system_is_never_ready() {
        check("starting", &["stopping"], 1, &[], &Outcome::Stopping);
    }
}
