//! Time limits, from the unit's environment, so that a drop-in can change them.

use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Seconds from systemd's start within which all required checks must pass.
const LIMIT: (&str, u64) = ("KEELSON_HEALTH_LIMIT", 600);
/// Seconds for one run of one script.
const CHECK_LIMIT: (&str, u64) = ("KEELSON_HEALTH_CHECK_LIMIT", 30);
/// Seconds after which a version on trial is checked again before it counts as good.
const SETTLE: (&str, u64) = ("KEELSON_HEALTH_SETTLE", 120);
/// A day: longer values are taken for mistakes.
const MAX_SECONDS: u64 = 24 * 60 * 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub limit: Duration,
    pub check_limit: Duration,
    pub settle: Duration,
}

impl Settings {
    /// # Errors
    /// A value is not a number of seconds up to a day.
    pub fn from(environment: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let seconds = |(name, default): (&str, u64)| {
            let Some(text) = environment(name) else { return Ok(Duration::from_secs(default)) };
            let number: u64 =
                text.parse().with_context(|| format!("{name}={text} is not a number of seconds"))?;
            if number > MAX_SECONDS {
                bail!("{name}={text} is more than a day ({MAX_SECONDS} seconds)");
            }
            Ok(Duration::from_secs(number))
        };
        Ok(Self { limit: seconds(LIMIT)?, check_limit: seconds(CHECK_LIMIT)?, settle: seconds(SETTLE)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_overrides_defaults() {
        let default = Settings::from(|_| None).unwrap();
        assert_eq!(default.limit, Duration::from_secs(600));
        let short = Settings::from(|name| (name == "KEELSON_HEALTH_LIMIT").then(|| "5".to_owned())).unwrap();
        assert_eq!(short, Settings { limit: Duration::from_secs(5), ..default });
        for invalid in ["5min", "", "-1", "86401"] {
            let error = Settings::from(|_| Some(invalid.to_owned())).unwrap_err().to_string();
            assert!(error.starts_with(&format!("KEELSON_HEALTH_LIMIT={invalid} is ")), "{error}");
        }
    }
}
