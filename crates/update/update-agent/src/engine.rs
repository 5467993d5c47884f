//! The daemon's work, in a thread of its own: waits, checks, installs, tells.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use update_core::schedule::{Intervals, Last, wait};
use update_core::status::{Operation, Status};
use update_core::trust::Wish;
use update_engine::{Done, Failure, Kind, Places, Server, Settings, Updater, Watch, now};

use crate::status_file::StatusFile;

/// What others ask of the engine.
#[derive(Debug)]
pub enum Order {
    /// By a person, at once.
    Check,
    /// To IDLE, and what waits for a reboot is forgotten.
    Reset(tokio::sync::oneshot::Sender<Result<(), String>>),
    /// Another program changed the slots.
    Refresh,
    Stop,
}

/// What the bus and the engine both know.
pub struct Shared {
    status: Mutex<Status>,
    /// Each change, for the signal.
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
        // Nobody listens any more when the daemon ends.
        drop(self.changes.send(status.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine's own state.
pub struct Engine {
    pub places: Places,
    pub updater: Updater,
    pub shared: Arc<Shared>,
    pub intervals: Intervals,
    last: Last,
    file: Mutex<StatusFile>,
    /// When the download began, for its rate.
    download: Mutex<Option<(Instant, Instant)>>,
    /// What was said of a server that is not asked, to say it once.
    disabled: Option<String>,
}

impl Engine {
    pub fn new(places: &Places, updater: Updater, shared: Arc<Shared>, intervals: Intervals) -> Self {
        let file = StatusFile { version: updater.identity.version.to_string(), ..StatusFile::default() };
        Self {
            places: places.clone(),
            updater,
            shared,
            intervals,
            last: Last::None,
            file: Mutex::new(file),
            download: Mutex::default(),
            disabled: None,
        }
    }

    /// Until it is told to stop.
    pub fn run(mut self, orders: &Receiver<Order>) {
        self.note_outcomes();
        self.settle();
        let mut due = self.next_check();
        loop {
            match orders.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Order::Check) => {
                    self.check(true);
                    due = self.next_check();
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.check(false);
                    due = self.next_check();
                }
                Ok(Order::Refresh) => self.settle(),
                Ok(Order::Reset(answer)) => {
                    let outcome = self.updater.forget_pending().map_err(|failure| failure.to_string());
                    self.settle();
                    // Who asked may be gone.
                    drop(answer.send(outcome));
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Time of the next check. Other orders do not postpone it.
    fn next_check(&self) -> Instant {
        let pause = wait(self.last, &self.intervals, rand::random());
        tracing::info!("Next update check in {}", words(pause));
        self.file(|file| file.next_check = now() + pause.as_secs());
        Instant::now() + pause
    }

    /// Called at the start and before each check: the boot partition may not be available yet.
    fn note_outcomes(&self) {
        match self.updater.note_outcomes() {
            Ok(bans) => bans.iter().for_each(|ban| {
                tracing::error!(
                    version = %ban.version,
                    "version {} did not come up on this machine and is not installed again; \
                     `update-agent retry` allows it", ban.version
                );
            }),
            Err(failure) => tracing::warn!(error = %failure, "cannot read the slots"),
        }
    }

    /// At rest: idle, or waiting for a reboot.
    fn settle(&self) {
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
        let settings = Settings::read(&self.places);
        let server = match settings.server {
            Server::Url(url) => url,
            Server::Disabled(why) => format!("updates are disabled: {why}"),
        };
        let hold = self.updater.memory.hold().ok().flatten().map(|hold| hold.reason);
        let bans = self.updater.memory.bans().unwrap_or_default();
        let keys = self.updater.key_set().ok().flatten();
        self.file(|file| {
            file.key_set = keys.map(|set| set.epoch);
            file.server = server;
            file.group = settings.group;
            file.pending = pending;
            file.hold = hold;
            file.bans = bans.iter().map(|ban| format!("{}: {}", ban.version, ban.reason)).collect();
        });
    }

    fn check(&mut self, interactive: bool) {
        self.note_outcomes();
        let settings = Settings::read(&self.places);
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        let checked = self.updater.check(&settings, interactive, Wish::default(), self);
        if checked.answered {
            self.shared.change(|status| status.last_checked = i64::try_from(now()).unwrap_or(i64::MAX));
        }
        let poll = checked.poll_interval.map(|seconds| Duration::from_secs(u64::from(seconds)));
        self.last = match &checked.done {
            Ok(_) => Last::Answered { poll },
            Err(failure) => self.after(failure),
        };
        self.tell(&checked.done);
        self.settle();
    }

    fn after(&self, failure: &Failure) -> Last {
        match (failure.kind, self.last) {
            (Kind::Busy, Last::Busy { times }) => Last::Busy { times: times + 1 },
            (Kind::Busy, _) => Last::Busy { times: 1 },
            (Kind::Passing | Kind::Machine, Last::Failed { times }) => Last::Failed { times: times + 1 },
            (Kind::Passing | Kind::Machine, _) => Last::Failed { times: 1 },
            // The offer will be the same for a while.
            (Kind::Refused | Kind::Cancelled, _) => Last::Answered { poll: None },
        }
    }

    /// One line for the journal, and the status file.
    fn tell(&mut self, done: &Result<Done, Failure>) {
        let result = match done {
            Ok(Done::Disabled(why)) => {
                if self.disabled.as_ref() != Some(why) {
                    tracing::info!("no server is asked for updates: {why}");
                    self.disabled = Some(why.clone());
                }
                format!("disabled: {why}")
            }
            Ok(Done::UpToDate(None)) => "no update".to_owned(),
            Ok(Done::UpToDate(Some(reason))) => format!("no update: {reason}"),
            Ok(Done::Held { version, reason }) => format!("version {version} is held back: {reason}"),
            Ok(Done::Installed { version }) => format!("version {version} waits for a reboot"),
            Err(failure) => {
                let of = failure.version.as_ref().map_or(String::new(), |version| format!(" to {version}"));
                let hint = match failure.kind {
                    Kind::Passing | Kind::Busy => "tried again soon",
                    Kind::Refused => "the running version is untouched; the next offer may do",
                    Kind::Machine => "see `update-agent status`; the running version is untouched",
                    Kind::Cancelled => "it goes on from here at the next attempt",
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
        if !matches!(done, Ok(Done::Disabled(_))) {
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
        file.write(&self.places);
    }
}

impl Watch for Engine {
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
        let began = Instant::now();
        *self.download.lock().unwrap_or_else(PoisonError::into_inner) = Some((began, began));
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
        let (began, told) = download.unwrap_or((now, now));
        let grown = progress - self.shared.status().progress;
        if grown < 0.01 && now - told < Duration::from_secs(10) && done < total {
            return;
        }
        *download = Some((began, now));
        drop(download);
        self.shared.change(|status| status.progress = progress);
        let rate = (done as f64 / (now - began).as_secs_f64().max(0.001)) as u64;
        self.file(|file| {
            file.rate = rate;
            file.seconds_left = (rate > 0).then(|| total.saturating_sub(done) / rate);
        });
    }

    fn cancelled(&self) -> bool {
        self.shared.stopping.load(Ordering::Relaxed)
    }
}

/// `42m13s`.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use folder_machine::{Machine, releases};
    use update_core::schedule::INTERVALS;

    use super::*;

    #[test]
    fn a_version_that_failed_is_banned_at_the_next_check_where_the_boot_partition_is_late() {
        let machine = Machine::new();
        let settings = machine.settings("GROUP=alpha\nSERVER=disabled\n");
        let shared = Arc::new(Shared::new(tokio::sync::mpsc::unbounded_channel().0));
        let engine = Engine::new(&Places::new(machine.root()), machine.updater(), shared, INTERVALS);
        let release = &releases().full_only.folder;
        engine.updater.apply(&settings, release, Wish::default(), &engine).unwrap();
        machine.boot_image_becomes("3.0.0", "+0-3");
        let (partition, late) = (machine.path("boot/EFI/Linux"), machine.path("late"));
        fs::rename(&partition, &late).unwrap();
        let (orders, waiting) = std::sync::mpsc::channel();
        let engine = std::thread::spawn(move || engine.run(&waiting));
        // The answer comes after the start.
        let (answer, answered) = tokio::sync::oneshot::channel();
        orders.send(Order::Reset(answer)).unwrap();
        answered.blocking_recv().unwrap().unwrap_err();
        assert!(machine.updater().memory.bans().unwrap().is_empty());
        fs::rename(&late, &partition).unwrap();
        orders.send(Order::Check).unwrap();
        orders.send(Order::Stop).unwrap();
        engine.join().unwrap();
        assert_eq!(machine.updater().memory.bans().unwrap()[0].version.to_string(), "3.0.0");
    }

    #[test]
    fn orders_do_not_postpone_the_next_check() {
        let machine = Machine::new();
        machine.settings("GROUP=alpha\nSERVER=disabled\n");
        let places = Places::new(machine.root());
        let shared = Arc::new(Shared::new(tokio::sync::mpsc::unbounded_channel().0));
        let first = Duration::from_millis(400);
        let intervals = Intervals { first, fuzz: Duration::ZERO, ..INTERVALS };
        let engine = Engine::new(&places, machine.updater(), shared, intervals);
        let (orders, waiting) = std::sync::mpsc::channel();
        let engine = std::thread::spawn(move || engine.run(&waiting));
        let checked = || fs::read_to_string(places.status()).is_ok_and(|file| file.contains("\"disabled: "));
        let limit = Instant::now() + Duration::from_secs(60);
        while !checked() {
            assert!(Instant::now() < limit, "orders every 20 ms, and no check");
            orders.send(Order::Refresh).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        orders.send(Order::Stop).unwrap();
        engine.join().unwrap();
    }
}
