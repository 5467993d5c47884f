//! The time limit for unit jobs of a run.

use std::time::{Duration, Instant};

use anyhow::Context;

/// Below the `TimeoutSec=` of the units that run this program: later steps need time too.
const COMMANDS_LIMIT: Duration = Duration::from_secs(8 * 60);
/// For tests: overrides the limit, in seconds.
const COMMANDS_LIMIT_ENV: &str = "COREOS_CLOUDINIT_TEST_COMMANDS_LIMIT";

/// Call at the start of the run, where systemd's timeout starts: fetching may take minutes.
pub fn commands_deadline() -> anyhow::Result<Instant> {
    let limit = match std::env::var(COMMANDS_LIMIT_ENV) {
        Ok(text) => text.parse().map(Duration::from_secs),
        Err(_) => Ok(COMMANDS_LIMIT),
    };
    let limit = limit.with_context(|| format!("cannot read {COMMANDS_LIMIT_ENV} as a number of seconds"))?;
    Ok(Instant::now() + limit)
}
