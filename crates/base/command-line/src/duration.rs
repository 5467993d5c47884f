//! Durations in Go's format: `1s`, `1.5h`, `1m30s`, `500ms`.

use std::time::Duration;

const UNITS: [(&str, f64); 7] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Limit of a duration; anything longer is a mistake.
const SECONDS_MAX: f64 = 100.0 * 365.0 * 86_400.0;

/// `None` if the text is not a duration, has no unit, or is negative.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    (!text.is_empty() && seconds <= SECONDS_MAX).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("1s", Some(1_000)),
            ("500ms", Some(500)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("0", Some(0)),
            ("5", None),
            ("", None),
            ("-1s", None),
            ("1 s", None),
            ("1x", None),
            ("s", None),
            ("1.2.3s", None),
            ("9999999999h", None),
        ];
        for (text, expect) in cases {
            assert_eq!(parse(text), expect.map(Duration::from_millis), "{text}");
        }
    }
}
