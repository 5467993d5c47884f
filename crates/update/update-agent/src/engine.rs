//! The daemon's worker thread: schedules and runs checks, and publishes the status.

mod freshness;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use go_compat::format_duration;
use tokio::sync::mpsc::UnboundedSender;
use update_core::schedule::{Intervals, LastCheck, delay};
use update_core::status::{Operation, Status};
use update_core::trust::UpdateOptions;
use update_engine::{Failure, Kind, Observer, Outcome, Paths, Server, Settings, TrustStore, Updater, now};

use crate::status_file::StatusFile;

/// Commands to the worker thread.
#[derive(Debug)]
pub enum Command {
    /// An on-demand check.
    Check,
    /// Discards a pending update and resets the status to IDLE.
    Reset(tokio::sync::oneshot::Sender<Result<(), String>>),
    /// Another program changed the slots.
    Refresh,
    Stop,
}

/// State shared with the D-Bus interface.
pub struct Shared {
    status: Mutex<Status>,
    /// Status changes, for the D-Bus signal.
    changes: UnboundedSender<Status>,
    stopping: AtomicBool,
}

impl Shared {
    pub fn new(changes: UnboundedSender<Status>) -> Self {
        Self { status: Mutex::default(), changes, stopping: AtomicBool::new(false) }
    }

    pub fn status(&self) -> Status {
        self.lock().clone()
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        let mut status = self.lock();
        change(&mut status);
        // Fails only at shutdown.
        drop(self.changes.send(status.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Engine {
    pub paths: Paths,
    pub updater: Updater,
    pub shared: Arc<Shared>,
    pub intervals: Intervals,
    last: LastCheck,
    file: Mutex<StatusFile>,
    /// Start of the download, and time of the last progress report.
    download: Mutex<Option<(Instant, Instant)>>,
    /// The last logged reason why updates are disabled.
    disabled: Option<String>,
    /// When an outdated channel was last logged as an error.
    logged_outdated: Option<Instant>,
}

impl Engine {
    pub fn new(paths: &Paths, updater: Updater, shared: Arc<Shared>, intervals: Intervals) -> Self {
        let file = StatusFile { version: updater.identity.version.to_string(), ..StatusFile::default() };
        Self {
            paths: paths.clone(),
            updater,
            shared,
            intervals,
            last: LastCheck::None,
            file: Mutex::new(file),
            download: Mutex::default(),
            disabled: None,
            logged_outdated: None,
        }
    }

    /// Runs until [`Command::Stop`].
    pub fn run(mut self, commands: &Receiver<Command>) {
        self.record_outcomes();
        self.publish_idle();
        let mut due = self.next_check();
        loop {
            match commands.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Command::Check) => {
                    self.check(true);
                    due = self.next_check();
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.check(false);
                    due = self.next_check();
                }
                Ok(Command::Refresh) => self.publish_idle(),
                Ok(Command::Reset(reply)) => {
                    let outcome = self.updater.discard_pending().map_err(|failure| failure.to_string());
                    self.publish_idle();
                    // The caller may have disconnected.
                    drop(reply.send(outcome));
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Schedules the next check. Other commands do not postpone it.
    fn next_check(&self) -> Instant {
        let interval = delay(self.last, &self.intervals, rand::random());
        tracing::info!("Next update check in {}", format_duration(Duration::from_secs(interval.as_secs())));
        self.file(|file| file.next_check = now() + interval.as_secs());
        Instant::now() + interval
    }

    /// Called at the start and before each check, because the boot partition may become available later.
    fn record_outcomes(&self) {
        match self.updater.record_outcomes() {
            Ok(bans) => bans.iter().for_each(|ban| {
                tracing::error!(
                    version = %ban.version,
                    "version {} failed to boot on this machine and is banned; \
                     `update-agent retry` allows it again", ban.version
                );
            }),
            Err(failure) => tracing::warn!(error = %failure, "cannot read the slots"),
        }
    }

    /// Publishes the status between checks: idle or pending reboot.
    fn publish_idle(&self) {
        let pending = self.updater.pending();
        self.shared.change(|status| {
            status.progress = 0.0;
            status.operation = if pending.is_some() { Operation::NeedReboot } else { Operation::Idle };
            match &pending {
                Some(version) => status.new_version.clone_from(version),
                None => {
                    let last_checked = status.last_checked;
                    *status = Status { last_checked, ..Status::default() };
                }
            }
        });
        let settings = Settings::read(&self.paths);
        let root = TrustStore::open(&self.paths, &settings).ok().map(|store| store.in_force().version);
        let server = match settings.server {
            Server::Url(url) => url,
            Server::Disabled(why) => format!("updates are disabled: {why}"),
        };
        let hold = self.updater.state.hold().ok().flatten().map(|hold| hold.reason);
        let bans = self.updater.state.bans().unwrap_or_default();
        self.file(|file| {
            file.root_version = root;
            file.server = server;
            file.group = settings.group;
            file.pending = pending;
            file.hold = hold;
            file.bans = bans.iter().map(|ban| format!("{}: {}", ban.version, ban.reason)).collect();
        });
    }

    fn check(&mut self, interactive: bool) {
        self.record_outcomes();
        let settings = Settings::read(&self.paths);
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        let checked = self.updater.check(&settings, interactive, UpdateOptions::default(), self);
        if checked.responded {
            self.shared.change(|status| status.last_checked = i64::try_from(now()).unwrap_or(i64::MAX));
        }
        let poll = checked.poll_interval.map(|seconds| Duration::from_secs(u64::from(seconds)));
        self.last = match &checked.outcome {
            Ok(_) => LastCheck::Answered { poll },
            Err(failure) => self.last_check(failure),
        };
        self.log_result(&checked.outcome);
        if matches!(checked.outcome, Ok(Outcome::Disabled(_))) {
            self.file(|file| file.outdated = None);
        } else {
            self.report_freshness(checked.confirmed.as_ref());
        }
        self.publish_idle();
    }

    fn last_check(&self, failure: &Failure) -> LastCheck {
        match (failure.kind, self.last) {
            (Kind::Busy, LastCheck::Busy { times }) => LastCheck::Busy { times: times + 1 },
            (Kind::Busy, _) => LastCheck::Busy { times: 1 },
            (Kind::Transient | Kind::Machine, LastCheck::Failed { times }) => {
                LastCheck::Failed { times: times + 1 }
            }
            (Kind::Transient | Kind::Machine, _) => LastCheck::Failed { times: 1 },
            // The offer stays the same for a while.
            (Kind::Rejected | Kind::Cancelled, _) => LastCheck::Answered { poll: None },
        }
    }

    /// Logs the result and writes the status file.
    fn log_result(&mut self, outcome: &Result<Outcome, Failure>) {
        let result = match outcome {
            Ok(Outcome::Disabled(why)) => {
                if self.disabled.as_ref() != Some(why) {
                    tracing::info!("updates are disabled: {why}");
                    self.disabled = Some(why.clone());
                }
                format!("disabled: {why}")
            }
            Ok(Outcome::UpToDate(None)) => "no update".to_owned(),
            Ok(Outcome::UpToDate(Some(reason))) => format!("no update: {reason}"),
            Ok(Outcome::Held { version, reason }) => {
                format!("version {version} is not installed because of a hold: {reason}")
            }
            Ok(Outcome::Installed { version }) => format!("version {version} is installed, reboot pending"),
            Err(failure) => {
                let of = failure.version.as_ref().map_or(String::new(), |version| format!(" to {version}"));
                let hint = match failure.kind {
                    Kind::Transient | Kind::Busy => "will retry",
                    Kind::Rejected => "the running version is not affected; waiting for the next offer",
                    Kind::Machine => "see `update-agent status`; the running version is not affected",
                    Kind::Cancelled => "the next attempt resumes it",
                };
                tracing::error!(code = failure.code.0, "the update{of} failed: {failure} ({hint})");
                self.file(|file| {
                    file.last_error = Some(format!("update{of}: {failure}"));
                    file.last_error_time = Some(now());
                    file.last_result = None;
                });
                return;
            }
        };
        if !matches!(outcome, Ok(Outcome::Disabled(_))) {
            tracing::info!("{result}");
        }
        self.file(|file| {
            file.last_result = Some(result);
            file.last_error = None;
            file.last_error_time = None;
        });
    }

    fn file(&self, change: impl FnOnce(&mut StatusFile)) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut file);
        let status = self.shared.status();
        status.operation.name().clone_into(&mut file.operation);
        file.last_checked = status.last_checked;
        file.progress = status.progress;
        file.new_version =
            Some(status.new_version).filter(|version| *version != update_core::status::NO_VERSION);
        file.write(&self.paths);
    }
}

impl Observer for Engine {
    fn operation(&self, operation: Operation) {
        self.shared.change(|status| {
            status.operation = operation;
            if operation != Operation::Downloading {
                status.progress = 0.0;
            }
        });
        self.file(|_| {});
    }

    fn found(&self, version: &str, bytes: u64) {
        tracing::info!("installing version {version}, {bytes} bytes to download");
        let started = Instant::now();
        *self.download.lock().unwrap_or_else(PoisonError::into_inner) = Some((started, started));
        self.shared.change(|status| {
            version.clone_into(&mut status.new_version);
            status.new_size = i64::try_from(bytes).unwrap_or(i64::MAX);
        });
    }

    #[expect(clippy::cast_precision_loss, reason = "it is shown with six decimals")]
    fn progress(&self, done: u64, total: u64) {
        let progress = if total == 0 { 1.0 } else { (done as f64 / total as f64).min(1.0) };
        let mut download = self.download.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (started, reported) = download.unwrap_or((now, now));
        let increase = progress - self.shared.status().progress;
        if increase < 0.01 && now - reported < Duration::from_secs(10) && done < total {
            return;
        }
        *download = Some((started, now));
        drop(download);
        self.shared.change(|status| status.progress = progress);
        let rate = (done as f64 / (now - started).as_secs_f64().max(0.001)) as u64;
        self.file(|file| {
            file.rate = rate;
            file.seconds_left = (rate > 0).then(|| total.saturating_sub(done) / rate);
        });
    }

    fn cancelled(&self) -> bool {
        self.shared.stopping.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use folder_machine::{Machine, releases};
    use update_core::schedule::INTERVALS;

    use super::*;

    #[test]
    fn a_failed_version_is_banned_once_the_boot_partition_is_available() {
        let machine = Machine::new();
        let settings = machine.settings("GROUP=alpha\nSERVER=disabled\n");
        let shared = Arc::new(Shared::new(tokio::sync::mpsc::unbounded_channel().0));
        let engine = Engine::new(&Paths::new(machine.root()), machine.updater(), shared, INTERVALS);
        let release = &releases().full_only.folder;
        engine.updater.apply(&settings, release, UpdateOptions::default(), &engine).unwrap();
        machine.set_tries("3.0.0", "+0-3");
        let (partition, unavailable) = (machine.path("boot/EFI/Linux"), machine.path("late"));
        fs::rename(&partition, &unavailable).unwrap();
        let (commands, receiver) = std::sync::mpsc::channel();
        let engine = std::thread::spawn(move || engine.run(&receiver));
        // The response implies that the start is complete.
        let (reply, reply_receiver) = tokio::sync::oneshot::channel();
        commands.send(Command::Reset(reply)).unwrap();
        reply_receiver.blocking_recv().unwrap().unwrap_err();
        assert!(machine.updater().state.bans().unwrap().is_empty());
        fs::rename(&unavailable, &partition).unwrap();
        commands.send(Command::Check).unwrap();
        commands.send(Command::Stop).unwrap();
        engine.join().unwrap();
        assert_eq!(machine.updater().state.bans().unwrap()[0].version.to_string(), "3.0.0");
    }

    #[test]
    fn commands_do_not_postpone_the_next_check() {
        let machine = Machine::new();
        machine.settings("GROUP=alpha\nSERVER=disabled\n");
        let paths = Paths::new(machine.root());
        let shared = Arc::new(Shared::new(tokio::sync::mpsc::unbounded_channel().0));
        let initial = Duration::from_millis(400);
        let intervals = Intervals { initial, fuzz: Duration::ZERO, ..INTERVALS };
        let engine = Engine::new(&paths, machine.updater(), shared, intervals);
        let (commands, receiver) = std::sync::mpsc::channel();
        let engine = std::thread::spawn(move || engine.run(&receiver));
        let checked = || fs::read_to_string(paths.status()).is_ok_and(|file| file.contains("\"disabled: "));
        let limit = Instant::now() + Duration::from_secs(60);
        while !checked() {
            assert!(Instant::now() < limit, "orders every 20 ms, and no check");
            commands.send(Command::Refresh).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        commands.send(Command::Stop).unwrap();
        engine.join().unwrap();
    }
}
