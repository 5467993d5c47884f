//! What a test takes of a processor, which does not depend on how busy the machine is.

use std::time::Duration;

/// Far more than what grows with its input takes, and far less than what grows with its square.
const LIMIT: Duration = Duration::from_secs(10);

/// # Panics
/// The work takes more than 10 s of this thread's processor.
pub fn within_time_limit<T>(work: impl FnOnce() -> T) -> T {
    let start = cpu_time();
    let made = work();
    let taken = cpu_time() - start;
    assert!(taken < LIMIT, "{taken:?}");
    made
}

/// Of this thread so far.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}
