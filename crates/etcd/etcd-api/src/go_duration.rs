//! Go's format of durations: `1m58.607298433s`, in flags and statistics.

use std::time::Duration;

/// Formats like Go's `Duration.String`.
pub fn format_go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let decimals = |per_unit: u128, digits: usize| {
        let text = format!("{}.{:0digits$}", nanos / per_unit, nanos % per_unit);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimals(1_000, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", decimals(1_000_000, 6)),
        _ => {
            let minutes = duration.as_secs() / 60;
            let rest = Duration::new(duration.as_secs() % 60, duration.subsec_nanos());
            let text = format!("{}.{:09}", rest.as_secs(), rest.subsec_nanos());
            let seconds = text.trim_end_matches('0').trim_end_matches('.');
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// An invalid duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no duration (as 300ms, 1.5s or 1h30m)")]
pub struct DurationError {
    pub(crate) text: String,
}

/// Parses like Go's `ParseDuration`, except negative durations.
pub fn parse_go_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError { text: text.to_owned() };
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        nanos = nanos.checked_add(part_nanos(number, unit).ok_or_else(error)?).ok_or_else(error)?;
        rest = tail;
    }
    // Go's durations are 63 bits of nanoseconds.
    match i64::try_from(nanos) {
        Ok(nanos) => Ok(Duration::from_nanos(nanos.unsigned_abs())),
        Err(_) => Err(error()),
    }
}

fn part_nanos(number: &str, unit: &str) -> Option<u128> {
    let unit: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits are below a nanosecond even for hours.
    let digits = &fraction[..fraction.len().min(15)];
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = if digits.is_empty() { 0 } else { digits.parse::<u128>().ok()? };
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    whole.checked_mul(unit)?.checked_add(part * unit / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip_in_go_format() {
        let check = |nanos: u64, expect: &str| {
            assert_eq!(format_go_duration(Duration::from_nanos(nanos)), expect);
            assert_eq!(parse_go_duration(expect), Ok(Duration::from_nanos(nanos)));
        };
        check(0, "0s");
        check(1, "1ns");
        check(1_100, "1.1µs");
        check(2_200_000, "2.2ms");
        check(3_300_000_000, "3.3s");
        check(245_000_000_000, "4m5s");
        check(245_001_000_000, "4m5.001s");
        check(18_367_001_000_000, "5h6m7.001s");
        check(480_000_000_001, "8m0.000000001s");
        check(118_607_298_433, "1m58.607298433s");
        check(3_600_000_000_000, "1h0m0s");
        check(i64::MAX as u64, "2562047h47m16.854775807s");
    }

    #[test]
    fn other_forms_are_parsed_and_invalid_ones_rejected() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(parse_go_duration(text).ok(), expect.map(Duration::from_nanos), "{text}");
        };
        check("0", Some(0));
        check("+5s", Some(5_000_000_000));
        check(".5s", Some(500_000_000));
        check("1.s", Some(1_000_000_000));
        check("1h30m", Some(5_400_000_000_000));
        check("39h9m14.425s", Some(140_954_425_000_000));
        for bad in ["", "3", "-", "s", ".", ".s", "+", "1x", "-5s", "1..5s", "9223372036854775808ns", "1s1"] {
            check(bad, None);
        }
    }
}
