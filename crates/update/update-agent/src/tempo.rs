//! How long and how often, with what drop-ins say of it.

use std::time::Duration;

use update_engine::Patience;

/// Attempts at one transfer that bring nothing, and the pause between them (the contract's 2.5.3).
const PATIENCE: Patience = Patience { attempts: 20, pause: Duration::from_secs(20) };

/// A duration of a drop-in, in seconds.
pub fn seconds(variable: &str, usual: Duration) -> Duration {
    let value = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    value.map_or(usual, Duration::from_secs)
}

/// With what drop-ins say, so that no test waits for a clock.
pub fn patience() -> Patience {
    Patience { pause: seconds("UPDATE_ENGINE_RETRY_PAUSE", PATIENCE.pause), ..PATIENCE }
}
