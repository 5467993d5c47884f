//! The cluster's time, which key expiration is based on. The leader's time is authoritative; the other members follow
//! it by the responses to their pings, and a new leader continues from there. It is monotonic whatever the machines'
//! clocks are set to.

use std::sync::Arc;
use std::time::Duration;

use etcd_api::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::config::Clock;
use crate::limits::{CLOCK_OFFSET_WARNING, CLOCK_SLEW_DIVISOR, EXPIRY_INTERVAL, MAX_TIME_REPORT_DELAY};
use crate::time::time_record::InitialTime;

/// What a member reports of the cluster's time in response to a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeReport {
    /// A member of an older version, where each member uses its own clock.
    Unsupported,
    /// The member does not know the cluster's time yet.
    Unknown,
    Known(ReportedTime),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedTime {
    pub now: Timestamp,
    pub leads: bool,
}

pub struct ClusterTime {
    clock: Arc<dyn Clock>,
    own: u64,
    initial: InitialTime,
    anchor: Mutex<Anchor>,
    /// Whether the time is the cluster's, rather than the initial one.
    settled: watch::Sender<bool>,
}

struct Anchor {
    /// The cluster's time at the monotonic time `at`.
    time: Timestamp,
    at: Duration,
    /// The leader, and the monotonic time since which it leads.
    leader: Option<u64>,
    led_since: Duration,
    /// Whether the offset of the machine's clock has been logged.
    difference_reported: bool,
}

impl Anchor {
    fn now(&self, at: Duration) -> Timestamp {
        self.time.plus(at.saturating_sub(self.at))
    }

    fn set(&mut self, time: Timestamp, at: Duration) {
        (self.time, self.at) = (time, at);
    }
}

impl ClusterTime {
    /// For the member `own`.
    pub fn new(clock: Arc<dyn Clock>, own: u64, initial: InitialTime) -> Self {
        let (time, at) = (initial_time(initial, &*clock), clock.monotonic());
        let anchor = Anchor { time, at, leader: None, led_since: at, difference_reported: false };
        Self { clock, own, initial, anchor: Mutex::new(anchor), settled: watch::Sender::new(false) }
    }

    pub fn now(&self) -> Timestamp {
        self.anchor.lock().now(self.clock.monotonic())
    }

    /// The time as soon as it is the cluster's, for computing an expiration. Without a leader it may wait forever.
    pub async fn settled(&self) -> Timestamp {
        // `self` holds the sender, so this cannot fail.
        self.settled.subscribe().wait_for(|settled| *settled).await.ok();
        self.now()
    }

    fn is_settled(&self) -> bool {
        *self.settled.borrow()
    }

    /// The cluster's time and the monotonic time; `None` until it is known.
    pub fn known(&self) -> Option<(Timestamp, Duration)> {
        let at = self.clock.monotonic();
        self.is_settled().then(|| (self.anchor.lock().now(at), at))
    }

    /// The report to other members.
    pub fn report(&self) -> TimeReport {
        let anchor = self.anchor.lock();
        let reported =
            ReportedTime { now: anchor.now(self.clock.monotonic()), leads: anchor.leader == Some(self.own) };
        if self.is_settled() { TimeReport::Known(reported) } else { TimeReport::Unknown }
    }

    /// Sets the leader from now on.
    pub fn set_leader(&self, leader: Option<u64>) {
        let mut anchor = self.anchor.lock();
        if anchor.leader != leader {
            (anchor.leader, anchor.led_since) = (leader, self.clock.monotonic());
        }
    }

    /// Handles a report from the member `from`, received `round_trip` after the ping was sent.
    pub fn observe(&self, from: u64, report: TimeReport, round_trip: Duration) {
        let reported = match report {
            TimeReport::Known(reported) => reported,
            TimeReport::Unknown => return,
            TimeReport::Unsupported => {
                self.settled.send_replace(true);
                return;
            }
        };
        let mut anchor = self.anchor.lock();
        let leads = reported.leads && anchor.leader == Some(from);
        // A slow report, perhaps delayed by a paused machine, is inaccurate.
        if round_trip > MAX_TIME_REPORT_DELAY || (!leads && self.is_settled()) {
            return;
        }
        let at = self.clock.monotonic();
        // The report was made between the ping and now.
        let time = anchor.now(at).clamp(reported.now, reported.now.plus(round_trip));
        anchor.set(time, at);
        self.settled.send_replace(true);
    }

    /// Whether this member may set the cluster's time: it leads and has received no report. Unless it is the only
    /// voter, other members first get an [`EXPIRY_INTERVAL`] to report.
    pub fn may_initialize(&self, only_voter: bool) -> bool {
        let anchor = self.anchor.lock();
        let led_for = self.clock.monotonic().saturating_sub(anchor.led_since);
        anchor.leader == Some(self.own) && !self.is_settled() && (only_voter || led_for >= EXPIRY_INTERVAL)
    }

    /// Sets the cluster's time to the initial one. The caller has confirmed with a majority that this member leads.
    pub fn initialize(&self) {
        let mut anchor = self.anchor.lock();
        if !self.is_settled() {
            if !matches!(self.initial, InitialTime::Now(_)) {
                // NTP may have set the clock since the start.
                anchor.set(initial_time(self.initial, &*self.clock), self.clock.monotonic());
            }
            self.settled.send_replace(true);
        }
    }

    /// Advances the leader's time and returns it; to be called every [`EXPIRY_INTERVAL`]. `None` until the cluster's
    /// time is known.
    pub fn advance(&self) -> Option<Timestamp> {
        if !self.is_settled() {
            return None;
        }
        let mut anchor = self.anchor.lock();
        let (wall, at) = (Timestamp::from(self.clock.now()), self.clock.monotonic());
        let now = anchor.now(at);
        let step = at.saturating_sub(anchor.at).min(EXPIRY_INTERVAL * 2) / CLOCK_SLEW_DIVISOR;
        let time = wall.clamp(now.minus(step), now.plus(step));
        anchor.set(time, at);
        let difference = Duration::from_nanos(wall.unix_nanos().abs_diff(time.unix_nanos()));
        let differs = difference > CLOCK_OFFSET_WARNING;
        if differs && !anchor.difference_reported {
            tracing::warn!(
                seconds = difference.as_secs(),
                "this machine's clock was set: the cluster's time, which keys end by, follows it slowly"
            );
        }
        anchor.difference_reported = differs;
        Some(time)
    }
}

fn initial_time(initial: InitialTime, clock: &dyn Clock) -> Timestamp {
    let wall = Timestamp::from(clock.now());
    match initial {
        InitialTime::Unknown => wall,
        InitialTime::Now(time) => time,
        InitialTime::AtLeast(time) => wall.max(time),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    const OWN: u64 = 1;
    const OTHER: u64 = 2;
    const HOUR: i64 = 3600;
    const TICK: Duration = EXPIRY_INTERVAL;

    /// The monotonic time, and the seconds by which the wall clock is ahead of it.
    #[derive(Default)]
    struct TestClock(Mutex<(Duration, i64)>);

    impl TestClock {
        fn set(&self, seconds: i64) {
            self.0.lock().1 = seconds;
        }

        fn pass(&self, time: Duration) {
            self.0.lock().0 += time;
        }
    }

    impl Clock for TestClock {
        fn now(&self) -> SystemTime {
            let (at, set) = *self.0.lock();
            UNIX_EPOCH + Duration::from_secs(1_000_000_u64.saturating_add_signed(set)) + at
        }

        fn monotonic(&self) -> Duration {
            self.0.lock().0
        }
    }

    fn member() -> (Arc<TestClock>, ClusterTime) {
        let clock = Arc::new(TestClock::default());
        (Arc::<TestClock>::clone(&clock), ClusterTime::new(clock, OWN, InitialTime::Unknown))
    }

    /// The initial time of a single member whose clock is set by `set` seconds during its start.
    fn initialized(initial: InitialTime, set: i64) -> Timestamp {
        let clock = Arc::new(TestClock::default());
        let time = ClusterTime::new(Arc::<TestClock>::clone(&clock) as Arc<dyn Clock>, OWN, initial);
        clock.set(set);
        time.set_leader(Some(OWN));
        clock.pass(TICK);
        time.initialize();
        time.known().unwrap().0
    }

    #[test]
    fn a_restart_goes_on_from_what_was_known_before() {
        let wall = Timestamp::from_unix_nanos(1_000_000 * 1_000_000_000);
        let hour = Duration::from_secs(HOUR.unsigned_abs());
        assert_eq!(initialized(InitialTime::Unknown, HOUR), wall.plus(hour).plus(TICK));
        for set in [-HOUR, HOUR] {
            assert_eq!(initialized(InitialTime::Now(wall.minus(hour)), set), wall.minus(hour).plus(TICK));
        }
        assert_eq!(initialized(InitialTime::AtLeast(wall), -HOUR), wall);
        assert_eq!(initialized(InitialTime::AtLeast(wall), HOUR), wall.plus(hour).plus(TICK));
    }

    fn leader() -> (Arc<TestClock>, ClusterTime) {
        let (clock, time) = member();
        time.set_leader(Some(OWN));
        assert!(!time.may_initialize(false));
        clock.pass(TICK);
        assert!(time.may_initialize(false));
        assert_eq!(time.advance(), None);
        time.initialize();
        assert!(!time.may_initialize(false));
        assert_eq!(time.advance(), Some(Timestamp::from(clock.now())));
        (clock, time)
    }

    fn seconds(later: Timestamp, earlier: Timestamp) -> f64 {
        (later.unix_nanos() as f64 - earlier.unix_nanos() as f64) / 1e9
    }

    #[test]
    fn a_leaders_time_is_monotonic_when_its_clock_is_set() {
        for jump in [HOUR, -HOUR] {
            let (clock, time) = leader();
            let before = time.now();
            clock.set(jump);
            assert_eq!(time.now(), before);
            for _ in 0..60 {
                clock.pass(TICK);
                time.advance().unwrap();
            }
            // 30 seconds, plus or minus a fiftieth of slew.
            let passed = seconds(time.now(), before);
            let expect = 30.0 + 0.6 * jump.signum() as f64;
            assert!((passed - expect).abs() < 1e-6, "{passed}");
            // Eventually it reaches the clock.
            for _ in 0..(HOUR * 50 * 2) {
                clock.pass(TICK);
                time.advance().unwrap();
            }
            assert_eq!(time.now(), Timestamp::from(clock.now()));
        }
    }

    #[test]
    fn the_slew_per_step_is_limited() {
        let (clock, time) = leader();
        time.set_leader(Some(OTHER));
        clock.set(HOUR);
        let before = time.now();
        clock.pass(Duration::from_secs(86_400));
        time.advance().unwrap();
        let passed = seconds(time.now(), before);
        assert!((86_400.0..86_400.1).contains(&passed), "{passed}");
    }

    #[test]
    fn a_follower_is_within_the_round_trip_of_the_leader() {
        let (_, leads) = leader();
        let (clock, follows) = member();
        clock.set(HOUR);
        assert_eq!(follows.report(), TimeReport::Unknown);
        follows.observe(OTHER, TimeReport::Unknown, Duration::ZERO);
        assert_eq!(follows.report(), TimeReport::Unknown);
        let TimeReport::Known(reported) = leads.report() else { panic!("it leads") };
        assert!(reported.leads);
        let took = Duration::from_millis(8);
        follows.set_leader(Some(OTHER));
        follows.observe(OTHER, TimeReport::Known(reported), took);
        let ahead = seconds(follows.now(), reported.now);
        assert!((0.0..=0.008).contains(&ahead), "{ahead}");
        // A slow report that is consistent with the time does not change it.
        let before = follows.now();
        follows.observe(OTHER, TimeReport::Known(reported), MAX_TIME_REPORT_DELAY);
        assert_eq!(follows.now(), before);
        // Another member that believes it is the leader.
        follows.observe(
            OWN + OTHER,
            TimeReport::Known(ReportedTime { now: Timestamp::from_unix_nanos(0), ..reported }),
            took,
        );
        assert_eq!(follows.now(), before);
        // A new leader continues from the time it has followed.
        follows.set_leader(Some(OWN));
        clock.set(-HOUR);
        clock.pass(TICK);
        let continued = follows.advance().unwrap();
        assert!((0.49..0.52).contains(&seconds(continued, before)), "{}", seconds(continued, before));
    }

    #[test]
    fn a_new_leader_takes_the_time_of_other_members() {
        let (_, knows) = leader();
        knows.set_leader(Some(OWN));
        let (clock, started) = member();
        clock.set(HOUR);
        started.set_leader(Some(OWN));
        assert_eq!(started.advance(), None);
        started.observe(OTHER, knows.report(), Duration::ZERO);
        assert_eq!(started.now(), knows.now());
        clock.pass(TICK);
        assert!(!started.may_initialize(false));
        started.initialize();
        let ahead = seconds(started.advance().unwrap(), knows.now());
        assert!((0.5..0.52).contains(&ahead), "{ahead}");
        // From now on its own time is authoritative.
        let other = ReportedTime { now: Timestamp::from_unix_nanos(1), leads: true };
        let before = started.now();
        started.observe(OTHER, TimeReport::Known(other), Duration::ZERO);
        assert_eq!(started.now(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn expirations_wait_for_the_clusters_time() {
        let (_, time) = member();
        let time = Arc::new(time);
        let waiting = Arc::clone(&time);
        let waiter = tokio::spawn(async move { waiting.settled().await });
        tokio::task::yield_now().await;
        let reported = ReportedTime { now: Timestamp::from_unix_nanos(7), leads: false };
        // A slow report is ignored.
        time.observe(OTHER, TimeReport::Known(reported), MAX_TIME_REPORT_DELAY * 2);
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        time.observe(OTHER, TimeReport::Known(reported), Duration::ZERO);
        assert_eq!(waiter.await.unwrap(), reported.now);
        // Members of an older version report no time: the own clock counts.
        let (clock, among_older) = member();
        among_older.observe(OTHER, TimeReport::Unsupported, Duration::ZERO);
        assert_eq!(among_older.settled().await, Timestamp::from(clock.now()));
        // A single member has no one to ask.
        let (clock, single) = member();
        assert!(!single.may_initialize(true));
        single.set_leader(Some(OWN));
        assert!(single.may_initialize(true));
        single.initialize();
        assert_eq!(single.advance(), Some(Timestamp::from(clock.now())));
    }
}
