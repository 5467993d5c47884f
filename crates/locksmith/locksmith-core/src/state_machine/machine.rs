//! The transitions. Long because a state machine is read as a whole.

use std::time::Duration;

use etcd_api::format_go_duration;

use super::events::{Acquired, Action, Clocks, Config, Event, Exit, Level, LockFailure};
use crate::coordinator::State;
use crate::engine::{EngineStatus, SignalSender};
use crate::limits::{MAX_BACKOFF, REBOOT_TIMEOUT, WALL_CLOCK_POLL};
use crate::strategy::Strategy;

/// See the module documentation.
#[derive(Debug)]
pub struct StateMachine {
    config: Config,
    phase: Phase,
    /// `None` once this boot has settled.
    settle: Option<Settle>,
    request: Option<RebootRequest>,
    /// The lock was acquired for the pending reboot, and is released if that is rolled back.
    locked: bool,
    /// An acquire attempt has an unknown result: the lock may be held.
    lock_unknown: bool,
    drained: bool,
    /// No attempt before this time.
    retry_at: Option<Duration>,
    /// The current backoff of reboot attempts.
    backoff: Duration,
    /// Waiting for the window was logged.
    window_wait_logged: bool,
    /// The inhibitors logged last.
    logged_inhibitors: Vec<String>,
    /// An update engine has appeared before.
    engine_seen: bool,
}

/// The action in progress. All phases except `Idle`, `Delaying`, `RollbackBackoff` and `Rebooting` complete
/// with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Settling,
    ListingInhibitors,
    CheckingEtcd,
    Locking,
    Draining,
    Warning,
    Delaying {
        until: Duration,
    },
    RequestingReboot,
    /// Undrain, then release the lock.
    RollingBack,
    RollbackBackoff {
        until: Duration,
    },
    Rebooting {
        until: Duration,
    },
}

#[derive(Debug)]
struct Settle {
    at: Duration,
    backoff: Duration,
    /// The health problem logged last.
    logged_reason: String,
}

/// A pending request to reboot this machine.
#[derive(Debug)]
struct RebootRequest {
    sender: SignalSender,
    version: String,
}

type Actions = Vec<Action>;

fn log(level: Level, text: impl Into<String>) -> Action {
    Action::Log(level, text.into())
}

/// Truncated to whole seconds if at least one.
fn format_duration(time: Duration) -> String {
    let whole = if time >= Duration::from_secs(1) { Duration::from_secs(time.as_secs()) } else { time };
    format_go_duration(whole)
}

/// `5 minutes`, `90 seconds`.
fn spell_duration(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 60 == 0 && seconds > 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}

fn double_backoff(backoff: Duration) -> Duration {
    backoff.saturating_mul(2).min(MAX_BACKOFF)
}

impl StateMachine {
    /// The first event must be [`Event::Started`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        let backoff = config.retry_interval;
        let settle = Settle { at: backoff, backoff, logged_reason: String::new() };
        Self {
            config,
            phase: Phase::Idle,
            settle: Some(settle),
            request: None,
            locked: false,
            lock_unknown: false,
            drained: false,
            retry_at: None,
            backoff,
            window_wait_logged: false,
            logged_inhibitors: Vec::new(),
            engine_seen: false,
        }
    }

    /// Handles an event and returns the actions to run, in order.
    pub fn step(&mut self, now: &Clocks, event: Event) -> Actions {
        let mut actions = match event {
            Event::Started => self.on_started(now),
            Event::EngineAppeared(status) => self.on_engine_appeared(status),
            Event::StatusUpdate(sender, status) => self.on_status_update(sender, &status),
            other => self.on_completion(now, other),
        };
        if self.phase == Phase::Idle {
            actions.extend(self.on_idle(now));
        }
        actions
    }

    /// Whether logind's reply to a reboot request is pending.
    #[must_use]
    pub fn is_requesting_reboot(&self) -> bool {
        matches!(self.phase, Phase::RequestingReboot)
    }

    /// The time until [`Event::Tick`] is due, if no other event comes first. `None`: never.
    #[must_use]
    pub fn timeout(&self, now: &Clocks) -> Option<Duration> {
        let until = match self.phase {
            Phase::Delaying { until } | Phase::RollbackBackoff { until } | Phase::Rebooting { until } => {
                Some(until)
            }
            Phase::Idle => {
                let settle = self.settle.as_ref().map(|settle| settle.at);
                settle.into_iter().chain(self.request.as_ref().map(|_| self.next_attempt(now))).min()
            }
            _ => None,
        };
        until.map(|until| until.saturating_sub(now.monotonic))
    }

    /// When the pending request is checked again.
    fn next_attempt(&self, now: &Clocks) -> Duration {
        let retry_at = self.retry_at.unwrap_or(now.monotonic);
        match self.time_until_window(now) {
            Some(wait) => retry_at.max(now.monotonic + wait.min(WALL_CLOCK_POLL)),
            None => retry_at,
        }
    }

    /// `None` if the window is open or none is configured.
    fn time_until_window(&self, now: &Clocks) -> Option<Duration> {
        let window = self.config.window.as_ref()?;
        if window.is_open(&now.wall) {
            return None;
        }
        let next = window.next(&now.wall)?;
        // Never zero: the window is still closed.
        Some(next.start.duration_since(&now.wall).unsigned_abs().max(Duration::from_millis(1)))
    }

    fn on_started(&self, now: &Clocks) -> Actions {
        let mut actions = Vec::new();
        match &self.config.window {
            Some(window) => {
                actions.push(log(Level::Info, format!("Reboot window {window}")));
                if let Some(next) = window.next(&now.wall) {
                    let text = format!("Next window begins at {} and ends at {}", next.start, next.end);
                    actions.push(log(Level::Info, text));
                }
            }
            None => actions.push(log(Level::Info, "No configured reboot window")),
        }
        actions.push(Action::SetState(State::Running));
        actions
    }

    fn on_engine_appeared(&mut self, status: EngineStatus) -> Actions {
        if std::mem::replace(&mut self.engine_seen, true) {
            return self.on_status_update(SignalSender::Engine, &status);
        }
        let EngineStatus { operation, .. } = &status;
        let text = format!(
            "locksmithd starting currentOperation={operation:?} strategy=\"{}\"",
            self.config.strategy
        );
        let mut actions = vec![log(Level::Info, text)];
        actions.extend(self.handle_status(SignalSender::Engine, &status));
        actions
    }

    fn on_status_update(&mut self, sender: SignalSender, status: &EngineStatus) -> Actions {
        let mut actions = vec![log(Level::Info, status.to_string())];
        actions.extend(self.handle_status(sender, status));
        actions
    }

    fn handle_status(&mut self, sender: SignalSender, status: &EngineStatus) -> Actions {
        if self.config.strategy == Strategy::Off {
            return Vec::new();
        }
        let rebooting = matches!(self.phase, Phase::RequestingReboot | Phase::Rebooting { .. });
        if status.needs_reboot() {
            let planned = self.request.is_some();
            if !planned {
                self.reset_attempt();
            }
            // Only the engine's own status carries a version and may be withdrawn by the engine.
            if !planned || sender == SignalSender::Engine {
                self.request = Some(RebootRequest { sender, version: status.new_version.clone() });
            }
            return if planned || rebooting {
                Vec::new()
            } else {
                vec![Action::SetState(State::RebootPlanned)]
            };
        }
        let withdrawn = sender == SignalSender::Engine
            && self.request.as_ref().is_some_and(|request| request.sender == SignalSender::Engine)
            && !rebooting;
        if !withdrawn {
            return Vec::new();
        }
        self.request = None;
        self.reset_attempt();
        let text = format!("The reboot is called off: the update agent is at {}", status.operation);
        let mut actions = vec![log(Level::Notice, text), Action::SetState(State::Running)];
        if let Phase::Delaying { .. } = self.phase {
            actions.extend(self.roll_back());
        }
        actions
    }

    fn reset_attempt(&mut self) {
        self.retry_at = None;
        self.backoff = self.config.retry_interval;
        self.window_wait_logged = false;
        self.logged_inhibitors.clear();
    }

    /// Completes the action in progress. Completions that do not match the phase are late and ignored.
    fn on_completion(&mut self, now: &Clocks, event: Event) -> Actions {
        match (self.phase, event) {
            (Phase::Settling, event) => self.on_settling(now, event),
            (Phase::RollingBack, Event::Undrained(result)) => self.on_undrained(result),
            (Phase::RollingBack, Event::Released(result)) => self.on_released(now, result),
            (Phase::RollbackBackoff { until }, Event::Tick) if now.monotonic >= until => self.roll_back(),
            (Phase::Rebooting { until }, Event::Tick) if now.monotonic >= until => {
                vec![log(Level::Error, "Tried to reboot but did not!"), Action::Exit(Exit::Failure)]
            }
            (Phase::Delaying { until }, Event::Tick) if now.monotonic >= until => self.request_reboot(),
            (Phase::ListingInhibitors, Event::Inhibitors(found)) => self.on_inhibitors(now, found),
            (Phase::CheckingEtcd, Event::EtcdRunning(here)) => self.lock_if_needed(now, here),
            (Phase::Locking, Event::Locked(result)) => self.on_lock_result(now, result),
            (Phase::Draining, Event::Drained) => self.on_drained(),
            (Phase::Warning, Event::Warned(terminals)) => self.on_warned(now, terminals),
            (Phase::RequestingReboot, Event::RebootSent(result)) => self.on_reboot_result(now, result),
            _ => Vec::new(),
        }
    }

    /// Starts the next action that is due.
    fn on_idle(&mut self, now: &Clocks) -> Actions {
        if self.settle.as_ref().is_some_and(|settle| settle.at <= now.monotonic) {
            self.phase = Phase::Settling;
            return vec![Action::CheckHealth];
        }
        // A lock held until the next window would block all other machines.
        if (self.request.is_none() || self.time_until_window(now).is_some()) && self.claim_unknown_lock() {
            return self.roll_back();
        }
        if self.request.is_none() || self.retry_at.is_some_and(|at| at > now.monotonic) {
            return Vec::new();
        }
        if let Some(wait) = self.time_until_window(now) {
            if std::mem::replace(&mut self.window_wait_logged, true) {
                return Vec::new();
            }
            return vec![log(Level::Info, format!("Waiting for {} to reboot.", format_duration(wait)))];
        }
        self.window_wait_logged = false;
        self.phase = Phase::ListingInhibitors;
        vec![Action::ListInhibitors]
    }

    // Settling.

    fn on_settling(&mut self, now: &Clocks, event: Event) -> Actions {
        match event {
            Event::Health(Ok(())) => vec![Action::Undrain],
            Event::Health(Err(reason)) => self.on_unhealthy(now, reason),
            Event::Undrained(Err(reason)) => {
                self.retry_settling(now, Some(format!("Taking units back failed: {reason}.")))
            }
            Event::Undrained(Ok(())) if self.config.fleet_lock || self.config.may_hold_lock => {
                vec![Action::Release]
            }
            Event::Undrained(Ok(())) => match self.config.strategy {
                Strategy::EtcdLock => vec![Action::Release],
                Strategy::BestEffort => vec![Action::CheckEtcd],
                Strategy::Reboot | Strategy::Off => self.finish_settling(Vec::new()),
            },
            Event::EtcdRunning(true) => vec![Action::Release],
            // An etcd may still be started.
            Event::EtcdRunning(false) => self.retry_settling(now, None),
            Event::Released(Ok(false)) => self.finish_settling(Vec::new()),
            Event::Released(Ok(true)) => {
                self.finish_settling(vec![log(Level::Info, "Unlocked existing lock for this machine")])
            }
            Event::Released(Err(reason)) => {
                self.retry_settling(now, Some(format!("Unlocking old locks failed: {reason}.")))
            }
            _ => Vec::new(),
        }
    }

    fn on_unhealthy(&mut self, now: &Clocks, reason: String) -> Actions {
        self.phase = Phase::Idle;
        let Some(settle) = &mut self.settle else { return Vec::new() };
        settle.at = now.monotonic + self.config.retry_interval;
        if settle.logged_reason == reason {
            return Vec::new();
        }
        let text = format!("Not healthy yet, so the lock and the units stay as they are: {reason}");
        settle.logged_reason = reason;
        vec![log(Level::Notice, text)]
    }

    fn finish_settling(&mut self, actions: Actions) -> Actions {
        self.phase = Phase::Idle;
        self.settle = None;
        self.lock_unknown = false;
        let mut actions = actions;
        if self.config.strategy == Strategy::Off {
            actions.push(Action::Exit(Exit::Success));
        }
        actions
    }

    fn retry_settling(&mut self, now: &Clocks, failed: Option<String>) -> Actions {
        self.phase = Phase::Idle;
        let Some(settle) = &mut self.settle else { return Vec::new() };
        settle.backoff = double_backoff(settle.backoff);
        settle.at = now.monotonic + settle.backoff;
        let backoff = settle.backoff;
        let line = |text| log(Level::Error, format!("{text} Retrying in {}.", format_duration(backoff)));
        failed.map(line).into_iter().collect()
    }

    // Reboot.

    fn on_inhibitors(&mut self, now: &Clocks, found: Vec<String>) -> Actions {
        if self.request.is_none() {
            return self.roll_back();
        }
        if found.is_empty() {
            self.logged_inhibitors.clear();
            let checks_etcd = self.config.strategy == Strategy::BestEffort && !self.config.fleet_lock;
            if checks_etcd {
                self.phase = Phase::CheckingEtcd;
                return vec![Action::CheckEtcd];
            }
            let locks = self.config.fleet_lock || self.config.strategy == Strategy::EtcdLock;
            return self.lock_if_needed(now, locks);
        }
        let delay = self.back_off(now);
        self.phase = Phase::Idle;
        let mut actions = Vec::new();
        if found != self.logged_inhibitors {
            let text = format!(
                "The reboot is inhibited: {}. Retrying in {}.",
                found.join("; "),
                format_duration(delay)
            );
            actions.push(log(Level::Notice, text));
            self.logged_inhibitors = found;
        }
        if self.claim_unknown_lock() {
            actions.extend(self.roll_back());
        }
        actions
    }

    /// Treats a lock of unknown state as held and returns whether there was one. Before this boot has settled,
    /// the lock belongs to an earlier one.
    fn claim_unknown_lock(&mut self) -> bool {
        let claimed = self.settle.is_none() && std::mem::take(&mut self.lock_unknown);
        self.locked |= claimed;
        claimed
    }

    fn lock_if_needed(&mut self, now: &Clocks, locks: bool) -> Actions {
        if !locks {
            return self.proceed(now);
        }
        self.phase = Phase::Locking;
        let version = self.request.as_ref().map_or("", |request| request.version.as_str());
        let reason = if version.is_empty() { "update".to_owned() } else { format!("update to {version}") };
        vec![Action::Lock { reason }]
    }

    fn on_lock_result(&mut self, now: &Clocks, result: Result<Acquired, LockFailure>) -> Actions {
        match result {
            Ok(acquired) => {
                // A lock held before belongs to an earlier boot, which settling releases, or to an operator.
                self.locked = acquired == Acquired::New;
                self.claim_unknown_lock();
                self.proceed(now)
            }
            Err(failure) => {
                let (LockFailure::Refused(reason) | LockFailure::Unknown(reason)) = &failure;
                self.lock_unknown |= matches!(failure, LockFailure::Unknown(_));
                self.phase = Phase::Idle;
                let delay = self.back_off(now);
                let text =
                    format!("Failed to acquire lock: {reason}. Retrying in {}.", format_duration(delay));
                vec![log(Level::Warning, text)]
            }
        }
    }

    /// The lock is held or not needed. Acquiring it may have taken hours, so the window is checked again.
    fn proceed(&mut self, now: &Clocks) -> Actions {
        if self.request.is_none() {
            return self.roll_back();
        }
        if self.time_until_window(now).is_some() {
            let mut actions = vec![log(Level::Notice, "The reboot window has closed meanwhile.")];
            actions.extend(self.roll_back());
            return actions;
        }
        self.phase = Phase::Draining;
        // Set before the result is known: a partial drain must be undone too.
        self.drained = true;
        vec![Action::Drain]
    }

    fn on_drained(&mut self) -> Actions {
        if self.request.is_none() {
            return self.roll_back();
        }
        self.phase = Phase::Warning;
        let time = spell_duration(self.config.login_delay);
        vec![Action::Warn(format!("System reboot in {time}!"))]
    }

    fn on_warned(&mut self, now: &Clocks, terminals: usize) -> Actions {
        if self.request.is_none() {
            return self.roll_back();
        }
        if terminals == 0 || self.config.login_delay.is_zero() {
            return self.request_reboot();
        }
        let delay = self.config.login_delay;
        self.phase = Phase::Delaying { until: now.monotonic + delay };
        let time = spell_duration(delay);
        vec![log(Level::Notice, format!("Logins detected, delaying reboot for {time}."))]
    }

    fn request_reboot(&mut self) -> Actions {
        self.phase = Phase::RequestingReboot;
        vec![Action::SetState(State::Rebooting), Action::Reboot]
    }

    fn on_reboot_result(&mut self, now: &Clocks, result: Result<(), String>) -> Actions {
        match result {
            Ok(()) => {
                self.phase = Phase::Rebooting { until: now.monotonic + REBOOT_TIMEOUT };
                vec![log(Level::Info, "Reboot sent. Going to sleep.")]
            }
            Err(reason) => {
                let delay = self.back_off(now);
                let text =
                    format!("The reboot was refused: {reason}. Retrying in {}.", format_duration(delay));
                let mut actions = vec![log(Level::Error, text), Action::SetState(State::RebootPlanned)];
                actions.extend(self.roll_back());
                actions
            }
        }
    }

    fn back_off(&mut self, now: &Clocks) -> Duration {
        self.backoff = double_backoff(self.backoff);
        self.retry_at = Some(now.monotonic + self.backoff);
        self.backoff
    }

    // Rollback.

    /// Undrains, releases the lock, and then continues with what is due.
    fn roll_back(&mut self) -> Actions {
        self.phase = Phase::RollingBack;
        if self.drained {
            return vec![Action::Undrain];
        }
        if self.locked {
            return vec![Action::Release];
        }
        self.phase = Phase::Idle;
        Vec::new()
    }

    fn on_undrained(&mut self, result: Result<(), String>) -> Actions {
        self.drained = false;
        let mut actions = Vec::new();
        if let Err(reason) = result {
            // Other machines wait for the lock; the next settling retries the undrain.
            actions.push(log(Level::Error, format!("Taking units back failed: {reason}.")));
            self.settle.get_or_insert(Settle {
                at: Duration::ZERO,
                backoff: self.config.retry_interval,
                logged_reason: String::new(),
            });
        }
        actions.extend(self.roll_back());
        actions
    }

    fn on_released(&mut self, now: &Clocks, result: Result<bool, String>) -> Actions {
        match result {
            Ok(_) => {
                self.locked = false;
                self.phase = Phase::Idle;
                vec![log(Level::Info, "Released the lock: this machine does not reboot now")]
            }
            Err(reason) => {
                self.backoff = double_backoff(self.backoff);
                self.phase = Phase::RollbackBackoff { until: now.monotonic + self.backoff };
                let text =
                    format!("Unlocking failed: {reason}. Retrying in {}.", format_duration(self.backoff));
                vec![log(Level::Error, text)]
            }
        }
    }
}
