//! A blocking client of systemd's D-Bus API: reload, enable, jobs, transient units, hostnamed.
//!
//! It never runs `systemctl`. The async client runs on a single-threaded runtime.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout, timeout_at};
use zbus::export::futures_core::Stream;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath, Variant};

const DESTINATION: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
const HOSTNAMED: &str = "org.freedesktop.hostname1";
const HOSTNAMED_PATH: &str = "/org/freedesktop/hostname1";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const JOB_MODE: &str = "replace";
/// For calls that return immediately, and for starting hostnamed.
const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// A reload reads all unit files and runs generators.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(90);
/// A job that takes longer is reported, then once per interval.
const REPORT_AFTER: Duration = Duration::from_secs(3);
const REPORT_INTERVAL: Duration = Duration::from_secs(30);
const SIGNAL_QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// Why systemd did not do it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum SystemdError {
    #[error("cannot reach systemd over D-Bus")]
    Connect(#[source] zbus::Error),
    #[error("cannot start the D-Bus client")]
    Runtime(#[source] std::io::Error),
    #[error("unknown command {0:?}")]
    Command(String),
    #[error("{call} failed")]
    Call { call: String, source: Box<zbus::Error> },
    #[error("{call} had no response within {} s", limit.as_secs())]
    TimedOut { call: String, limit: Duration },
    #[error("the connection to systemd was lost while waiting for a job")]
    Lost,
}

/// A connection to the systemd of `DBUS_SYSTEM_BUS_ADDRESS`, or of this machine.
pub struct Systemd {
    // Field order: the connection must be dropped before the runtime that runs its reader.
    connection: Connection,
    runtime: Runtime,
    /// Set once subscribed: systemd rejects a second subscription of a client.
    jobs: RefCell<Option<Jobs>>,
}

/// Finished jobs.
struct Jobs {
    signals: MessageStream,
    /// Results not yet waited for.
    results: HashMap<OwnedObjectPath, String>,
}

/// A running job.
#[derive(Debug)]
pub struct Job {
    path: OwnedObjectPath,
    started: Instant,
}

/// A transient service unit.
#[derive(Debug, Clone, Copy)]
pub struct TransientUnit<'a> {
    /// Full name with `.service`.
    pub unit: &'a str,
    /// For the journal and `systemctl status`.
    pub description: &'a str,
    /// Absolute path of the program, and its arguments.
    pub argv: &'a [&'a str],
    /// `Type=oneshot`: the unit is activating until the program exits, so that others can be ordered after it.
    pub one_shot: bool,
    /// A unit to order it after; it is not required.
    pub after: Option<&'a str>,
}

/// The state of a service in systemd's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// `active`, `activating`, `inactive`, `failed` etc.
    pub active: String,
    /// `success`, `exit-code`, `signal` etc.
    pub result: String,
    /// The exit status or the terminating signal; 0 while running.
    pub status: i32,
}

impl Systemd {
    /// # Errors
    /// The bus is unavailable.
    pub fn connect() -> Result<Self, SystemdError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(SystemdError::Runtime)?;
        let connection = runtime.block_on(Connection::system()).map_err(SystemdError::Connect)?;
        Ok(Self { connection, runtime, jobs: RefCell::new(None) })
    }

    /// `daemon-reload`.
    ///
    /// # Errors
    /// systemd refuses or does not answer.
    pub fn reload(&self) -> Result<(), SystemdError> {
        self.manager("Reload", &(), RELOAD_TIMEOUT).map(drop)
    }

    /// Enables a unit by its `[Install]` section. Returns whether links changed.
    ///
    /// # Errors
    /// The unit does not exist or cannot be enabled.
    pub fn enable(&self, unit: &str, runtime: bool) -> Result<bool, SystemdError> {
        let force = true;
        let reply = self.manager("EnableUnitFiles", &(vec![unit], runtime, force), CALL_TIMEOUT)?;
        let (_, changes): (bool, Vec<(String, String, String)>) =
            reply.body().deserialize().map_err(|source| call_error("EnableUnitFiles", source))?;
        Ok(!changes.is_empty())
    }

    /// Whether the unit is active; `false` if it is not loaded or its state is unknown.
    pub fn is_active(&self, unit: &str) -> bool {
        self.active_state(unit).is_ok_and(|state| matches!(state.as_str(), "active" | "reloading"))
    }

    /// Whether a changed unit file needs a daemon-reload. Unloaded units are read on first use; reloads are
    /// slow, as they run all generators.
    pub fn needs_reload_for(&self, unit: &str) -> bool {
        // The drop-ins of templates and of prefix names apply to units of other names.
        let affects_other_units = unit.contains("@.") || unit.contains("-.") || !unit.contains('.');
        if affects_other_units {
            return true;
        }
        match self.manager("GetUnit", &(unit,), CALL_TIMEOUT) {
            Err(SystemdError::Call { source, .. }) => !is_error(&source, NO_SUCH_UNIT),
            _ => true,
        }
    }

    fn active_state(&self, unit: &str) -> Result<String, SystemdError> {
        self.text(&self.object(unit)?, UNIT, "ActiveState")
    }

    /// The state of a service. `None` if the unit was unloaded, as a successful one without a unit file is.
    ///
    /// # Errors
    /// systemd does not answer.
    pub fn service_state(&self, unit: &str) -> Result<Option<ServiceState>, SystemdError> {
        let object = match self.object(unit) {
            Err(SystemdError::Call { source, .. }) if is_error(&source, NO_SUCH_UNIT) => return Ok(None),
            object => object?,
        };
        let body = self.property(&object, SERVICE, "ExecMainStatus")?;
        let body = body.body();
        let status: Variant<'_> = body.deserialize().map_err(|source| call_error("Get", source))?;
        Ok(Some(ServiceState {
            active: self.text(&object, UNIT, "ActiveState")?,
            result: self.text(&object, SERVICE, "Result")?,
            status: i32::try_from(&status).map_err(|source| call_error("Get", source))?,
        }))
    }

    fn object(&self, unit: &str) -> Result<OwnedObjectPath, SystemdError> {
        let reply = self.manager("GetUnit", &(unit,), CALL_TIMEOUT)?;
        reply.body().deserialize().map_err(|source| call_error("GetUnit", source))
    }

    fn property(
        &self,
        object: &OwnedObjectPath,
        interface: &str,
        name: &str,
    ) -> Result<Message, SystemdError> {
        self.call(DESTINATION, object.as_str(), PROPERTIES, "Get", &(interface, name), CALL_TIMEOUT)
    }

    fn text(&self, object: &OwnedObjectPath, interface: &str, name: &str) -> Result<String, SystemdError> {
        let reply = self.property(object, interface, name)?;
        let body = reply.body();
        let value: Variant<'_> = body.deserialize().map_err(|source| call_error("Get", source))?;
        <&str>::try_from(&value).map(str::to_owned).map_err(|source| call_error("Get", source))
    }

    /// Queues a job without waiting for it.
    ///
    /// # Errors
    /// systemd refuses.
    pub fn queue_job(&self, unit: &str, command: &str) -> Result<(), SystemdError> {
        self.manager(method(command)?, &(unit, JOB_MODE), CALL_TIMEOUT).map(drop)
    }

    /// Queues a job, to be waited for with [`Systemd::wait`].
    ///
    /// # Errors
    /// systemd refuses.
    pub fn start_job(&self, unit: &str, command: &str) -> Result<Job, SystemdError> {
        let method = method(command)?;
        let call = format!("{method} of {unit}");
        // Subscribed before the call, so that a fast job is not missed.
        self.runtime.block_on(self.watch_jobs()).map_err(|source| call_error(&call, source))?;
        let reply = self.manager(method, &(unit, JOB_MODE), CALL_TIMEOUT)?;
        let path = reply.body().deserialize().map_err(|source| call_error(&call, source))?;
        Ok(Job { path, started: Instant::now() })
    }

    /// Waits for the job and returns its result, such as `done` or `failed`; `None` after `limit`, then it can
    /// be waited for again. Calls `on_wait` periodically with the time since the job was queued.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn wait(
        &self,
        job: &Job,
        limit: Duration,
        on_wait: &mut dyn FnMut(Duration),
    ) -> Result<Option<String>, SystemdError> {
        let mut jobs = self.jobs.borrow_mut();
        let Some(jobs) = jobs.as_mut() else { return Err(SystemdError::Lost) };
        self.runtime.block_on(async {
            let end = Instant::now() + limit;
            let mut next_report = Instant::now().max(job.started + REPORT_AFTER);
            loop {
                if let Some(result) = jobs.results.remove(&job.path) {
                    return Ok(Some(result));
                }
                match timeout_at(end.min(next_report), next_message(&mut jobs.signals)).await {
                    Ok(None) => return Err(SystemdError::Lost),
                    Ok(Some(message)) => {
                        let message = message.map_err(|source| call_error("JobRemoved", source))?;
                        // Includes other jobs, which may be waited for later.
                        jobs.results.extend(job_result(&message));
                    }
                    Err(_) if Instant::now() >= end => return Ok(None),
                    Err(_) => {
                        on_wait(job.started.elapsed());
                        next_report = Instant::now() + REPORT_INTERVAL;
                    }
                }
            }
        })
    }

    async fn watch_jobs(&self) -> zbus::Result<()> {
        if self.jobs.borrow().is_some() {
            return Ok(());
        }
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(DESTINATION)
            .interface(MANAGER)
            .member("JobRemoved")
            .build()?;
        let signals = MessageStream::for_match_rule(rule, &self.connection, Some(SIGNAL_QUEUE)).await?;
        // systemd emits signals only while it has subscribers.
        self.connection.call_method(Some(DESTINATION), PATH, Some(MANAGER), "Subscribe", &()).await?;
        *self.jobs.borrow_mut() = Some(Jobs { signals, results: HashMap::new() });
        Ok(())
    }

    /// Starts a program as a transient unit without waiting for it.
    ///
    /// # Errors
    /// systemd refuses.
    pub fn start_transient(&self, transient: &TransientUnit<'_>) -> Result<(), SystemdError> {
        let argv = transient.argv;
        let program = argv.first().copied().unwrap_or_default();
        let mut properties: Vec<(&str, Variant<'_>)> = vec![
            ("Description", Variant::from(transient.description)),
            ("ExecStart", Variant::from(vec![(program, argv.to_vec(), false)])),
        ];
        if transient.one_shot {
            properties.push(("Type", Variant::from("oneshot")));
        }
        if let Some(before) = transient.after {
            properties.push(("After", Variant::from(vec![before])));
        }
        let auxiliary_units: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let body = (transient.unit, JOB_MODE, properties, auxiliary_units);
        self.manager("StartTransientUnit", &body, CALL_TIMEOUT).map(drop)
    }

    /// Whether hostnamed is running. Does not activate it.
    pub fn has_hostnamed(&self) -> bool {
        let reply = self.call(BUS, BUS_PATH, BUS, "NameHasOwner", &(HOSTNAMED,), CALL_TIMEOUT);
        reply.is_ok_and(|reply| reply.body().deserialize().unwrap_or(false))
    }

    /// Sets the static hostname through hostnamed.
    ///
    /// # Errors
    /// hostnamed is unavailable or refuses.
    pub fn set_hostname(&self, name: &str) -> Result<(), SystemdError> {
        let interactive = false;
        self.call(
            HOSTNAMED,
            HOSTNAMED_PATH,
            HOSTNAMED,
            "SetStaticHostname",
            &(name, interactive),
            CALL_TIMEOUT,
        )
        .map(drop)
    }

    fn manager<B>(&self, method: &str, body: &B, limit: Duration) -> Result<Message, SystemdError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        self.call(DESTINATION, PATH, MANAGER, method, body, limit)
    }

    fn call<B>(
        &self,
        destination: &str,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
        limit: Duration,
    ) -> Result<Message, SystemdError>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        self.runtime.block_on(async {
            let call = self.connection.call_method(Some(destination), path, Some(interface), method, body);
            match timeout(limit, call).await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(source)) => Err(call_error(method, source)),
                Err(_) => Err(SystemdError::TimedOut { call: method.to_owned(), limit }),
            }
        })
    }
}

async fn next_message(stream: &mut MessageStream) -> Option<zbus::Result<Message>> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// The finished job of a `JobRemoved` signal and its result.
fn job_result(message: &Message) -> Option<(OwnedObjectPath, String)> {
    let (_, path, _, result): (u32, OwnedObjectPath, String, String) = message.body().deserialize().ok()?;
    Some((path, result))
}

fn call_error(call: &str, source: zbus::Error) -> SystemdError {
    SystemdError::Call { call: call.to_owned(), source: Box::new(source) }
}

fn is_error(error: &zbus::Error, name: &str) -> bool {
    matches!(error, zbus::Error::MethodError(error_name, ..) if error_name.as_str() == name)
}

fn method(command: &str) -> Result<&'static str, SystemdError> {
    Ok(match command {
        "start" => "StartUnit",
        "stop" => "StopUnit",
        "restart" => "RestartUnit",
        "reload" => "ReloadUnit",
        "try-restart" => "TryRestartUnit",
        "reload-or-restart" => "ReloadOrRestartUnit",
        "reload-or-try-restart" => "ReloadOrTryRestartUnit",
        other => return Err(SystemdError::Command(other.to_owned())),
    })
}
