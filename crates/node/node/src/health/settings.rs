//! How long things may take: from the unit's environment, so that a drop-in changes it.

use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Seconds from the start of systemd in which all required checks have to pass.
const LIMIT: (&str, u64) = ("KEELSON_HEALTH_LIMIT", 600);
/// Seconds for one run of one check.
const CHECK_LIMIT: (&str, u64) = ("KEELSON_HEALTH_CHECK_LIMIT", 30);
/// Seconds after which a version on trial is looked at once more before it counts as good.
const SETTLE: (&str, u64) = ("KEELSON_HEALTH_SETTLE", 120);
/// A day: what is longer is a mistake, and would wait forever.
const SECONDS_MAX: u64 = 24 * 60 * 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub limit: Duration,
    pub check_limit: Duration,
    pub settle: Duration,
}

impl Settings {
    /// # Errors
    /// A value is no number of seconds up to a day.
    pub fn from(environment: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let seconds = |(name, usual): (&str, u64)| {
            let Some(text) = environment(name) else { return Ok(Duration::from_secs(usual)) };
            let number: u64 =
                text.parse().with_context(|| format!("{name}={text} is no number of seconds"))?;
            if number > SECONDS_MAX {
                bail!("{name}={text} is more than a day ({SECONDS_MAX} seconds)");
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
    fn the_environment_changes_what_is_usual() {
        let usual = Settings::from(|_| None).unwrap();
        assert_eq!(usual.limit, Duration::from_secs(600));
        let short = Settings::from(|name| (name == "KEELSON_HEALTH_LIMIT").then(|| "5".to_owned())).unwrap();
        assert_eq!(short, Settings { limit: Duration::from_secs(5), ..usual });
        for wrong in ["5min", "", "-1", "86401"] {
            let error = Settings::from(|_| Some(wrong.to_owned())).unwrap_err().to_string();
            assert!(error.starts_with(&format!("KEELSON_HEALTH_LIMIT={wrong} is ")), "{error}");
        }
    }
}
