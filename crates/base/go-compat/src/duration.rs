//! Durations in Go's format: `1m58.607298433s`.

use std::time::Duration;

/// Formats like Go's `Duration.String`.
pub fn format_duration(duration: Duration) -> String {
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

/// Parses like Go's `time.ParseDuration`, to the nanosecond. A sign `-` is invalid.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (unit, tail) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        nanos = nanos.checked_add(part_nanos(number, unit)?)?;
        rest = tail;
    }
    // Go's durations are 63 bits of nanoseconds.
    (nanos <= i64::MAX.unsigned_abs()).then(|| Duration::from_nanos(nanos))
}

fn part_nanos(number: &str, unit: &str) -> Option<u64> {
    let unit: u64 = match unit {
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
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    whole.checked_mul(unit)?.checked_add(fraction_nanos(fraction, unit)?)
}

/// In floating point, as Go does: `0.333333333333333333h` is 20 minutes. Digits beyond 63 bits are ignored.
fn fraction_nanos(digits: &str, unit: u64) -> Option<u64> {
    const MAX: u64 = i64::MAX.unsigned_abs();
    let (mut fraction, mut scale, mut is_full) = (0_u64, 1.0, false);
    for digit in digits.chars() {
        let digit = u64::from(digit.to_digit(10)?);
        is_full |= fraction > (MAX - digit) / 10;
        if !is_full {
            fraction = fraction * 10 + digit;
            scale *= 10.0;
        }
    }
    // Less than one hour.
    Some((fraction as f64 * (unit as f64 / scale)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip_in_go_format() {
        let check = |nanos: u64, expect: &str| {
            assert_eq!(format_duration(Duration::from_nanos(nanos)), expect);
            assert_eq!(parse_duration(expect), Some(Duration::from_nanos(nanos)));
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
            assert_eq!(parse_duration(text), expect.map(Duration::from_nanos), "{text}");
        };
        check("0", Some(0));
        check("+5s", Some(5_000_000_000));
        check(".5s", Some(500_000_000));
        check("1.s", Some(1_000_000_000));
        check("1h30m", Some(5_400_000_000_000));
        check("39h9m14.425s", Some(140_954_425_000_000));
        check("5μs1µs", Some(6_000));
        // From the tests of Go's `time`.
        check("0.3333333333333333333h", Some(1_200_000_000_000));
        check("0.100000000000000000000h", Some(360_000_000_000));
        check("0.830103483285477580700h", Some(2_988_372_539_827));
        check("9007199254.740993ms", Some((1 << 53) + 1));
        check("9223372036s854ms775us807ns", Some(i64::MAX as u64));
        for bad in [
            "",
            "3",
            "-",
            "s",
            ".",
            ".s",
            "+",
            "1x",
            "-5s",
            "1..5s",
            "9223372036854775808ns",
            "9223372036854775.808us",
            "3000000h",
            "1s1",
            "1 s",
        ] {
            check(bad, None);
        }
    }
}
