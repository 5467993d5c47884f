//! How long a run waits for the commands of units.

use std::time::{Duration, Instant};

use anyhow::Context;

/// Less than the `TimeoutSec=` of the units that run this: the steps after the commands are to be done as well.
const COMMANDS_LIMIT: Duration = Duration::from_secs(8 * 60);
/// Replaces it, in seconds.
const COMMANDS_LIMIT_VARIABLE: &str = "COREOS_CLOUDINIT_TEST_COMMANDS_LIMIT";

/// The end of the wait. To call at the start of the run, from where systemd counts too: fetching data may take minutes.
pub fn commands_end() -> anyhow::Result<Instant> {
    let limit = match std::env::var(COMMANDS_LIMIT_VARIABLE) {
        Ok(text) => text.parse().map(Duration::from_secs),
        Err(_) => Ok(COMMANDS_LIMIT),
    };
    let limit =
        limit.with_context(|| format!("cannot read {COMMANDS_LIMIT_VARIABLE} as a number of seconds"))?;
    Ok(Instant::now() + limit)
}
