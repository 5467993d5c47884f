//! Explores every reachable state, with a bounded set of events: what is held is derived from the actions and
//! their results.
//!
//! The backoff is constant and times are relative to the current one, so that the states are finite.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::state::{Boot, Lock, Settle, State, Step};
use super::{Acquired, Action, Clocks, Config, Event, Exit, LockFailure, StateMachine};
use crate::engine::{EngineStatus, SignalSender};
use crate::limits::MAX_BACKOFF;
use crate::strategy::Strategy;
use crate::window::Window;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Held {
    No,
    Perhaps,
    Yes,
}

/// The machine and what is outside of it.
#[derive(Debug, Clone)]
struct World {
    machine: StateMachine,
    outstanding: Option<Action>,
    lock: Held,
    drained: bool,
}

fn clocks(monotonic: Duration, window_open: bool) -> Clocks {
    let time = jiff::civil::date(2026, 11, 21).at(if window_open { 10 } else { 12 }, 30, 0, 0);
    Clocks { monotonic, wall: time.to_zoned(TimeZone::UTC).unwrap() }
}

/// The results of an action; the first is success.
fn results(action: &Action) -> Vec<Event> {
    let failed = || "x".to_owned();
    match action {
        Action::CheckHealth => vec![Event::Health(Ok(())), Event::Health(Err(failed()))],
        Action::CheckEtcd => vec![Event::EtcdRunning(true), Event::EtcdRunning(false)],
        Action::ListInhibitors => vec![Event::Inhibitors(vec![]), Event::Inhibitors(vec![failed()])],
        Action::Lock { .. } => vec![
            Event::Locked(Ok(Acquired::New)),
            Event::Locked(Ok(Acquired::AlreadyHeld)),
            Event::Locked(Err(LockFailure::Refused(failed()))),
            Event::Locked(Err(LockFailure::Unknown(failed()))),
        ],
        Action::Release => vec![Event::Released(Ok(true)), Event::Released(Err(failed()))],
        Action::Drain => vec![Event::Drained],
        Action::Undrain => vec![Event::Undrained(Ok(())), Event::Undrained(Err(failed()))],
        Action::Warn(_) => vec![Event::Warned(1), Event::Warned(0)],
        Action::Reboot => vec![Event::RebootSent(Ok(())), Event::RebootSent(Err(failed()))],
        Action::Log(..) | Action::SetState(_) | Action::Exit(_) => vec![],
    }
}

fn withdrawal() -> Event {
    Event::StatusUpdate(SignalSender::Engine, EngineStatus::default())
}

/// The clock starts again at zero. A time that has passed is due either way.
fn rebase(state: &mut State, now: Duration) {
    let shift = |time: &mut Duration| *time = time.saturating_sub(now);
    match state {
        State::Delaying { until, .. }
        | State::Rebooting { until }
        | State::InProgress(Step::ReleaseBackoff { until, .. }, _) => shift(until),
        _ => {}
    }
    match state {
        State::Planned(_, plan)
        | State::InProgress(_, Some(plan))
        | State::Delaying { plan, .. }
        | State::RequestingReboot(_, plan) => shift(&mut plan.retry_at),
        _ => {}
    }
    if let Some(settle) = settle(state) {
        shift(&mut settle.at);
    }
}

fn settle(state: &mut State) -> Option<&mut Settle> {
    match state {
        State::Idle(settle)
        | State::InProgress(Step::Releasing(settle) | Step::ReleaseBackoff { settle, .. }, _) => {
            settle.as_mut()
        }
        State::InProgress(Step::Settling(_, settle), _) => Some(settle),
        State::Planned(boot, _)
        | State::InProgress(
            Step::ListingInhibitors(boot) | Step::CheckingEtcd(boot) | Step::Locking(boot),
            _,
        ) => of_boot(boot),
        State::InProgress(Step::Draining(lock) | Step::Warning(lock) | Step::Undraining(lock), _)
        | State::Delaying { lock, .. }
        | State::RequestingReboot(lock, _) => match lock {
            Lock::Held(settle) => settle.as_mut(),
            Lock::NotHeld(boot) => of_boot(boot),
        },
        State::Rebooting { .. } => None,
    }
}

fn of_boot(boot: &mut Boot) -> Option<&mut Settle> {
    match boot {
        Boot::Unsettled(settle) => Some(settle),
        Boot::Settled | Boot::LockUnknown => None,
    }
}

impl World {
    fn new(strategy: Strategy, fleet_lock: bool, may_hold_lock: bool) -> Self {
        let locks = matches!(strategy, Strategy::EtcdLock | Strategy::BestEffort);
        let config = Config {
            strategy,
            window: Some(Window::parse("10:00", "1h").unwrap()),
            fleet_lock,
            may_hold_lock,
            login_delay: MAX_BACKOFF,
            retry_interval: MAX_BACKOFF,
        };
        // An earlier boot has drained the machine and perhaps holds the lock.
        let lock = if locks || fleet_lock || may_hold_lock { Held::Perhaps } else { Held::No };
        Self { machine: StateMachine::new(config), outstanding: None, lock, drained: true }
    }

    fn timeout(&self, window_open: bool) -> Option<Duration> {
        self.machine.timeout(&clocks(Duration::ZERO, window_open))
    }

    /// Whether the event is the result of the outstanding action.
    fn completes(&self, event: &Event) -> bool {
        self.outstanding.as_ref().is_some_and(|action| results(action).contains(event))
    }

    fn after(&self, time: Duration, window_open: bool, event: &Event) -> Self {
        let mut next = self.clone();
        next.observe(event);
        let actions = next.machine.step(&clocks(time, window_open), event.clone());
        for action in actions {
            next.check(&action, window_open, event);
            match action {
                Action::Log(..) | Action::SetState(_) | Action::Exit(_) => {}
                action => {
                    assert_eq!(next.outstanding, None, "one action at a time: {self:?} {event:?}");
                    next.outstanding = Some(action);
                }
            }
        }
        rebase(&mut next.machine.state, time);
        next
    }

    fn observe(&mut self, event: &Event) {
        if self.completes(event) {
            self.outstanding = None;
        }
        match event {
            Event::Locked(Ok(Acquired::New)) => self.lock = Held::Yes,
            Event::Locked(Err(LockFailure::Unknown(_))) if self.lock == Held::No => self.lock = Held::Perhaps,
            Event::Released(Ok(_)) => self.lock = Held::No,
            Event::Undrained(Ok(())) => self.drained = false,
            _ => {}
        }
    }

    fn check(&mut self, action: &Action, window_open: bool, event: &Event) {
        match action {
            Action::Drain => {
                assert!(window_open, "drained outside the window: {self:?}");
                let lock_checked = matches!(event, Event::Locked(Ok(_)) | Event::EtcdRunning(false));
                assert!(lock_checked || !self.lock_needed(), "drained without the lock: {self:?}");
                self.drained = true;
            }
            Action::Lock { .. } => {
                let planned = matches!(self.machine.state, State::InProgress(Step::Locking(_), Some(_)));
                assert!(planned, "locks for no reboot: {self:?}");
            }
            Action::Reboot => assert!(self.drained, "not drained: {self:?}"),
            Action::Release => {
                let settling = matches!(self.machine.state, State::InProgress(Step::Settling(..), _));
                assert!(settling || self.lock != Held::No, "releases an operator's lock: {self:?}");
            }
            Action::Exit(Exit::Success) => self.assert_nothing_held(),
            _ => {}
        }
    }

    fn lock_needed(&self) -> bool {
        let Config { strategy, fleet_lock, .. } = &self.machine.config;
        *fleet_lock || *strategy != Strategy::Reboot
    }

    fn assert_nothing_held(&self) {
        assert_eq!((self.lock, self.drained), (Held::No, false), "{self:?}");
    }

    /// All worlds after one event, at every time that matters.
    fn successors(&self) -> Vec<Self> {
        let request = |sender| Event::StatusUpdate(sender, EngineStatus::need_reboot());
        let mut events =
            vec![Event::Tick, withdrawal(), request(SignalSender::Engine), request(SignalSender::Root)];
        events.extend(self.outstanding.iter().flat_map(results));
        let mut worlds = Vec::new();
        for window_open in [true, false] {
            worlds.extend(events.iter().map(|event| self.after(Duration::ZERO, window_open, event)));
            let due = self.timeout(window_open);
            worlds.extend(due.map(|time| self.after(time, window_open, &Event::Tick)));
        }
        worlds
    }

    /// Completes everything successfully until nothing is due.
    fn come_to_rest(mut self) -> Self {
        for _ in 0..20 {
            let result = self.outstanding.as_ref().map(|action| results(action).swap_remove(0));
            self = match (result, self.timeout(true)) {
                (Some(event), _) => self.after(Duration::ZERO, true, &event),
                (None, Some(time)) => self.after(time, true, &Event::Tick),
                (None, None) => return self,
            };
        }
        panic!("never at rest: {self:?}");
    }
}

/// Every world that is reachable after the start.
fn reachable(strategy: Strategy, fleet_lock: bool, may_hold_lock: bool) -> Vec<World> {
    let first = World::new(strategy, fleet_lock, may_hold_lock);
    let mut queue = VecDeque::from([first.after(Duration::ZERO, true, &Event::Started)]);
    let (mut known, mut worlds) = (HashSet::new(), Vec::new());
    while let Some(world) = queue.pop_front() {
        let World { machine, outstanding, lock, drained } = &world;
        if known.insert(format!("{:?} {outstanding:?} {lock:?} {drained}", machine.state)) {
            queue.extend(world.successors());
            worlds.push(world);
        }
    }
    worlds
}

#[test]
fn cancelled_request_leaves_nothing_held() {
    for (strategy, fleet_lock, may_hold_lock) in [
        (Strategy::Reboot, false, false),
        (Strategy::Reboot, true, false),
        (Strategy::EtcdLock, false, false),
        (Strategy::BestEffort, false, false),
        (Strategy::Off, false, true),
    ] {
        let worlds = reachable(strategy, fleet_lock, may_hold_lock);
        let reboots = worlds.iter().any(|world| matches!(world.machine.state, State::Rebooting { .. }));
        assert_eq!(reboots, strategy != Strategy::Off);
        for world in worlds {
            let cancelled = world.after(Duration::ZERO, true, &withdrawal());
            match &cancelled.machine.state {
                State::Idle(_) | State::InProgress(_, None) => cancelled.come_to_rest().assert_nothing_held(),
                // Requested by an operator, or too late.
                _ => {}
            }
        }
    }
}
