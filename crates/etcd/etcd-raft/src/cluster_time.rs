//! The time that keys end by: one for all members. It goes on evenly, whatever their clocks are set to; the leader's
//! counts, the others take it from the answers to their pings, and who leads next goes on from there.
//! It must never jump while somebody goes by it.

use std::sync::Arc;
use std::time::Duration;

use etcd_api::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::config::Clock;
use crate::limits::{CLOCK_IS_WRONG, EXPIRY_PERIOD, FOLLOWING_THE_CLOCK, SLOW_ANSWER};
use crate::time_record::InitialTime;

/// What a member says of the time when it is asked whether it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Its program is of the time when each member went by its own clock.
    Nothing,
    /// It does not know itself.
    Unknown,
    Known(Told),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub now: Timestamp,
    pub leads: bool,
}

pub struct ClusterTime {
    clock: Arc<dyn Clock>,
    own: u64,
    initial: InitialTime,
    hand: Mutex<Hand>,
    /// Whether it is the cluster's, and not just what this machine's clock was set to at the start.
    settled: watch::Sender<bool>,
}

struct Hand {
    /// The time at the moment `at` of the clock's even time.
    time: Timestamp,
    at: Duration,
    /// Who leads, and since when in the clock's even time.
    leader: Option<u64>,
    led_since: Duration,
    /// Whether it was told that the machine's clock shows another time.
    told_of_difference: bool,
}

impl Hand {
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
        let (time, at) = (initial_time(initial, &*clock), clock.even());
        let hand = Hand { time, at, leader: None, led_since: at, told_of_difference: false };
        Self { clock, own, initial, hand: Mutex::new(hand), settled: watch::Sender::new(false) }
    }

    pub fn now(&self) -> Timestamp {
        self.hand.lock().now(self.clock.even())
    }

    /// The same, as soon as it is the cluster's: what is to end some time after now waits for that. Without a leader
    /// it may never be.
    pub async fn settled(&self) -> Timestamp {
        // The sender is here.
        self.settled.subscribe().wait_for(|settled| *settled).await.ok();
        self.now()
    }

    fn is_settled(&self) -> bool {
        *self.settled.borrow()
    }

    /// The cluster's time with its monotonic time. None before it is known.
    pub fn known(&self) -> Option<(Timestamp, Duration)> {
        let at = self.clock.even();
        self.is_settled().then(|| (self.hand.lock().now(at), at))
    }

    /// What others are told.
    pub fn to_tell(&self) -> Answer {
        let hand = self.hand.lock();
        let told = Told { now: hand.now(self.clock.even()), leads: hand.leader == Some(self.own) };
        if self.is_settled() { Answer::Known(told) } else { Answer::Unknown }
    }

    /// Who leads, from now on.
    pub fn led_by(&self, leader: Option<u64>) {
        let mut hand = self.hand.lock();
        if hand.leader != leader {
            (hand.leader, hand.led_since) = (leader, self.clock.even());
        }
    }

    /// The member `from` said that, in an answer that took `took` from the question on.
    pub fn hear(&self, from: u64, answer: Answer, took: Duration) {
        let told = match answer {
            Answer::Known(told) => told,
            Answer::Unknown => return,
            Answer::Nothing => {
                self.settled.send_replace(true);
                return;
            }
        };
        let mut hand = self.hand.lock();
        let leads = told.leads && hand.leader == Some(from);
        // What was on its way for long, through a pause of either machine perhaps, tells little.
        if took > SLOW_ANSWER || (!leads && self.is_settled()) {
            return;
        }
        let at = self.clock.even();
        // The moment of the answer lies between the question and now.
        let time = hand.now(at).clamp(told.now, told.now.plus(took));
        hand.set(time, at);
        self.settled.send_replace(true);
    }

    /// Whether this member may begin a time: it leads, and nobody told it of one. Where it is not `alone`, members
    /// that know are given an [`EXPIRY_PERIOD`] to say so.
    pub fn may_begin(&self, alone: bool) -> bool {
        let hand = self.hand.lock();
        let led_for = self.clock.even().saturating_sub(hand.led_since);
        hand.leader == Some(self.own) && !self.is_settled() && (alone || led_for >= EXPIRY_PERIOD)
    }

    /// Sets the cluster's time to the initial one. A majority has confirmed that this member leads.
    pub fn begin(&self) {
        let mut hand = self.hand.lock();
        if !self.is_settled() {
            if !matches!(self.initial, InitialTime::Now(_)) {
                // NTP may have set the clock since the start.
                hand.set(initial_time(self.initial, &*self.clock), self.clock.even());
            }
            self.settled.send_replace(true);
        }
    }

    /// What keys end by now, from the member that leads; to be called each [`EXPIRY_PERIOD`]. Nothing before the
    /// cluster's time is known.
    pub fn lead(&self) -> Option<Timestamp> {
        if !self.is_settled() {
            return None;
        }
        let mut hand = self.hand.lock();
        let (wall, at) = (Timestamp::from(self.clock.now()), self.clock.even());
        let now = hand.now(at);
        let step = at.saturating_sub(hand.at).min(EXPIRY_PERIOD * 2) / FOLLOWING_THE_CLOCK;
        let time = wall.clamp(now.minus(step), now.plus(step));
        hand.set(time, at);
        let difference = Duration::from_nanos(wall.unix_nanos().abs_diff(time.unix_nanos()));
        let differs = difference > CLOCK_IS_WRONG;
        if differs && !hand.told_of_difference {
            tracing::warn!(
                seconds = difference.as_secs(),
                "this machine's clock was set: the cluster's time, which keys end by, follows it slowly"
            );
        }
        hand.told_of_difference = differs;
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
    const TICK: Duration = EXPIRY_PERIOD;

    /// A machine's clock: `at` goes on evenly, and the wall is that and `set`.
    #[derive(Default)]
    struct Watch(Mutex<(Duration, i64)>);

    impl Watch {
        fn set(&self, seconds: i64) {
            self.0.lock().1 = seconds;
        }

        fn pass(&self, time: Duration) {
            self.0.lock().0 += time;
        }
    }

    impl Clock for Watch {
        fn now(&self) -> SystemTime {
            let (at, set) = *self.0.lock();
            UNIX_EPOCH + Duration::from_secs(1_000_000_u64.saturating_add_signed(set)) + at
        }

        fn even(&self) -> Duration {
            self.0.lock().0
        }
    }

    fn machine() -> (Arc<Watch>, ClusterTime) {
        let watch = Arc::new(Watch::default());
        (Arc::<Watch>::clone(&watch), ClusterTime::new(watch, OWN, InitialTime::Unknown))
    }

    /// Initial time of a single member whose clock is set by `set` seconds during its start.
    fn begun(initial: InitialTime, set: i64) -> Timestamp {
        let watch = Arc::new(Watch::default());
        let time = ClusterTime::new(Arc::<Watch>::clone(&watch) as Arc<dyn Clock>, OWN, initial);
        watch.set(set);
        time.led_by(Some(OWN));
        watch.pass(TICK);
        time.begin();
        time.known().unwrap().0
    }

    #[test]
    fn a_restart_goes_on_from_what_was_known_before() {
        let wall = Timestamp::from_unix_nanos(1_000_000 * 1_000_000_000);
        let hour = Duration::from_secs(HOUR.unsigned_abs());
        assert_eq!(begun(InitialTime::Unknown, HOUR), wall.plus(hour).plus(TICK));
        for set in [-HOUR, HOUR] {
            assert_eq!(begun(InitialTime::Now(wall.minus(hour)), set), wall.minus(hour).plus(TICK));
        }
        assert_eq!(begun(InitialTime::AtLeast(wall), -HOUR), wall);
        assert_eq!(begun(InitialTime::AtLeast(wall), HOUR), wall.plus(hour).plus(TICK));
    }

    fn leader() -> (Arc<Watch>, ClusterTime) {
        let (watch, time) = machine();
        time.led_by(Some(OWN));
        assert!(!time.may_begin(false));
        watch.pass(TICK);
        assert!(time.may_begin(false));
        assert_eq!(time.lead(), None);
        time.begin();
        assert!(!time.may_begin(false));
        assert_eq!(time.lead(), Some(Timestamp::from(watch.now())));
        (watch, time)
    }

    fn seconds(later: Timestamp, earlier: Timestamp) -> f64 {
        (later.unix_nanos() as f64 - earlier.unix_nanos() as f64) / 1e9
    }

    #[test]
    fn a_leader_s_time_goes_on_evenly_whatever_its_clock_is_set_to() {
        for jump in [HOUR, -HOUR] {
            let (watch, time) = leader();
            let before = time.now();
            watch.set(jump);
            assert_eq!(time.now(), before);
            for _ in 0..60 {
                watch.pass(TICK);
                time.lead().unwrap();
            }
            // 30 seconds, and a fiftieth of it in the direction of the clock.
            let passed = seconds(time.now(), before);
            let expect = 30.0 + 0.6 * jump.signum() as f64;
            assert!((passed - expect).abs() < 1e-6, "{passed}");
            // In the end it is what the clock shows.
            for _ in 0..(HOUR * 50 * 2) {
                watch.pass(TICK);
                time.lead().unwrap();
            }
            assert_eq!(time.now(), Timestamp::from(watch.now()));
        }
    }

    #[test]
    fn who_was_not_asked_for_long_does_not_make_up_for_it_at_once() {
        let (watch, time) = leader();
        time.led_by(Some(OTHER));
        watch.set(HOUR);
        let before = time.now();
        watch.pass(Duration::from_secs(86_400));
        time.lead().unwrap();
        let passed = seconds(time.now(), before);
        assert!((86_400.0..86_400.1).contains(&passed), "{passed}");
    }

    #[test]
    fn a_follower_has_the_leader_s_time_within_the_answer_s_way() {
        let (_, leads) = leader();
        let (watch, follows) = machine();
        watch.set(HOUR);
        assert_eq!(follows.to_tell(), Answer::Unknown);
        follows.hear(OTHER, Answer::Unknown, Duration::ZERO);
        assert_eq!(follows.to_tell(), Answer::Unknown);
        let Answer::Known(told) = leads.to_tell() else { panic!("it leads") };
        assert!(told.leads);
        let took = Duration::from_millis(8);
        follows.led_by(Some(OTHER));
        follows.hear(OTHER, Answer::Known(told), took);
        let ahead = seconds(follows.now(), told.now);
        assert!((0.0..=0.008).contains(&ahead), "{ahead}");
        // Where it lies within, it stays: a slow answer makes nobody's time worse.
        let before = follows.now();
        follows.hear(OTHER, Answer::Known(told), SLOW_ANSWER);
        assert_eq!(follows.now(), before);
        // Another one that takes itself for the leader.
        follows.hear(OWN + OTHER, Answer::Known(Told { now: Timestamp::from_unix_nanos(0), ..told }), took);
        assert_eq!(follows.now(), before);
        // When the leader is gone it goes on from there, and leads so at once.
        follows.led_by(Some(OWN));
        watch.set(-HOUR);
        watch.pass(TICK);
        let goes_on = follows.lead().unwrap();
        assert!((0.49..0.52).contains(&seconds(goes_on, before)), "{}", seconds(goes_on, before));
    }

    #[test]
    fn a_leader_that_has_just_started_asks_those_who_know() {
        let (_, knows) = leader();
        knows.led_by(Some(OWN));
        let (watch, started) = machine();
        watch.set(HOUR);
        started.led_by(Some(OWN));
        assert_eq!(started.lead(), None);
        started.hear(OTHER, knows.to_tell(), Duration::ZERO);
        assert_eq!(started.now(), knows.now());
        watch.pass(TICK);
        assert!(!started.may_begin(false));
        started.begin();
        let ahead = seconds(started.lead().unwrap(), knows.now());
        assert!((0.5..0.52).contains(&ahead), "{ahead}");
        // From then on it is its own that counts.
        let other = Told { now: Timestamp::from_unix_nanos(1), leads: true };
        let before = started.now();
        started.hear(OTHER, Answer::Known(other), Duration::ZERO);
        assert_eq!(started.now(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_reckoned_when_the_time_is_known() {
        let (_, time) = machine();
        let time = Arc::new(time);
        let asked = Arc::clone(&time);
        let asking = tokio::spawn(async move { asked.settled().await });
        tokio::task::yield_now().await;
        let told = Told { now: Timestamp::from_unix_nanos(7), leads: false };
        // What took long says little.
        time.hear(OTHER, Answer::Known(told), SLOW_ANSWER * 2);
        tokio::task::yield_now().await;
        assert!(!asking.is_finished());
        time.hear(OTHER, Answer::Known(told), Duration::ZERO);
        assert_eq!(asking.await.unwrap(), told.now);
        // Members of an older program have no time in common: its own counts, as theirs.
        let (watch, among_older) = machine();
        among_older.hear(OTHER, Answer::Nothing, Duration::ZERO);
        assert_eq!(among_older.settled().await, Timestamp::from(watch.now()));
        // Nobody else could tell.
        let (watch, alone) = machine();
        assert!(!alone.may_begin(true));
        alone.led_by(Some(OWN));
        assert!(alone.may_begin(true));
        alone.begin();
        assert_eq!(alone.lead(), Some(Timestamp::from(watch.now())));
    }
}
