//! Asks systemd how the boot goes, over D-Bus, and waits for its signal that it is over.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use zbus::export::futures_core::Stream;
use zbus::wire::OwnedObjectPath;

/// Between two looks at the jobs: each takes some milliseconds of an emulated processor.
const TELL_EVERY: Duration = Duration::from_secs(2);
const STATUS_MAX: usize = 200;

/// One unit as `ListUnitsFiltered` gives it: name, description, load, active and sub state, followed unit,
/// path, job id, job type, job path.
type UnitRow =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// One job as `ListJobs` gives it: id, unit, type, state, job path, unit path.
type JobRow = (u32, String, String, String, OwnedObjectPath, OwnedObjectPath);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    /// Without it systemd sends no signals.
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
    /// Wall clock, microseconds; 0 in a container, which starts no kernel.
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

/// How the boot went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Sorted.
    pub failed_units: Vec<String>,
    pub startup_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Finished(Boot),
    /// The system goes down; there is nobody left to be ready.
    Stopping,
}

#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    #[error("systemd does not answer on the bus")]
    Bus(#[from] zbus::Error),
    #[error("the bus closed before the boot had finished; systemd was in state {0}")]
    Closed(String),
}

/// The jobs of a boot that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jobs {
    pub left: usize,
    /// The units of those that are at work, sorted.
    pub running: Vec<String>,
    /// What the first of them that says anything (`STATUS=` of sd_notify) waits for.
    pub status: Option<Status>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    pub unit: String,
    /// At most [`STATUS_MAX`] characters.
    pub text: String,
}

/// Returns when no job of the boot is left. Calls `tell` with those that are, each time that they are others.
pub async fn wait(bus: &zbus::Connection, tell: impl Fn(&Jobs)) -> Result<Outcome, WaitError> {
    let manager = ManagerProxy::new(bus).await?;
    // The signal is asked for before the state: a boot that ends in between is not missed.
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
            error = tell_jobs(&manager, &tell) => return Err(error.into()),
        }
    }
}

/// Never ends but by an error.
async fn tell_jobs(manager: &ManagerProxy<'_>, tell: impl Fn(&Jobs)) -> zbus::Error {
    let mut told: Option<Jobs> = None;
    loop {
        let rows = match manager.list_jobs().await {
            Ok(rows) => rows,
            Err(error) => return error,
        };
        let mut at_work: Vec<_> = rows.iter().filter(|row| row.3 == "running").collect();
        at_work.sort_by(|one, other| one.1.cmp(&other.1));
        let running: Vec<String> = at_work.iter().map(|row| row.1.clone()).collect();
        // Only while the same jobs run: each answer costs processor time of an emulated machine.
        let stands = told.as_ref().is_some_and(|told| told.running == running);
        let status = if stands { status(manager.inner().connection(), &at_work).await } else { None };
        let jobs = Jobs { left: rows.len(), running, status };
        if told.as_ref() != Some(&jobs) {
            tell(&jobs);
            told = Some(jobs);
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// Of the first job whose service has said what it does.
async fn status(bus: &zbus::Connection, at_work: &[&JobRow]) -> Option<Status> {
    for (_, unit, _, _, _, path) in at_work {
        // Other units, and one that has just ended, have none.
        let Ok(service) = ServiceProxy::builder(bus).path(path).build().await else { continue };
        let text = service.status_text().await.unwrap_or_default();
        if !text.is_empty() {
            return Some(Status { unit: unit.clone(), text: text.chars().take(STATUS_MAX).collect() });
        }
    }
    None
}

async fn boot(manager: &ManagerProxy<'_>) -> Result<Boot, WaitError> {
    let rows = manager.list_units_filtered(&["failed"]).await?;
    let mut failed_units: Vec<_> = rows.into_iter().map(|row| row.0).collect();
    failed_units.sort();
    // The monotonic clock begins with the kernel; a container has only its own systemd's start.
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

    /// A systemd whose state the test sets; only the words of the protocol are real.
    struct Made {
        state: Arc<Mutex<&'static str>>,
        kernel: u64,
        failed: Vec<&'static str>,
        subscribed: Arc<tokio::sync::Notify>,
    }

    #[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
    impl Made {
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

    /// A service that says what it does.
    struct Says;

    #[zbus::interface(name = "org.freedesktop.systemd1.Service")]
    impl Says {
        #[zbus(property)]
        fn status_text(&self) -> String {
            "waiting for a majority".to_owned() + &" ".repeat(STATUS_MAX)
        }
    }

    /// What `wait` says when systemd is in the states of `then` one after the other, each told by a signal.
    fn check(
        first: &'static str,
        then: &[&'static str],
        kernel: u64,
        failed: &[&'static str],
        expected: &Outcome,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (here, there) = UnixStream::pair().unwrap();
            let state = Arc::new(Mutex::new(first));
            let subscribed = Arc::new(tokio::sync::Notify::new());
            let made = Made {
                state: state.clone(),
                kernel,
                failed: failed.to_vec(),
                subscribed: subscribed.clone(),
            };
            let server = zbus::connection::Builder::unix_stream(there)
                .server(zbus::Guid::generate())
                .p2p()
                .serve_at(PATH, made)
                .build();
            let client = zbus::connection::Builder::unix_stream(here).p2p().build();
            let (server, client) = tokio::try_join!(server, client).unwrap();
            let tell = async {
                subscribed.notified().await;
                for next in then {
                    *state.lock().unwrap() = next;
                    let emitter = SignalEmitter::new(&server, PATH).unwrap();
                    Made::startup_finished(&emitter, 0, 0, 1, 2, 3, 6).await.unwrap();
                }
            };
            let told = std::cell::RefCell::new(Vec::new());
            let (outcome, ()) =
                tokio::join!(wait(&client, |jobs| told.borrow_mut().push(jobs.clone())), tell);
            assert_eq!(&outcome.unwrap(), expected);
            let running = vec!["a.service".into(), "b.service".into()];
            let jobs = Jobs { left: 3, running, status: None };
            assert!(told.into_inner().iter().all(|told| *told == jobs));
        });
    }

    #[test]
    fn the_first_status_of_a_job_at_work_counts() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (here, there) = UnixStream::pair().unwrap();
            let server = zbus::connection::Builder::unix_stream(there)
                .server(zbus::Guid::generate())
                .p2p()
                .serve_at("/b", Says)
                .build();
            let client = zbus::connection::Builder::unix_stream(here).p2p().build();
            let (_server, client) = tokio::try_join!(server, client).unwrap();
            let row = |unit: &str, path: &str| {
                let path = OwnedObjectPath::try_from(path).unwrap();
                (1, unit.to_owned(), "start".to_owned(), "running".to_owned(), path.clone(), path)
            };
            let (silent, says) = (row("a.service", "/a"), row("b.service", "/b"));
            assert_eq!(status(&client, &[&silent]).await, None);
            let found = status(&client, &[&silent, &says]).await.unwrap();
            assert_eq!(found.unit, "b.service");
            assert_eq!(found.text, format!("{:1$}", "waiting for a majority", STATUS_MAX));
        });
    }

    fn finished(failed_units: &[&str], startup_ms: u64) -> Outcome {
        let failed_units = failed_units.iter().map(|name| (*name).to_owned()).collect();
        Outcome::Finished(Boot { failed_units, startup_ms })
    }

    #[test]
    fn a_boot_that_is_over_is_told_at_once() {
        check("running", &[], 1, &[], &finished(&[], 5500));
    }

    #[test]
    fn a_boot_that_goes_on_is_waited_for_and_failed_units_are_listed() {
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
    fn a_container_counts_from_its_own_systemd() {
        check("running", &[], 0, &[], &finished(&[], 1500));
    }

    #[test]
    fn a_system_that_stops_is_never_ready() {
        check("starting", &["stopping"], 1, &[], &Outcome::Stopping);
    }
}
