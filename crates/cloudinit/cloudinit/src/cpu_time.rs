//! Measures the CPU time of tests, independent of the load of the machine.

use std::time::Duration;

/// Far above the CPU time of a linear algorithm, and far below that of a quadratic one.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs `work`.
///
/// # Panics
/// The thread's CPU time exceeds 10 s.
pub fn within_time_limit<T>(work: impl FnOnce() -> T) -> T {
    let start = cpu_time();
    let result = work();
    let elapsed = cpu_time() - start;
    assert!(elapsed < LIMIT, "{elapsed:?}");
    result
}

/// CPU time of the current thread.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}
