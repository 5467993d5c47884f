//! The time of day, which somebody sets on the machines: it goes with virtual time, and jumps by up to two hours in
//! either direction. Whatever a node decides, it decides without it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet_node::Clock;
use nix::libc::{CLOCK_REALTIME, SYS_clock_gettime, c_int, clockid_t, syscall, timespec};
use tokio::time::{Instant, sleep};

/// Seconds that it is wrong by, at most.
const WRONG: i64 = 3600;
/// Milliseconds between two jumps, at most.
const BETWEEN: u64 = 120_000;

#[derive(Clone, Copy)]
struct Set {
    started: Instant,
    /// Seconds.
    ahead: i64,
}

thread_local! {
    static SET: Cell<Option<Set>> = const { Cell::new(None) };
    static BELIEVED: Cell<bool> = const { Cell::new(false) };
}

/// Takes the place of the C library's function in this test program, for all of its threads; those on which nobody
/// sets the clock have the system's.
///
/// # Safety
/// As that function's: `time` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the same arguments, as the system call takes them.
    let done = unsafe { syscall(SYS_clock_gettime, clock, time) } as c_int;
    if done == 0
        && clock == CLOCK_REALTIME
        && let Ok(Some(set)) = SET.try_with(Cell::get)
    {
        let passed = i64::try_from(set.started.elapsed().as_secs()).unwrap();
        // SAFETY: the caller vouches for it.
        unsafe { (*time).tv_sec += passed + set.ahead };
    }
    done
}

/// From now on it jumps on this thread, as long as the runtime lives that is entered. Nothing else is drawn from the
/// seed's numbers.
pub fn jumps(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(!seed);
    let started = Instant::now();
    SET.set(Some(Set { started, ahead: 0 }));
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(rng.u64(1..BETWEEN))).await;
            SET.set(Some(Set { started, ahead: rng.i64(-WRONG..=WRONG) }));
        }
    });
}

/// Whether machines on this thread take it for the time that never goes back.
pub fn set_believed(believed: bool) {
    BELIEVED.set(believed);
}

/// What machines count time by.
pub fn of_machine(started: Instant) -> Clock {
    match BELIEVED.get() {
        false => Clock(Arc::new(move || started.elapsed())),
        true => Clock(Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap())),
    }
}
