//! Timeouts and retries, with overrides from the environment.

use std::time::Duration;

use update_engine::RetryPolicy;

/// Retries of a transfer without progress (contract 2.5.3), for a day: then the channel is asked again.
const RETRY_POLICY: RetryPolicy =
    RetryPolicy { attempts: 20, pause: Duration::from_secs(20), limit: Duration::from_secs(24 * 3600) };

/// A duration in seconds from an environment variable.
pub fn seconds(variable: &str, default: Duration) -> Duration {
    let value = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    value.map_or(default, Duration::from_secs)
}

/// The variable lets tests avoid delays.
pub fn retry_policy() -> RetryPolicy {
    RetryPolicy { pause: seconds("UPDATE_ENGINE_RETRY_PAUSE", RETRY_POLICY.pause), ..RETRY_POLICY }
}
