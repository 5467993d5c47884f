//! Scales time limits to the speed of the host.
//!
//! A limit is never shorter than the promised time.

use std::time::Duration;

use crate::failure::Failure;
use crate::scenario::Context;
pub use crate::slowdown::Slowdown;

/// A promised time, and the limit for emulated machines (QEMU without KVM), for which nothing is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub promised: Duration,
    pub emulated: Duration,
}

impl Limit {
    /// Returns the limit for this stage, and prints it if it differs from the promise.
    pub fn on(self, context: &Context<'_>, slowdown: Slowdown, what: &str) -> Duration {
        let (limit, notice) = self.chosen(context.is_emulated(), slowdown);
        if let Some(notice) = notice {
            eprintln!("{what}: {notice}");
        }
        limit
    }

    fn chosen(self, emulated: bool, slowdown: Slowdown) -> (Duration, Option<String>) {
        let limit = if emulated { self.emulated } else { self.promised }.mul_f64(slowdown.0);
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        let notice = (limit != self.promised).then(|| {
            format!(
                "limit {} instead of the promised {} ({}host slowdown {:.2})",
                seconds(limit),
                seconds(self.promised),
                if emulated { "emulated machines, " } else { "" },
                slowdown.0
            )
        });
        (limit, notice)
    }
}

impl Slowdown {
    /// Measures again at the end of an interval and returns the larger slowdown. Emulated machines load the host
    /// themselves: for them the measurement from before their boot is kept.
    pub fn until_now(self, context: &Context<'_>) -> Result<Self, Failure> {
        if context.is_emulated() { Ok(self) } else { Ok(self.max(Self::measured()?)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_grows_with_the_slowdown_and_is_reported() {
        let limit = Limit { promised: Duration::from_secs(2), emulated: Duration::from_secs(5) };
        assert_eq!(limit.chosen(false, Slowdown(1.0)), (Duration::from_secs(2), None));
        let (slow, notice) = limit.chosen(false, Slowdown(1.5));
        assert_eq!(slow, Duration::from_secs(3));
        assert_eq!(notice.unwrap(), "limit 3.0 s instead of the promised 2.0 s (host slowdown 1.50)");
        let (emulated, notice) = limit.chosen(true, Slowdown(1.0));
        assert_eq!(emulated, Duration::from_secs(5));
        assert!(notice.unwrap().contains("emulated machines"));
        assert_eq!(limit.chosen(true, Slowdown(2.0)).0, Duration::from_secs(10));
    }
}
