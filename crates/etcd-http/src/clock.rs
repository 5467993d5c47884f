//! The receiving member's clock, as it stands in expirations, and Go's way to write spans of it.

use std::time::{Duration, SystemTime};

use etcd_api::Timestamp;

pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// `1m58.607298433s`: as Go writes a duration.
pub(crate) fn go_duration(span: Duration) -> String {
    let nanos = span.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let units: [(u128, &str); 3] = [(1_000, "ns"), (1_000_000, "µs"), (1_000_000_000, "ms")];
    if let Some((limit, unit)) = units.into_iter().find(|(limit, _)| nanos < *limit) {
        return format!("{}{unit}", decimal(nanos, limit / 1_000));
    }
    let seconds = span.as_secs();
    let (hours, minutes) = (seconds / 3_600, seconds % 3_600 / 60);
    let rest = decimal(u128::from(seconds % 60) * 1_000_000_000 + u128::from(span.subsec_nanos()), 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

/// `number / unit` with no more digits than it needs.
fn decimal(number: u128, unit: u128) -> String {
    let (whole, rest) = (number / unit, number % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit.to_string().len() - 1;
    let fraction = format!("{rest:0digits$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |nanos: u64, expect: &str| assert_eq!(go_duration(Duration::from_nanos(nanos)), expect);
        check(0, "0s");
        check(7, "7ns");
        check(1_500, "1.5µs");
        check(2_000_000, "2ms");
        check(118_607_298_433, "1m58.607298433s");
        check(5_000_000_000, "5s");
        check(3_600_000_000_000, "1h0m0s");
        check(1_050_000_000, "1.05s");
    }
}
