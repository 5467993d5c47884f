//! The steps. Long because one step machine is read in one piece.

use std::time::Duration;

use etcd_api::format_go_duration;

use super::words::{Acquired, Action, Event, Exit, Level, NotLocked, Now, Rules};
use crate::coordinator::State;
use crate::engine::{EngineStatus, Sender};
use crate::limits::{LONGEST_INTERVAL, REBOOT_PATIENCE, WALL_CLOCK_LOOK};
use crate::strategy::Strategy;

/// See the module.
#[derive(Debug)]
pub struct Life {
    rules: Rules,
    phase: Phase,
    /// `None` once this boot is settled.
    settle: Option<Settle>,
    need: Option<Need>,
    /// The lock was got for the reboot that is on its way, and is to be given back where that comes to nothing.
    locked: bool,
    /// The result of an attempt to acquire the lock is unknown: it may be held.
    unsure: bool,
    drained: bool,
    /// What is needed rests until then.
    rest: Option<Duration>,
    /// How long the last failure on the way to a reboot rested.
    interval: Duration,
    /// That the window is waited for was said.
    said_window: bool,
    /// What was said last of what inhibits a reboot.
    said_inhibitors: Vec<String>,
    /// An update agent has answered.
    met_engine: bool,
}

/// What is under way. All but `Idle`, `Delaying`, `Retrying` and `Rebooting` end with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Settling,
    Inhibitors,
    Etcd,
    Locking,
    Draining,
    Warning,
    Delaying {
        until: Duration,
    },
    Sending,
    /// Units back, then the lock.
    GoingBack,
    Retrying {
        until: Duration,
    },
    Rebooting {
        until: Duration,
    },
}

#[derive(Debug)]
struct Settle {
    at: Duration,
    interval: Duration,
    /// What was said last of the machine's health.
    said: String,
}

/// Somebody wants this machine to reboot.
#[derive(Debug)]
struct Need {
    sender: Sender,
    version: String,
}

type Actions = Vec<Action>;

fn log(level: Level, text: impl Into<String>) -> Action {
    Action::Log(level, text.into())
}

/// In whole seconds where it is longer than one, as people read it.
fn shown(time: Duration) -> String {
    let whole = if time >= Duration::from_secs(1) { Duration::from_secs(time.as_secs()) } else { time };
    format_go_duration(whole)
}

/// `5 minutes`, `90 seconds`.
fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 60 == 0 && seconds > 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}

fn doubled(interval: Duration) -> Duration {
    interval.saturating_mul(2).min(LONGEST_INTERVAL)
}

impl Life {
    /// A life that waits for [`Event::Started`].
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let interval = rules.retry_interval;
        let settle = Settle { at: interval, interval, said: String::new() };
        Self {
            rules,
            phase: Phase::Idle,
            settle: Some(settle),
            need: None,
            locked: false,
            unsure: false,
            drained: false,
            rest: None,
            interval,
            said_window: false,
            said_inhibitors: Vec::new(),
            met_engine: false,
        }
    }

    /// Takes what happened; what is to be done now, in this order.
    pub fn step(&mut self, now: &Now, event: Event) -> Actions {
        let mut actions = match event {
            Event::Started => self.started(now),
            Event::Engine(status) => self.engine(status),
            Event::Status(sender, status) => self.status(sender, &status),
            other => self.ended(now, other),
        };
        if self.phase == Phase::Idle {
            actions.extend(self.idle(now));
        }
        actions
    }

    /// How long nothing is to be done, if nothing happens. `None` is forever.
    #[must_use]
    pub fn sleep(&self, now: &Now) -> Option<Duration> {
        let until = match self.phase {
            Phase::Delaying { until } | Phase::Retrying { until } | Phase::Rebooting { until } => Some(until),
            Phase::Idle => {
                let settle = self.settle.as_ref().map(|settle| settle.at);
                settle.into_iter().chain(self.need.as_ref().map(|_| self.next_try(now))).min()
            }
            _ => None,
        };
        until.map(|until| until.saturating_sub(now.running))
    }

    /// When what is needed is to be looked at again.
    fn next_try(&self, now: &Now) -> Duration {
        let rest = self.rest.unwrap_or(now.running);
        match self.wait_for_window(now) {
            Some(wait) => rest.max(now.running + wait.min(WALL_CLOCK_LOOK)),
            None => rest,
        }
    }

    /// How long the window stays shut. `None` where it is open, or where there is none.
    fn wait_for_window(&self, now: &Now) -> Option<Duration> {
        let window = self.rules.window.as_ref()?;
        if window.is_open(&now.wall) {
            return None;
        }
        let next = window.next(&now.wall)?;
        // At least a little: the window is not open yet.
        Some(next.start.duration_since(&now.wall).unsigned_abs().max(Duration::from_millis(1)))
    }

    fn started(&self, now: &Now) -> Actions {
        let mut actions = Vec::new();
        match &self.rules.window {
            Some(window) => {
                actions.push(log(Level::Info, format!("Reboot window {window}")));
                if let Some(next) = window.next(&now.wall) {
                    let text = format!("Next window begins at {} and ends at {}", next.start, next.end);
                    actions.push(log(Level::Info, text));
                }
            }
            None => actions.push(log(Level::Info, "No configured reboot window")),
        }
        actions.push(Action::Coordinate(State::Running));
        actions
    }

    fn engine(&mut self, status: EngineStatus) -> Actions {
        if std::mem::replace(&mut self.met_engine, true) {
            return self.status(Sender::Engine, &status);
        }
        let EngineStatus { operation, .. } = &status;
        let text = format!(
            "locksmithd starting currentOperation={operation:?} strategy=\"{}\"",
            self.rules.strategy
        );
        let mut actions = vec![log(Level::Info, text)];
        actions.extend(self.heard(Sender::Engine, &status));
        actions
    }

    fn status(&mut self, sender: Sender, status: &EngineStatus) -> Actions {
        let mut actions = vec![log(Level::Info, status.to_string())];
        actions.extend(self.heard(sender, status));
        actions
    }

    fn heard(&mut self, sender: Sender, status: &EngineStatus) -> Actions {
        if self.rules.strategy == Strategy::Off {
            return Vec::new();
        }
        let on_the_way = matches!(self.phase, Phase::Sending | Phase::Rebooting { .. });
        if status.needs_reboot() {
            let planned = self.need.is_some();
            if !planned {
                self.forget_way();
            }
            // The agent's word says the version, and can be taken back by it.
            if !planned || sender == Sender::Engine {
                self.need = Some(Need { sender, version: status.new_version.clone() });
            }
            return if planned || on_the_way {
                Vec::new()
            } else {
                vec![Action::Coordinate(State::RebootPlanned)]
            };
        }
        let taken_back = sender == Sender::Engine
            && self.need.as_ref().is_some_and(|need| need.sender == Sender::Engine)
            && !on_the_way;
        if !taken_back {
            return Vec::new();
        }
        self.need = None;
        self.forget_way();
        let text = format!("The reboot is called off: the update agent is at {}", status.operation);
        let mut actions = vec![log(Level::Notice, text), Action::Coordinate(State::Running)];
        if let Phase::Delaying { .. } = self.phase {
            actions.extend(self.go_back());
        }
        actions
    }

    fn forget_way(&mut self) {
        self.rest = None;
        self.interval = self.rules.retry_interval;
        self.said_window = false;
        self.said_inhibitors.clear();
    }

    /// What is under way has ended. What does not belong to it is late, and of no interest any more.
    fn ended(&mut self, now: &Now, event: Event) -> Actions {
        match (self.phase, event) {
            (Phase::Settling, event) => self.settling(now, event),
            (Phase::GoingBack, Event::Undrained(done)) => self.units_back(done),
            (Phase::GoingBack, Event::Released(done)) => self.released(now, done),
            (Phase::Retrying { until }, Event::Tick) if now.running >= until => self.go_back(),
            (Phase::Rebooting { until }, Event::Tick) if now.running >= until => {
                vec![log(Level::Error, "Tried to reboot but did not!"), Action::Exit(Exit::Failure)]
            }
            (Phase::Delaying { until }, Event::Tick) if now.running >= until => self.send(),
            (Phase::Inhibitors, Event::Inhibitors(found)) => self.inhibitors(now, found),
            (Phase::Etcd, Event::EtcdHere(here)) => self.lock_or_not(now, here),
            (Phase::Locking, Event::Locked(done)) => self.lock_ended(now, done),
            (Phase::Draining, Event::Drained) => self.moved_away(),
            (Phase::Warning, Event::Warned(terminals)) => self.warned(now, terminals),
            (Phase::Sending, Event::RebootSent(done)) => self.sent(now, done),
            _ => Vec::new(),
        }
    }

    /// Nothing is under way: what is due?
    fn idle(&mut self, now: &Now) -> Actions {
        if self.settle.as_ref().is_some_and(|settle| settle.at <= now.running) {
            self.phase = Phase::Settling;
            return vec![Action::AskHealth];
        }
        // A lock that is held until the next window blocks all other machines.
        if (self.need.is_none() || self.wait_for_window(now).is_some()) && self.may_have_lock() {
            return self.go_back();
        }
        if self.need.is_none() || self.rest.is_some_and(|rest| rest > now.running) {
            return Vec::new();
        }
        if let Some(wait) = self.wait_for_window(now) {
            if std::mem::replace(&mut self.said_window, true) {
                return Vec::new();
            }
            return vec![log(Level::Info, format!("Waiting for {} to reboot.", shown(wait)))];
        }
        self.said_window = false;
        self.phase = Phase::Inhibitors;
        vec![Action::AskInhibitors]
    }

    // Settling.

    fn settling(&mut self, now: &Now, event: Event) -> Actions {
        match event {
            Event::Health(Ok(())) => vec![Action::Undrain],
            Event::Health(Err(why)) => self.not_healthy(now, why),
            Event::Undrained(Err(why)) => {
                self.settle_later(now, Some(format!("Taking units back failed: {why}.")))
            }
            Event::Undrained(Ok(())) if self.rules.fleet_lock || self.rules.may_hold_lock => {
                vec![Action::Release]
            }
            Event::Undrained(Ok(())) => match self.rules.strategy {
                Strategy::EtcdLock => vec![Action::Release],
                Strategy::BestEffort => vec![Action::AskEtcd],
                Strategy::Reboot | Strategy::Off => self.settled(Vec::new()),
            },
            Event::EtcdHere(true) => vec![Action::Release],
            // It may yet be started.
            Event::EtcdHere(false) => self.settle_later(now, None),
            Event::Released(Ok(false)) => self.settled(Vec::new()),
            Event::Released(Ok(true)) => {
                self.settled(vec![log(Level::Info, "Unlocked existing lock for this machine")])
            }
            Event::Released(Err(why)) => {
                self.settle_later(now, Some(format!("Unlocking old locks failed: {why}.")))
            }
            _ => Vec::new(),
        }
    }

    fn not_healthy(&mut self, now: &Now, why: String) -> Actions {
        self.phase = Phase::Idle;
        let Some(settle) = &mut self.settle else { return Vec::new() };
        settle.at = now.running + self.rules.retry_interval;
        if settle.said == why {
            return Vec::new();
        }
        let text = format!("Not healthy yet, so the lock and the units stay as they are: {why}");
        settle.said = why;
        vec![log(Level::Notice, text)]
    }

    fn settled(&mut self, actions: Actions) -> Actions {
        self.phase = Phase::Idle;
        self.settle = None;
        self.unsure = false;
        let mut actions = actions;
        if self.rules.strategy == Strategy::Off {
            actions.push(Action::Exit(Exit::Success));
        }
        actions
    }

    fn settle_later(&mut self, now: &Now, failed: Option<String>) -> Actions {
        self.phase = Phase::Idle;
        let Some(settle) = &mut self.settle else { return Vec::new() };
        settle.interval = doubled(settle.interval);
        settle.at = now.running + settle.interval;
        let interval = settle.interval;
        let line = |text| log(Level::Error, format!("{text} Retrying in {}.", shown(interval)));
        failed.map(line).into_iter().collect()
    }

    // The way to a reboot.

    fn inhibitors(&mut self, now: &Now, found: Vec<String>) -> Actions {
        if self.need.is_none() {
            return self.go_back();
        }
        if found.is_empty() {
            self.said_inhibitors.clear();
            let asks = self.rules.strategy == Strategy::BestEffort && !self.rules.fleet_lock;
            if asks {
                self.phase = Phase::Etcd;
                return vec![Action::AskEtcd];
            }
            let locks = self.rules.fleet_lock || self.rules.strategy == Strategy::EtcdLock;
            return self.lock_or_not(now, locks);
        }
        let rest = self.rest_longer(now);
        self.phase = Phase::Idle;
        let mut actions = Vec::new();
        if found != self.said_inhibitors {
            let text = format!("The reboot is inhibited: {}. Retrying in {}.", found.join("; "), shown(rest));
            actions.push(log(Level::Notice, text));
            self.said_inhibitors = found;
        }
        if self.may_have_lock() {
            actions.extend(self.go_back());
        }
        actions
    }

    /// Whether an attempt with an unknown result may hold the lock; it is treated as held then. Before this boot is settled,
    /// the lock belongs to an earlier one.
    fn may_have_lock(&mut self) -> bool {
        let may = self.settle.is_none() && std::mem::take(&mut self.unsure);
        self.locked |= may;
        may
    }

    fn lock_or_not(&mut self, now: &Now, locks: bool) -> Actions {
        if !locks {
            return self.may_go(now);
        }
        self.phase = Phase::Locking;
        let version = self.need.as_ref().map_or("", |need| need.version.as_str());
        let reason = if version.is_empty() { "update".to_owned() } else { format!("update to {version}") };
        vec![Action::Lock { reason }]
    }

    fn lock_ended(&mut self, now: &Now, done: Result<Acquired, NotLocked>) -> Actions {
        match done {
            Ok(how) => {
                // What it had before belongs to an earlier boot, which settling gives back, or to an operator.
                self.locked = how == Acquired::Now;
                self.may_have_lock();
                self.may_go(now)
            }
            Err(not) => {
                let (NotLocked::Refused(why) | NotLocked::Unknown(why)) = &not;
                self.unsure |= matches!(not, NotLocked::Unknown(_));
                self.phase = Phase::Idle;
                let rest = self.rest_longer(now);
                let text = format!("Failed to acquire lock: {why}. Retrying in {}.", shown(rest));
                vec![log(Level::Warning, text)]
            }
        }
    }

    /// The lock is ours, or none is needed. Getting it may have taken hours.
    fn may_go(&mut self, now: &Now) -> Actions {
        if self.need.is_none() {
            return self.go_back();
        }
        if self.wait_for_window(now).is_some() {
            let mut actions = vec![log(Level::Notice, "The reboot window has closed meanwhile.")];
            actions.extend(self.go_back());
            return actions;
        }
        self.phase = Phase::Draining;
        // From the first word on: what was begun is to be taken back.
        self.drained = true;
        vec![Action::Drain]
    }

    fn moved_away(&mut self) -> Actions {
        if self.need.is_none() {
            return self.go_back();
        }
        self.phase = Phase::Warning;
        let time = in_words(self.rules.login_delay);
        vec![Action::Warn(format!("System reboot in {time}!"))]
    }

    fn warned(&mut self, now: &Now, terminals: usize) -> Actions {
        if self.need.is_none() {
            return self.go_back();
        }
        if terminals == 0 || self.rules.login_delay.is_zero() {
            return self.send();
        }
        let delay = self.rules.login_delay;
        self.phase = Phase::Delaying { until: now.running + delay };
        let time = in_words(delay);
        vec![log(Level::Notice, format!("Logins detected, delaying reboot for {time}."))]
    }

    fn send(&mut self) -> Actions {
        self.phase = Phase::Sending;
        vec![Action::Coordinate(State::Rebooting), Action::Reboot]
    }

    fn sent(&mut self, now: &Now, done: Result<(), String>) -> Actions {
        match done {
            Ok(()) => {
                self.phase = Phase::Rebooting { until: now.running + REBOOT_PATIENCE };
                vec![log(Level::Info, "Reboot sent. Going to sleep.")]
            }
            Err(why) => {
                let rest = self.rest_longer(now);
                let text = format!("The reboot was refused: {why}. Retrying in {}.", shown(rest));
                let mut actions = vec![log(Level::Error, text), Action::Coordinate(State::RebootPlanned)];
                actions.extend(self.go_back());
                actions
            }
        }
    }

    fn rest_longer(&mut self, now: &Now) -> Duration {
        self.interval = doubled(self.interval);
        self.rest = Some(now.running + self.interval);
        self.interval
    }

    // The way back.

    /// Units back, then the lock; then whatever is due.
    fn go_back(&mut self) -> Actions {
        self.phase = Phase::GoingBack;
        if self.drained {
            return vec![Action::Undrain];
        }
        if self.locked {
            return vec![Action::Release];
        }
        self.phase = Phase::Idle;
        Vec::new()
    }

    fn units_back(&mut self, done: Result<(), String>) -> Actions {
        self.drained = false;
        let mut actions = Vec::new();
        if let Err(why) = done {
            // Others wait for the lock; the next settling tries again.
            actions.push(log(Level::Error, format!("Taking units back failed: {why}.")));
            self.settle.get_or_insert(Settle {
                at: Duration::ZERO,
                interval: self.rules.retry_interval,
                said: String::new(),
            });
        }
        actions.extend(self.go_back());
        actions
    }

    fn released(&mut self, now: &Now, done: Result<bool, String>) -> Actions {
        match done {
            Ok(_) => {
                self.locked = false;
                self.phase = Phase::Idle;
                vec![log(Level::Info, "Released the lock: this machine does not reboot now")]
            }
            Err(why) => {
                self.interval = doubled(self.interval);
                self.phase = Phase::Retrying { until: now.running + self.interval };
                let text = format!("Unlocking failed: {why}. Retrying in {}.", shown(self.interval));
                vec![log(Level::Error, text)]
            }
        }
    }
}
