//! Scenarios as sequences of events and expected actions. Long because each test is one scenario.

use std::time::Duration;

use jiff::Zoned;
use jiff::tz::TimeZone;

use super::{Acquired, Action, Clocks, Config, Event, Level, LockFailure, StateMachine};
use crate::engine::{EngineStatus, NEED_REBOOT, SignalSender};
use crate::strategy::Strategy;
use crate::window::Window;

/// A state machine with both clocks, which advance together unless one is set.
struct Harness {
    state_machine: StateMachine,
    now: Clocks,
}

fn at(time: &str) -> Zoned {
    time.parse::<jiff::civil::DateTime>().unwrap().to_zoned(TimeZone::UTC).unwrap()
}

fn config(strategy: Strategy, window: Option<(&str, &str)>) -> Config {
    Config {
        strategy,
        window: window.map(|(start, length)| Window::parse(start, length).unwrap()),
        fleet_lock: false,
        may_hold_lock: false,
        login_delay: Duration::from_secs(300),
        retry_interval: Duration::from_secs(5),
    }
}

fn status(operation: &str) -> EngineStatus {
    let version = if operation == NEED_REBOOT { "2.0.0" } else { "0.0.0" };
    EngineStatus { operation: operation.into(), new_version: version.into(), ..EngineStatus::default() }
}

fn taken() -> Event {
    Event::Locked(Err(LockFailure::Refused("semaphore is at 0".into())))
}

fn timed_out() -> Event {
    Event::Locked(Err(LockFailure::Unknown("timeout".into())))
}

fn reboot_needed() -> Event {
    Event::StatusUpdate(SignalSender::Engine, status(NEED_REBOOT))
}

fn format_action(action: &Action) -> String {
    match action {
        Action::Log(Level::Info | Level::Notice, text) => text.clone(),
        Action::Log(level, text) => format!("{level:?}: {text}"),
        Action::Lock { reason } => format!("<lock for {reason}>"),
        Action::Warn(text) => format!("<warn {text}>"),
        Action::SetState(state) => format!("<{state}>"),
        other => format!("<{other:?}>"),
    }
}

impl Harness {
    fn new(config: Config) -> Self {
        Self {
            state_machine: StateMachine::new(config),
            now: Clocks { monotonic: Duration::ZERO, wall: at("2026-11-21T10:00:00") },
        }
    }

    /// Started and settled, at 10:00:05.
    fn settled(config: Config) -> Self {
        let locks = config.strategy != Strategy::Reboot || config.fleet_lock;
        let asks = config.strategy == Strategy::BestEffort && !config.fleet_lock;
        let mut machine = Self::new(config);
        machine.step(Event::Started);
        machine.sleep("5s");
        machine.step(Event::Health(Ok(())));
        machine.step(Event::Undrained(Ok(())));
        if asks {
            machine.step(Event::EtcdRunning(true));
        }
        if locks {
            machine.step(Event::Released(Ok(false)));
        }
        assert_eq!(machine.state_machine.timeout(&machine.now), None, "nothing is due");
        machine
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        self.state_machine.step(&self.now, event).iter().map(format_action).collect()
    }

    /// Handles the event and checks the actions, without the log line of a status.
    #[track_caller]
    fn assert_step(&mut self, event: Event, expect: &[&str]) {
        let mut got = self.step(event);
        got.retain(|line| !line.starts_with("LastCheckedTime="));
        assert_eq!(got, expect);
    }

    fn advance(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall = self.now.wall.checked_add(jiff::SignedDuration::try_from(time).unwrap()).unwrap();
    }

    /// Checks the timeout, lets it expire and returns the actions.
    #[track_caller]
    fn sleep(&mut self, expect: &str) -> Vec<String> {
        let time = self.state_machine.timeout(&self.now).expect("it has nothing to wait for");
        assert_eq!(go_compat::format_duration(time), expect);
        self.advance(time);
        self.step(Event::Tick)
    }
}

#[test]
fn settles_after_a_reboot() {
    let mut machine = Harness::new(config(Strategy::EtcdLock, None));
    machine.assert_step(Event::Started, &["No configured reboot window", "<running>"]);
    machine.assert_step(
        Event::EngineAppeared(status("UPDATE_STATUS_IDLE")),
        &["locksmithd starting currentOperation=\"UPDATE_STATUS_IDLE\" strategy=\"etcd-lock\""],
    );
    assert_eq!(machine.sleep("5s"), ["<CheckHealth>"]);
    machine.assert_step(Event::Health(Ok(())), &["<Undrain>"]);
    machine.assert_step(Event::Undrained(Ok(())), &["<Release>"]);
    machine.assert_step(
        Event::Released(Err("no etcd".into())),
        &["Error: Unlocking old locks failed: no etcd. Retrying in 10s."],
    );
    assert_eq!(machine.sleep("10s"), ["<CheckHealth>"]);
    machine.assert_step(Event::Health(Ok(())), &["<Undrain>"]);
    machine.assert_step(Event::Undrained(Ok(())), &["<Release>"]);
    machine.assert_step(Event::Released(Ok(true)), &["Unlocked existing lock for this machine"]);
    assert_eq!(machine.state_machine.timeout(&machine.now), None);
    // A returning engine is not a start.
    assert!(
        machine.step(Event::EngineAppeared(status("UPDATE_STATUS_IDLE")))[0]
            .starts_with("LastCheckedTime=0 ")
    );
}

#[test]
fn unhealthy_machine_keeps_its_lock_and_stays_drained() {
    let mut machine = Harness::new(config(Strategy::EtcdLock, None));
    machine.step(Event::Started);
    machine.sleep("5s");
    let expected =
        "Not healthy yet, so the lock and the units stay as they are: boot-complete.target is inactive";
    let unhealthy = || Event::Health(Err("boot-complete.target is inactive".into()));
    machine.assert_step(unhealthy(), &[expected]);
    for _ in 0..1000 {
        assert_eq!(machine.sleep("5s"), ["<CheckHealth>"]);
        machine.assert_step(unhealthy(), &[]);
    }
    machine.sleep("5s");
    machine.assert_step(Event::Health(Ok(())), &["<Undrain>"]);
}

#[test]
fn backoff_doubles_up_to_five_minutes() {
    let mut machine = Harness::new(config(Strategy::EtcdLock, None));
    machine.step(Event::Started);
    for wait in ["5s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"] {
        assert_eq!(machine.sleep(wait), ["<CheckHealth>"]);
        machine.step(Event::Health(Ok(())));
        machine.step(Event::Undrained(Ok(())));
        machine.step(Event::Released(Err("x".into())));
    }
}

#[test]
fn complete_reboot_with_lock() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, None));
    machine.assert_step(reboot_needed(), &["<reboot-planned>", "<ListInhibitors>"]);
    machine.assert_step(Event::Inhibitors(vec![]), &["<lock for update to 2.0.0>"]);
    machine.assert_step(taken(), &["Warning: Failed to acquire lock: semaphore is at 0. Retrying in 10s."]);
    assert_eq!(machine.sleep("10s"), ["<ListInhibitors>"]);
    machine.assert_step(Event::Inhibitors(vec![]), &["<lock for update to 2.0.0>"]);
    machine.assert_step(taken(), &["Warning: Failed to acquire lock: semaphore is at 0. Retrying in 20s."]);
    machine.sleep("20s");
    machine.step(Event::Inhibitors(vec![]));
    machine.assert_step(Event::Locked(Ok(Acquired::New)), &["<Drain>"]);
    machine.assert_step(Event::Drained, &["<warn System reboot in 5 minutes!>"]);
    machine.assert_step(Event::Warned(2), &["Logins detected, delaying reboot for 5 minutes."]);
    assert_eq!(machine.sleep("5m0s"), ["<rebooting>", "<Reboot>"]);
    machine.assert_step(Event::RebootSent(Ok(())), &["Reboot sent. Going to sleep."]);
    // An engine that shuts down is too late to withdraw.
    machine.assert_step(Event::StatusUpdate(SignalSender::Engine, status("UPDATE_STATUS_IDLE")), &[]);
    assert_eq!(machine.sleep("168h0m0s"), ["Error: Tried to reboot but did not!", "<Exit(Failure)>"]);
}

#[test]
fn request_withdrawn_while_etcd_is_checked_acquires_no_lock() {
    let mut machine = Harness::settled(config(Strategy::BestEffort, None));
    machine.step(reboot_needed());
    machine.assert_step(Event::Inhibitors(vec![]), &["<CheckEtcd>"]);
    machine.step(Event::StatusUpdate(SignalSender::Engine, status("UPDATE_STATUS_IDLE")));
    machine.assert_step(Event::EtcdRunning(true), &[]);
    assert_eq!(machine.state_machine.timeout(&machine.now), None, "nothing is held or due");
}

#[test]
fn reboot_without_lock() {
    let mut machine = Harness::settled(config(Strategy::Reboot, None));
    machine.assert_step(reboot_needed(), &["<reboot-planned>", "<ListInhibitors>"]);
    machine.assert_step(Event::Inhibitors(vec![]), &["<Drain>"]);
    machine.assert_step(Event::Drained, &["<warn System reboot in 5 minutes!>"]);
    machine.assert_step(Event::Warned(0), &["<rebooting>", "<Reboot>"]);
}

#[test]
fn best_effort_locks_if_etcd_is_running() {
    for (etcd_running, expect) in [(true, "<lock for update to 2.0.0>"), (false, "<Drain>")] {
        let mut machine = Harness::settled(config(Strategy::BestEffort, None));
        machine.step(reboot_needed());
        machine.assert_step(Event::Inhibitors(vec![]), &["<CheckEtcd>"]);
        machine.assert_step(Event::EtcdRunning(etcd_running), &[expect]);
    }
    // With a FleetLock server the local etcd does not matter.
    for strategy in [Strategy::Reboot, Strategy::BestEffort, Strategy::EtcdLock] {
        let mut machine = Harness::settled(Config { fleet_lock: true, ..config(strategy, None) });
        machine.step(reboot_needed());
        machine.assert_step(Event::Inhibitors(vec![]), &["<lock for update to 2.0.0>"]);
    }
}

#[test]
fn best_effort_settles_once_etcd_is_running() {
    let mut machine = Harness::new(config(Strategy::BestEffort, None));
    machine.step(Event::Started);
    for (wait, etcd_running) in [("5s", false), ("10s", false), ("20s", true)] {
        assert_eq!(machine.sleep(wait), ["<CheckHealth>"]);
        machine.step(Event::Health(Ok(())));
        machine.assert_step(Event::Undrained(Ok(())), &["<CheckEtcd>"]);
        machine
            .assert_step(Event::EtcdRunning(etcd_running), if etcd_running { &["<Release>"] } else { &[] });
    }
    machine.assert_step(Event::Released(Ok(true)), &["Unlocked existing lock for this machine"]);
}

#[test]
fn waits_for_the_window() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, Some(("15:02", "1h"))));
    machine.assert_step(reboot_needed(), &["<reboot-planned>", "Waiting for 5h1m55s to reboot."]);
    // The wall clock is polled: it may be changed.
    assert_eq!(machine.sleep("1m0s"), [""; 0]);
    machine.now.wall = at("2026-11-21T15:01:30");
    machine.assert_step(Event::Tick, &[]);
    assert_eq!(machine.sleep("30s"), ["<ListInhibitors>"]);
}

#[test]
fn start_logs_the_window() {
    let mut machine = Harness::new(config(Strategy::Reboot, Some(("14:00", "1h"))));
    machine.assert_step(
        Event::Started,
        &[
            "Reboot window start is \"14:00\" and length is \"1h\"",
            "Next window begins at 2026-11-21T14:00:00+00:00[UTC] and ends at 2026-11-21T15:00:00+00:00[UTC]",
            "<running>",
        ],
    );
}

#[test]
fn lock_acquired_after_the_window_is_released() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, Some(("10:00", "1h"))));
    machine.step(reboot_needed());
    machine.step(Event::Inhibitors(vec![]));
    machine.advance(Duration::from_secs(3600));
    machine.assert_step(Event::Locked(Ok(Acquired::New)), &["The reboot window has closed.", "<Release>"]);
    machine.assert_step(
        Event::Released(Err("no etcd".into())),
        &["Error: Unlocking failed: no etcd. Retrying in 10s."],
    );
    assert_eq!(machine.sleep("10s"), ["<Release>"]);
    machine.assert_step(
        Event::Released(Ok(true)),
        &["Released the lock: this machine does not reboot now", "Waiting for 22h59m45s to reboot."],
    );
}

#[test]
fn waits_for_the_next_window_if_the_lock_is_taken() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, Some(("10:00", "20s"))));
    machine.step(reboot_needed());
    machine.step(Event::Inhibitors(vec![]));
    machine.assert_step(taken(), &["Warning: Failed to acquire lock: semaphore is at 0. Retrying in 10s."]);
    machine.advance(Duration::from_secs(10));
    machine.assert_step(Event::Tick, &["<ListInhibitors>"]);
    machine.step(Event::Inhibitors(vec![]));
    machine.step(taken());
    assert_eq!(machine.sleep("20s"), ["Waiting for 23h59m25s to reboot."]);
}

#[test]
fn inhibitors_are_honoured_before_locking() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, None));
    machine.step(reboot_needed());
    let found = || Event::Inhibitors(vec!["backup (writing)".into()]);
    machine.assert_step(found(), &["The reboot is inhibited: backup (writing). Retrying in 10s."]);
    assert_eq!(machine.sleep("10s"), ["<ListInhibitors>"]);
    machine.assert_step(found(), &[]);
    assert_eq!(machine.sleep("20s"), ["<ListInhibitors>"]);
    machine.assert_step(Event::Inhibitors(vec![]), &["<lock for update to 2.0.0>"]);
}

#[test]
fn refused_reboot_is_rolled_back() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, None));
    machine.step(reboot_needed());
    machine.step(Event::Inhibitors(vec![]));
    machine.step(Event::Locked(Ok(Acquired::New)));
    machine.step(Event::Drained);
    machine.step(Event::Warned(0));
    machine.assert_step(
        Event::RebootSent(Err("inhibited by backup".into())),
        &[
            "Error: The reboot was refused: inhibited by backup. Retrying in 10s.",
            "<reboot-planned>",
            "<Undrain>",
        ],
    );
    machine.assert_step(Event::Undrained(Ok(())), &["<Release>"]);
    machine.assert_step(Event::Released(Ok(true)), &["Released the lock: this machine does not reboot now"]);
    assert_eq!(machine.sleep("10s"), ["<ListInhibitors>"]);
}

#[test]
fn failed_undrain_is_retried() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, None));
    machine.step(reboot_needed());
    machine.step(Event::Inhibitors(vec![]));
    machine.step(Event::Locked(Ok(Acquired::New)));
    machine.step(Event::StatusUpdate(SignalSender::Engine, status("UPDATE_STATUS_IDLE")));
    machine.assert_step(Event::Drained, &["<Undrain>"]);
    machine.assert_step(
        Event::Undrained(Err("no fleet".into())),
        &["Error: Taking units back failed: no fleet.", "<Release>"],
    );
    machine.assert_step(
        Event::Released(Ok(true)),
        &["Released the lock: this machine does not reboot now", "<CheckHealth>"],
    );
    machine.assert_step(Event::Health(Ok(())), &["<Undrain>"]);
}

#[test]
fn engine_may_withdraw_the_reboot() {
    let idle = || Event::StatusUpdate(SignalSender::Engine, status("UPDATE_STATUS_IDLE"));
    let off = ["The reboot is called off: the update agent is at UPDATE_STATUS_IDLE", "<running>"];
    let mut machine = Harness::settled(config(Strategy::EtcdLock, None));
    machine.step(reboot_needed());
    machine.assert_step(idle(), &off);
    machine.assert_step(Event::Inhibitors(vec![]), &[]);
    // While the lock is acquired,
    machine.step(reboot_needed());
    machine.step(Event::Inhibitors(vec![]));
    machine.assert_step(idle(), &off);
    machine.assert_step(Event::Locked(Ok(Acquired::New)), &["<Release>"]);
    machine.step(Event::Released(Ok(true)));
    // and during the login delay.
    machine.step(reboot_needed());
    machine.step(Event::Inhibitors(vec![]));
    machine.step(Event::Locked(Ok(Acquired::New)));
    machine.step(Event::Drained);
    machine.step(Event::Warned(1));
    machine.assert_step(idle(), &[off[0], off[1], "<Undrain>"]);
    machine.assert_step(Event::Undrained(Ok(())), &["<Release>"]);
    machine.step(Event::Released(Ok(true)));
    assert_eq!(machine.state_machine.timeout(&machine.now), None);
}

#[test]
fn engine_cannot_withdraw_an_operators_request() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, Some(("15:00", "1h"))));
    machine.assert_step(
        Event::StatusUpdate(SignalSender::Root, EngineStatus::need_reboot()),
        &["<reboot-planned>", "Waiting for 4h59m55s to reboot."],
    );
    machine.assert_step(Event::StatusUpdate(SignalSender::Engine, status("UPDATE_STATUS_IDLE")), &[]);
    machine.now.wall = at("2026-11-21T15:00:00");
    machine.assert_step(Event::Tick, &["<ListInhibitors>"]);
    machine.assert_step(Event::Inhibitors(vec![]), &["<lock for update>"]);
    // A repeated request has no effect.
    machine.assert_step(Event::StatusUpdate(SignalSender::Root, EngineStatus::need_reboot()), &[]);
}

#[test]
fn update_of_an_unhealthy_machine_reuses_its_lock() {
    let mut machine = Harness::new(config(Strategy::EtcdLock, Some(("10:00", "1h"))));
    machine.step(Event::Started);
    machine.sleep("5s");
    machine.step(Event::Health(Err("x".into())));
    machine.assert_step(reboot_needed(), &["<reboot-planned>", "<ListInhibitors>"]);
    machine.step(Event::Inhibitors(vec![]));
    // Kept although the window has closed: the machine is unhealthy.
    machine.advance(Duration::from_secs(3600));
    machine.assert_step(
        Event::Locked(Ok(Acquired::AlreadyHeld)),
        &["The reboot window has closed.", "<CheckHealth>"],
    );
    machine.assert_step(
        Event::Health(Err("y".into())),
        &[
            "Not healthy yet, so the lock and the units stay as they are: y",
            "Waiting for 22h59m55s to reboot.",
        ],
    );
    // Not acquired in vain while waiting for the window.
    assert_eq!(machine.sleep("5s"), ["<CheckHealth>"]);
    machine.assert_step(Event::Health(Ok(())), &["<Undrain>"]);
    machine.assert_step(Event::Undrained(Ok(())), &["<Release>"]);
}

#[test]
fn drain_and_login_delay_do_not_end_in_a_reboot_outside_the_window() {
    const CLOSED: &str = "The reboot window has closed.";
    let draining = || {
        let mut machine = Harness::settled(config(Strategy::EtcdLock, Some(("10:00", "1h"))));
        machine.step(reboot_needed());
        machine.step(Event::Inhibitors(vec![]));
        machine.assert_step(Event::Locked(Ok(Acquired::New)), &["<Drain>"]);
        machine
    };
    let mut machine = draining();
    machine.advance(Duration::from_secs(3600));
    machine.assert_step(Event::Drained, &[CLOSED, "<Undrain>"]);
    machine.assert_step(Event::Undrained(Ok(())), &["<Release>"]);

    // The wall clock is set forward.
    let mut machine = draining();
    machine.step(Event::Drained);
    machine.step(Event::Warned(1));
    machine.now.wall = at("2026-11-21T11:00:01");
    assert_eq!(machine.sleep("5m0s"), [CLOSED, "<Undrain>"]);
}

#[test]
fn login_delay_ends_before_the_window_does() {
    let warned = |window, seconds, text: &str, delay: &str| {
        let mut machine = Harness::settled(config(Strategy::EtcdLock, Some(window)));
        machine.step(reboot_needed());
        machine.step(Event::Inhibitors(vec![]));
        machine.step(Event::Locked(Ok(Acquired::New)));
        machine.advance(Duration::from_secs(seconds));
        machine.assert_step(Event::Drained, &[&format!("<warn System reboot in {text}!>")]);
        let delayed = format!("Logins detected, delaying reboot for {text}.");
        machine.assert_step(Event::Warned(1), &[&delayed]);
        assert_eq!(machine.sleep(delay), ["<rebooting>", "<Reboot>"]);
    };
    // A window that is shorter than the delay, from its fifth second.
    warned(("10:00", "3m"), 0, "170 seconds", "2m50s");
    warned(("10:00", "1h"), 3400, "190 seconds", "3m10s");
    warned(("10:00", "1h"), 3000, "5 minutes", "5m0s");
}

#[test]
fn login_delay_is_none_at_the_end_of_the_window() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, Some(("10:00", "1m"))));
    machine.step(reboot_needed());
    machine.step(Event::Inhibitors(vec![]));
    machine.step(Event::Locked(Ok(Acquired::New)));
    machine.advance(Duration::from_secs(50));
    machine.assert_step(Event::Drained, &["<warn System reboot in 0 seconds!>"]);
    machine.assert_step(Event::Warned(1), &["<rebooting>", "<Reboot>"]);
}

#[test]
fn rollback_of_an_unhealthy_machine_keeps_its_lock_and_its_units_away() {
    let mut machine = Harness::new(config(Strategy::EtcdLock, None));
    machine.step(Event::Started);
    machine.sleep("5s");
    machine.step(Event::Health(Err("x".into())));
    machine.step(reboot_needed());
    machine.step(Event::Inhibitors(vec![]));
    machine.step(Event::Locked(Ok(Acquired::AlreadyHeld)));
    machine.assert_step(
        Event::StatusUpdate(SignalSender::Engine, status("UPDATE_STATUS_IDLE")),
        &["The reboot is called off: the update agent is at UPDATE_STATUS_IDLE", "<running>"],
    );
    machine.assert_step(Event::Drained, &[]);
    machine.advance(Duration::from_secs(30));
    machine.assert_step(Event::Tick, &["<CheckHealth>"]);
    machine.assert_step(Event::Health(Ok(())), &["<Undrain>"]);
    machine.assert_step(Event::Undrained(Ok(())), &["<Release>"]);
}

#[test]
fn unhealthy_machine_keeps_its_lock_after_a_failed_acquire() {
    let mut machine = Harness::new(config(Strategy::EtcdLock, Some(("10:00", "1h"))));
    machine.step(Event::Started);
    machine.step(reboot_needed());
    machine.step(Event::Inhibitors(vec![]));
    machine.step(timed_out());
    assert_eq!(machine.sleep("5s"), ["<CheckHealth>"]);
    machine.step(Event::Health(Err("x".into())));
    machine.advance(Duration::from_secs(3600));
    machine.assert_step(Event::Tick, &["<CheckHealth>"]);
    machine.now.wall = at("2026-11-22T10:59:59");
    machine.assert_step(Event::Health(Err("x".into())), &["<ListInhibitors>"]);
    machine.step(Event::Inhibitors(vec![]));
    machine.now.wall = at("2026-11-22T11:00:01");
    let got = machine.step(Event::Locked(Ok(Acquired::AlreadyHeld)));
    assert!(!got.contains(&"<Release>".to_owned()), "{got:?}");
}

#[test]
fn lock_of_unknown_state_is_released() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, Some(("10:00", "1h"))));
    machine.step(reboot_needed());
    machine.step(Event::Inhibitors(vec![]));
    machine.step(timed_out());
    machine.sleep("10s");
    machine.step(Event::Inhibitors(vec![]));
    machine.advance(Duration::from_secs(3600));
    machine.assert_step(
        Event::Locked(Ok(Acquired::AlreadyHeld)),
        &["The reboot window has closed.", "<Release>"],
    );
}

#[test]
fn lock_of_unknown_state_is_released_when_the_attempt_ends() {
    let locking = |window| {
        let mut machine = Harness::settled(config(Strategy::EtcdLock, window));
        machine.step(reboot_needed());
        machine.step(Event::Inhibitors(vec![]));
        machine
    };
    let failed = "Warning: Failed to acquire lock: timeout. Retrying in 10s.";
    // The window closes,
    let mut machine = locking(Some(("10:00", "1h")));
    machine.advance(Duration::from_secs(3600));
    machine.assert_step(timed_out(), &[failed, "<Release>"]);
    machine.step(Event::Released(Ok(true)));
    // or closes during the backoff,
    let mut machine = locking(Some(("10:00", "1h")));
    machine.assert_step(timed_out(), &[failed]);
    machine.advance(Duration::from_secs(3600));
    machine.assert_step(Event::Tick, &["<Release>"]);
    // the update is withdrawn,
    let mut machine = locking(None);
    machine.step(timed_out());
    let got = machine.step(Event::StatusUpdate(SignalSender::Engine, status("UPDATE_STATUS_IDLE")));
    assert_eq!(got.last().unwrap(), "<Release>");
    // or an inhibitor appears.
    let mut machine = locking(None);
    machine.step(timed_out());
    machine.sleep("10s");
    let got = machine.step(Event::Inhibitors(vec!["backup".into()]));
    assert_eq!(got.last().unwrap(), "<Release>");
    // A lock held by others is not released.
    let mut machine = locking(Some(("10:00", "1h")));
    machine.advance(Duration::from_secs(3600));
    let got = machine.step(taken());
    assert!(!got.contains(&"<Release>".to_owned()), "{got:?}");
}

#[test]
fn strategy_change_releases_earlier_lock_and_drain() {
    for strategy in [Strategy::Reboot, Strategy::Off] {
        let mut machine = Harness::new(Config { may_hold_lock: true, ..config(strategy, None) });
        machine.step(Event::Started);
        machine.sleep("5s");
        machine.assert_step(Event::Health(Ok(())), &["<Undrain>"]);
        machine.assert_step(Event::Undrained(Ok(())), &["<Release>"]);
        let unlocked = "Unlocked existing lock for this machine";
        let expect: &[&str] =
            if strategy == Strategy::Off { &[unlocked, "<Exit(Success)>"] } else { &[unlocked] };
        machine.assert_step(Event::Released(Ok(true)), expect);
    }
    // Drained without a lock. No reboot is planned meanwhile.
    let mut machine = Harness::new(config(Strategy::Off, None));
    machine.step(Event::Started);
    machine.assert_step(reboot_needed(), &[]);
    machine.sleep("5s");
    machine.step(Event::Health(Ok(())));
    machine.assert_step(Event::Undrained(Ok(())), &["<Exit(Success)>"]);
}

#[test]
fn operators_lock_is_not_released() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, Some(("10:00", "1h"))));
    machine.step(reboot_needed());
    machine.step(Event::Inhibitors(vec![]));
    machine.advance(Duration::from_secs(3600));
    machine.assert_step(
        Event::Locked(Ok(Acquired::AlreadyHeld)),
        &["The reboot window has closed.", "Waiting for 22h59m55s to reboot."],
    );
}

#[test]
fn late_completions_are_ignored() {
    let mut machine = Harness::settled(config(Strategy::EtcdLock, None));
    for stale in [
        Event::Tick,
        Event::Health(Ok(())),
        Event::Locked(Ok(Acquired::New)),
        Event::Drained,
        Event::Warned(0),
        Event::RebootSent(Ok(())),
        Event::Released(Ok(true)),
    ] {
        machine.assert_step(stale, &[]);
    }
}
