//! A wall clock that follows virtual time and jumps by up to two hours. No decision of a node may depend on it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet_node::Clock;
use nix::libc::{CLOCK_REALTIME, SYS_clock_gettime, c_int, clockid_t, syscall, timespec};
use tokio::time::{Instant, sleep};

/// Maximum offset in seconds.
const WRONG: i64 = 3600;
/// Maximum milliseconds between two jumps.
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

/// Replaces the C library's function in this test program. Threads without a simulated clock use the system's.
///
/// # Safety
/// As for that function: `time` must be writable.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the arguments are passed on unchanged.
    let done = unsafe { syscall(SYS_clock_gettime, clock, time) } as c_int;
    if done == 0
        && clock == CLOCK_REALTIME
        && let Ok(Some(set)) = SET.try_with(Cell::get)
    {
        let passed = i64::try_from(set.started.elapsed().as_secs()).unwrap();
        // SAFETY: the caller guarantees that `time` is writable.
        unsafe { (*time).tv_sec += passed + set.ahead };
    }
    done
}

/// Starts the jumps on this thread, for the lifetime of the current runtime. Draws nothing from the cluster's own
/// random numbers.
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

/// Whether machines on this thread use the wall clock as their monotonic clock.
pub fn set_believed(believed: bool) {
    BELIEVED.set(believed);
}

/// The clock of simulated machines.
pub fn of_machine(started: Instant) -> Clock {
    match BELIEVED.get() {
        false => Clock(Arc::new(move || started.elapsed())),
        true => Clock(Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap())),
    }
}
