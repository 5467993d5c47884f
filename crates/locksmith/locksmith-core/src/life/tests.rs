//! Whole lives, told as what happens and what is done about it. Long because each test is one story.

use std::time::Duration;

use jiff::Zoned;
use jiff::tz::TimeZone;

use super::{Acquired, Action, Event, Level, Life, NotLocked, Now, Rules};
use crate::engine::{EngineStatus, NEED_REBOOT, Sender};
use crate::strategy::Strategy;
use crate::window::Window;

/// A life with both its clocks, which go on together unless they are set.
struct Told {
    life: Life,
    now: Now,
}

fn at(time: &str) -> Zoned {
    time.parse::<jiff::civil::DateTime>().unwrap().to_zoned(TimeZone::UTC).unwrap()
}

fn rules(strategy: Strategy, window: Option<(&str, &str)>) -> Rules {
    Rules {
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
    Event::Locked(Err(NotLocked::Refused("semaphore is at 0".into())))
}

fn timed_out() -> Event {
    Event::Locked(Err(NotLocked::Unknown("timeout".into())))
}

fn need() -> Event {
    Event::Status(Sender::Engine, status(NEED_REBOOT))
}

fn shown(action: &Action) -> String {
    match action {
        Action::Log(Level::Info | Level::Notice, text) => text.clone(),
        Action::Log(level, text) => format!("{level:?}: {text}"),
        Action::Lock { reason } => format!("<lock for {reason}>"),
        Action::Warn(text) => format!("<warn {text}>"),
        Action::Coordinate(state) => format!("<{state}>"),
        other => format!("<{other:?}>"),
    }
}

impl Told {
    fn new(rules: Rules) -> Self {
        Self { life: Life::new(rules), now: Now { running: Duration::ZERO, wall: at("2026-11-21T10:00:00") } }
    }

    /// One that has started, on a machine that has settled, at 10:00:05.
    fn settled(rules: Rules) -> Self {
        let locks = rules.strategy != Strategy::Reboot || rules.fleet_lock;
        let asks = rules.strategy == Strategy::BestEffort && !rules.fleet_lock;
        let mut told = Self::new(rules);
        told.happens(Event::Started);
        told.sleeps("5s");
        told.happens(Event::Health(Ok(())));
        told.happens(Event::Undrained(Ok(())));
        if asks {
            told.happens(Event::EtcdHere(true));
        }
        if locks {
            told.happens(Event::Released(Ok(false)));
        }
        assert_eq!(told.life.sleep(&told.now), None, "nothing is due");
        told
    }

    fn happens(&mut self, event: Event) -> Vec<String> {
        self.life.step(&self.now, event).iter().map(shown).collect()
    }

    /// Lets the event happen; what is done about it, but for the log's copy of a status.
    #[track_caller]
    fn then(&mut self, event: Event, expect: &[&str]) {
        let mut got = self.happens(event);
        got.retain(|line| !line.starts_with("LastCheckedTime="));
        assert_eq!(got, expect);
    }

    fn pass(&mut self, time: Duration) {
        self.now.running += time;
        self.now.wall = self.now.wall.checked_add(jiff::SignedDuration::try_from(time).unwrap()).unwrap();
    }

    /// Sleeps as long as it wants to, which is so long, and wakes up.
    #[track_caller]
    fn sleeps(&mut self, expect: &str) -> Vec<String> {
        let time = self.life.sleep(&self.now).expect("it has nothing to wait for");
        assert_eq!(etcd_api::format_go_duration(time), expect);
        self.pass(time);
        self.happens(Event::Tick)
    }
}

#[test]
fn a_start_after_a_reboot() {
    let mut told = Told::new(rules(Strategy::EtcdLock, None));
    told.then(Event::Started, &["No configured reboot window", "<running>"]);
    told.then(
        Event::Engine(status("UPDATE_STATUS_IDLE")),
        &["locksmithd starting currentOperation=\"UPDATE_STATUS_IDLE\" strategy=\"etcd-lock\""],
    );
    assert_eq!(told.sleeps("5s"), ["<AskHealth>"]);
    told.then(Event::Health(Ok(())), &["<Undrain>"]);
    told.then(Event::Undrained(Ok(())), &["<Release>"]);
    told.then(
        Event::Released(Err("no etcd".into())),
        &["Error: Unlocking old locks failed: no etcd. Retrying in 10s."],
    );
    assert_eq!(told.sleeps("10s"), ["<AskHealth>"]);
    told.then(Event::Health(Ok(())), &["<Undrain>"]);
    told.then(Event::Undrained(Ok(())), &["<Release>"]);
    told.then(Event::Released(Ok(true)), &["Unlocked existing lock for this machine"]);
    assert_eq!(told.life.sleep(&told.now), None);
    // An agent that comes back is not a start.
    assert!(told.happens(Event::Engine(status("UPDATE_STATUS_IDLE")))[0].starts_with("LastCheckedTime=0 "));
}

#[test]
fn a_machine_that_is_not_healthy_keeps_its_lock_and_stays_empty() {
    let mut told = Told::new(rules(Strategy::EtcdLock, None));
    told.happens(Event::Started);
    told.sleeps("5s");
    let says =
        "Not healthy yet, so the lock and the units stay as they are: boot-complete.target is inactive";
    let ill = || Event::Health(Err("boot-complete.target is inactive".into()));
    told.then(ill(), &[says]);
    for _ in 0..1000 {
        assert_eq!(told.sleeps("5s"), ["<AskHealth>"]);
        told.then(ill(), &[]);
    }
    told.sleeps("5s");
    told.then(Event::Health(Ok(())), &["<Undrain>"]);
}

#[test]
fn retries_double_up_to_five_minutes() {
    let mut told = Told::new(rules(Strategy::EtcdLock, None));
    told.happens(Event::Started);
    for wait in ["5s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"] {
        assert_eq!(told.sleeps(wait), ["<AskHealth>"]);
        told.happens(Event::Health(Ok(())));
        told.happens(Event::Undrained(Ok(())));
        told.happens(Event::Released(Err("x".into())));
    }
}

#[test]
fn the_whole_way() {
    let mut told = Told::settled(rules(Strategy::EtcdLock, None));
    told.then(need(), &["<reboot-planned>", "<AskInhibitors>"]);
    told.then(Event::Inhibitors(vec![]), &["<lock for update to 2.0.0>"]);
    told.then(taken(), &["Warning: Failed to acquire lock: semaphore is at 0. Retrying in 10s."]);
    assert_eq!(told.sleeps("10s"), ["<AskInhibitors>"]);
    told.then(Event::Inhibitors(vec![]), &["<lock for update to 2.0.0>"]);
    told.then(taken(), &["Warning: Failed to acquire lock: semaphore is at 0. Retrying in 20s."]);
    told.sleeps("20s");
    told.happens(Event::Inhibitors(vec![]));
    told.then(Event::Locked(Ok(Acquired::Now)), &["<Drain>"]);
    told.then(Event::Drained, &["<warn System reboot in 5 minutes!>"]);
    told.then(Event::Warned(2), &["Logins detected, delaying reboot for 5 minutes."]);
    assert_eq!(told.sleeps("5m0s"), ["<rebooting>", "<Reboot>"]);
    told.then(Event::RebootSent(Ok(())), &["Reboot sent. Going to sleep."]);
    // The word of an agent that goes down comes too late.
    told.then(Event::Status(Sender::Engine, status("UPDATE_STATUS_IDLE")), &[]);
    assert_eq!(told.sleeps("168h0m0s"), ["Error: Tried to reboot but did not!", "<Exit(Failure)>"]);
}

#[test]
fn without_a_lock() {
    let mut told = Told::settled(rules(Strategy::Reboot, None));
    told.then(need(), &["<reboot-planned>", "<AskInhibitors>"]);
    told.then(Event::Inhibitors(vec![]), &["<Drain>"]);
    told.then(Event::Drained, &["<warn System reboot in 5 minutes!>"]);
    told.then(Event::Warned(0), &["<rebooting>", "<Reboot>"]);
}

#[test]
fn best_effort_goes_by_whether_etcd_is_here() {
    for (here, expect) in [(true, "<lock for update to 2.0.0>"), (false, "<Drain>")] {
        let mut told = Told::settled(rules(Strategy::BestEffort, None));
        told.happens(need());
        told.then(Event::Inhibitors(vec![]), &["<AskEtcd>"]);
        told.then(Event::EtcdHere(here), &[expect]);
    }
    // A FleetLock server keeps the lock, whether etcd runs here or not.
    for strategy in [Strategy::Reboot, Strategy::BestEffort, Strategy::EtcdLock] {
        let mut told = Told::settled(Rules { fleet_lock: true, ..rules(strategy, None) });
        told.happens(need());
        told.then(Event::Inhibitors(vec![]), &["<lock for update to 2.0.0>"]);
    }
}

#[test]
fn best_effort_settles_when_etcd_comes() {
    let mut told = Told::new(rules(Strategy::BestEffort, None));
    told.happens(Event::Started);
    for (wait, here) in [("5s", false), ("10s", false), ("20s", true)] {
        assert_eq!(told.sleeps(wait), ["<AskHealth>"]);
        told.happens(Event::Health(Ok(())));
        told.then(Event::Undrained(Ok(())), &["<AskEtcd>"]);
        told.then(Event::EtcdHere(here), if here { &["<Release>"] } else { &[] });
    }
    told.then(Event::Released(Ok(true)), &["Unlocked existing lock for this machine"]);
}

#[test]
fn a_window_is_waited_for() {
    let mut told = Told::settled(rules(Strategy::EtcdLock, Some(("15:02", "1h"))));
    told.then(need(), &["<reboot-planned>", "Waiting for 5h1m55s to reboot."]);
    // The clock on the wall is looked at now and then: it may be set.
    assert_eq!(told.sleeps("1m0s"), [""; 0]);
    told.now.wall = at("2026-11-21T15:01:30");
    told.then(Event::Tick, &[]);
    assert_eq!(told.sleeps("30s"), ["<AskInhibitors>"]);
}

#[test]
fn a_start_with_a_window_names_it() {
    let mut told = Told::new(rules(Strategy::Reboot, Some(("14:00", "1h"))));
    told.then(
        Event::Started,
        &[
            "Reboot window start is \"14:00\" and length is \"1h\"",
            "Next window begins at 2026-11-21T14:00:00+00:00[UTC] and ends at 2026-11-21T15:00:00+00:00[UTC]",
            "<running>",
        ],
    );
}

#[test]
fn a_lock_that_comes_after_the_window_is_given_back() {
    let mut told = Told::settled(rules(Strategy::EtcdLock, Some(("10:00", "1h"))));
    told.happens(need());
    told.happens(Event::Inhibitors(vec![]));
    told.pass(Duration::from_secs(3600));
    told.then(Event::Locked(Ok(Acquired::Now)), &["The reboot window has closed meanwhile.", "<Release>"]);
    told.then(
        Event::Released(Err("no etcd".into())),
        &["Error: Unlocking failed: no etcd. Retrying in 10s."],
    );
    assert_eq!(told.sleeps("10s"), ["<Release>"]);
    told.then(
        Event::Released(Ok(true)),
        &["Released the lock: this machine does not reboot now", "Waiting for 22h59m45s to reboot."],
    );
}

#[test]
fn a_window_that_closes_while_others_hold_the_lock_is_waited_for_again() {
    let mut told = Told::settled(rules(Strategy::EtcdLock, Some(("10:00", "20s"))));
    told.happens(need());
    told.happens(Event::Inhibitors(vec![]));
    told.then(taken(), &["Warning: Failed to acquire lock: semaphore is at 0. Retrying in 10s."]);
    told.pass(Duration::from_secs(10));
    told.then(Event::Tick, &["<AskInhibitors>"]);
    told.happens(Event::Inhibitors(vec![]));
    told.happens(taken());
    assert_eq!(told.sleeps("20s"), ["Waiting for 23h59m25s to reboot."]);
}

#[test]
fn an_inhibitor_is_honoured_before_the_lock_is_taken() {
    let mut told = Told::settled(rules(Strategy::EtcdLock, None));
    told.happens(need());
    let found = || Event::Inhibitors(vec!["backup (writing)".into()]);
    told.then(found(), &["The reboot is inhibited: backup (writing). Retrying in 10s."]);
    assert_eq!(told.sleeps("10s"), ["<AskInhibitors>"]);
    told.then(found(), &[]);
    assert_eq!(told.sleeps("20s"), ["<AskInhibitors>"]);
    told.then(Event::Inhibitors(vec![]), &["<lock for update to 2.0.0>"]);
}

#[test]
fn a_reboot_that_is_refused_leads_all_the_way_back() {
    let mut told = Told::settled(rules(Strategy::EtcdLock, None));
    told.happens(need());
    told.happens(Event::Inhibitors(vec![]));
    told.happens(Event::Locked(Ok(Acquired::Now)));
    told.happens(Event::Drained);
    told.happens(Event::Warned(0));
    told.then(
        Event::RebootSent(Err("inhibited by backup".into())),
        &[
            "Error: The reboot was refused: inhibited by backup. Retrying in 10s.",
            "<reboot-planned>",
            "<Undrain>",
        ],
    );
    told.then(Event::Undrained(Ok(())), &["<Release>"]);
    told.then(Event::Released(Ok(true)), &["Released the lock: this machine does not reboot now"]);
    assert_eq!(told.sleeps("10s"), ["<AskInhibitors>"]);
}

#[test]
fn units_that_cannot_be_taken_back_at_once_are_taken_back_later() {
    let mut told = Told::settled(rules(Strategy::EtcdLock, None));
    told.happens(need());
    told.happens(Event::Inhibitors(vec![]));
    told.happens(Event::Locked(Ok(Acquired::Now)));
    told.happens(Event::Status(Sender::Engine, status("UPDATE_STATUS_IDLE")));
    told.then(Event::Drained, &["<Undrain>"]);
    told.then(
        Event::Undrained(Err("no fleet".into())),
        &["Error: Taking units back failed: no fleet.", "<Release>"],
    );
    told.then(
        Event::Released(Ok(true)),
        &["Released the lock: this machine does not reboot now", "<AskHealth>"],
    );
    told.then(Event::Health(Ok(())), &["<Undrain>"]);
}

#[test]
fn the_agent_may_take_its_word_back() {
    let idle = || Event::Status(Sender::Engine, status("UPDATE_STATUS_IDLE"));
    let off = ["The reboot is called off: the update agent is at UPDATE_STATUS_IDLE", "<running>"];
    let mut told = Told::settled(rules(Strategy::EtcdLock, None));
    told.happens(need());
    told.then(idle(), &off);
    told.then(Event::Inhibitors(vec![]), &[]);
    // In the middle of the lock,
    told.happens(need());
    told.happens(Event::Inhibitors(vec![]));
    told.then(idle(), &off);
    told.then(Event::Locked(Ok(Acquired::Now)), &["<Release>"]);
    told.happens(Event::Released(Ok(true)));
    // and while who is logged in is waited for.
    told.happens(need());
    told.happens(Event::Inhibitors(vec![]));
    told.happens(Event::Locked(Ok(Acquired::Now)));
    told.happens(Event::Drained);
    told.happens(Event::Warned(1));
    told.then(idle(), &[off[0], off[1], "<Undrain>"]);
    told.then(Event::Undrained(Ok(())), &["<Release>"]);
    told.happens(Event::Released(Ok(true)));
    assert_eq!(told.life.sleep(&told.now), None);
}

#[test]
fn what_an_operator_asked_for_stays_whatever_the_agent_says() {
    let mut told = Told::settled(rules(Strategy::EtcdLock, Some(("15:00", "1h"))));
    told.then(
        Event::Status(Sender::Root, EngineStatus::fake()),
        &["<reboot-planned>", "Waiting for 4h59m55s to reboot."],
    );
    told.then(Event::Status(Sender::Engine, status("UPDATE_STATUS_IDLE")), &[]);
    told.now.wall = at("2026-11-21T15:00:00");
    told.then(Event::Tick, &["<AskInhibitors>"]);
    told.then(Event::Inhibitors(vec![]), &["<lock for update>"]);
    // Said twice is said once.
    told.then(Event::Status(Sender::Root, EngineStatus::fake()), &[]);
}

#[test]
fn an_update_that_mends_an_unhealthy_machine_needs_no_second_lock() {
    let mut told = Told::new(rules(Strategy::EtcdLock, Some(("10:00", "1h"))));
    told.happens(Event::Started);
    told.sleeps("5s");
    told.happens(Event::Health(Err("x".into())));
    told.then(need(), &["<reboot-planned>", "<AskInhibitors>"]);
    told.happens(Event::Inhibitors(vec![]));
    // Not given back, though the window has closed: the machine is not healthy.
    told.pass(Duration::from_secs(3600));
    told.then(
        Event::Locked(Ok(Acquired::Before)),
        &["The reboot window has closed meanwhile.", "<AskHealth>"],
    );
    told.then(
        Event::Health(Err("y".into())),
        &[
            "Not healthy yet, so the lock and the units stay as they are: y",
            "Waiting for 22h59m55s to reboot.",
        ],
    );
    // It is not asked for in vain while the window is waited for.
    assert_eq!(told.sleeps("5s"), ["<AskHealth>"]);
    told.then(Event::Health(Ok(())), &["<Undrain>"]);
    told.then(Event::Undrained(Ok(())), &["<Release>"]);
}

#[test]
fn an_unhealthy_machine_keeps_its_lock_though_getting_it_failed_once() {
    let mut told = Told::new(rules(Strategy::EtcdLock, Some(("10:00", "1h"))));
    told.happens(Event::Started);
    told.happens(need());
    told.happens(Event::Inhibitors(vec![]));
    told.happens(timed_out());
    assert_eq!(told.sleeps("5s"), ["<AskHealth>"]);
    told.happens(Event::Health(Err("x".into())));
    told.pass(Duration::from_secs(3600));
    told.then(Event::Tick, &["<AskHealth>"]);
    told.now.wall = at("2026-11-22T10:59:59");
    told.then(Event::Health(Err("x".into())), &["<AskInhibitors>"]);
    told.happens(Event::Inhibitors(vec![]));
    told.now.wall = at("2026-11-22T11:00:01");
    let got = told.happens(Event::Locked(Ok(Acquired::Before)));
    assert!(!got.contains(&"<Release>".to_owned()), "{got:?}");
}

#[test]
fn a_lock_that_may_have_been_got_is_given_back() {
    let mut told = Told::settled(rules(Strategy::EtcdLock, Some(("10:00", "1h"))));
    told.happens(need());
    told.happens(Event::Inhibitors(vec![]));
    told.happens(timed_out());
    told.sleeps("10s");
    told.happens(Event::Inhibitors(vec![]));
    told.pass(Duration::from_secs(3600));
    told.then(Event::Locked(Ok(Acquired::Before)), &["The reboot window has closed meanwhile.", "<Release>"]);
}

#[test]
fn a_lock_that_may_have_been_got_is_given_back_where_the_way_ends() {
    let locking = |window| {
        let mut told = Told::settled(rules(Strategy::EtcdLock, window));
        told.happens(need());
        told.happens(Event::Inhibitors(vec![]));
        told
    };
    let failed = "Warning: Failed to acquire lock: timeout. Retrying in 10s.";
    // The window shuts,
    let mut told = locking(Some(("10:00", "1h")));
    told.pass(Duration::from_secs(3600));
    told.then(timed_out(), &[failed, "<Release>"]);
    told.happens(Event::Released(Ok(true)));
    // or during the rest,
    let mut told = locking(Some(("10:00", "1h")));
    told.then(timed_out(), &[failed]);
    told.pass(Duration::from_secs(3600));
    told.then(Event::Tick, &["<Release>"]);
    // the update is called off,
    let mut told = locking(None);
    told.happens(timed_out());
    let got = told.happens(Event::Status(Sender::Engine, status("UPDATE_STATUS_IDLE")));
    assert_eq!(got.last().unwrap(), "<Release>");
    // or somebody inhibits it.
    let mut told = locking(None);
    told.happens(timed_out());
    told.sleeps("10s");
    let got = told.happens(Event::Inhibitors(vec!["backup".into()]));
    assert_eq!(got.last().unwrap(), "<Release>");
    // A lock that is held by others is not released.
    let mut told = locking(Some(("10:00", "1h")));
    told.pass(Duration::from_secs(3600));
    let got = told.happens(taken());
    assert!(!got.contains(&"<Release>".to_owned()), "{got:?}");
}

#[test]
fn a_change_of_strategy_gives_back_what_was_taken_before() {
    for strategy in [Strategy::Reboot, Strategy::Off] {
        let mut told = Told::new(Rules { may_hold_lock: true, ..rules(strategy, None) });
        told.happens(Event::Started);
        told.sleeps("5s");
        told.then(Event::Health(Ok(())), &["<Undrain>"]);
        told.then(Event::Undrained(Ok(())), &["<Release>"]);
        let unlocked = "Unlocked existing lock for this machine";
        let expect: &[&str] =
            if strategy == Strategy::Off { &[unlocked, "<Exit(Success)>"] } else { &[unlocked] };
        told.then(Event::Released(Ok(true)), expect);
    }
    // Only drained. No reboot is planned meanwhile.
    let mut told = Told::new(rules(Strategy::Off, None));
    told.happens(Event::Started);
    told.then(need(), &[]);
    told.sleeps("5s");
    told.happens(Event::Health(Ok(())));
    told.then(Event::Undrained(Ok(())), &["<Exit(Success)>"]);
}

#[test]
fn a_lock_that_an_operator_took_is_an_operators_to_give_back() {
    let mut told = Told::settled(rules(Strategy::EtcdLock, Some(("10:00", "1h"))));
    told.happens(need());
    told.happens(Event::Inhibitors(vec![]));
    told.pass(Duration::from_secs(3600));
    told.then(
        Event::Locked(Ok(Acquired::Before)),
        &["The reboot window has closed meanwhile.", "Waiting for 22h59m55s to reboot."],
    );
}

#[test]
fn late_answers_change_nothing() {
    let mut told = Told::settled(rules(Strategy::EtcdLock, None));
    for late in [
        Event::Tick,
        Event::Health(Ok(())),
        Event::Locked(Ok(Acquired::Now)),
        Event::Drained,
        Event::Warned(0),
        Event::RebootSent(Ok(())),
        Event::Released(Ok(true)),
    ] {
        told.then(late, &[]);
    }
}
