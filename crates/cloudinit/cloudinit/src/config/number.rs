//! Formats floating point numbers as Go's `%v` does, for compatibility with the original coreos-cloudinit:
//! the shortest digits that round-trip, with an exponent for small numbers and from a million on.

const PLAIN_EXPONENTS: std::ops::Range<i32> = -4..6;

pub fn float(value: f64) -> String {
    if !value.is_finite() {
        return format!("{value:+}").replace("inf", "Inf").replace("+NaN", "NaN");
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if PLAIN_EXPONENTS.contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::float;

    #[test]
    fn shortest_digits() {
        for (value, expect) in [
            (0.5, "0.5"),
            (30.0, "30"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.25, "-2.25"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(float(value), expect);
        }
    }
}
