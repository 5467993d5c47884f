//! Quantities of Kubernetes' resource model, which rkt's `--memory` and `--cpu` have.

/// A text that is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?}; expected {expected}")]
pub struct QuantityError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

const UNITS: [(&str, u64); 13] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1000),
    ("K", 1000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("m", 0),
    ("u", 0),
    ("n", 0),
    ("", 1),
];
/// The smallest limit with which a program starts.
const MIN_MEMORY: u64 = 1 << 20;
const MAX_MEMORY: u64 = 1 << 60;
const MAX_MILLI_CPUS: u64 = 1_000_000;

/// Bytes: `50M`, `128Mi`, `1000000`.
///
/// # Errors
/// It is another text, below 1 MiB, or no number of bytes.
pub fn parse_memory(text: &str) -> Result<u64, QuantityError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let bytes =
        number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    let expected = "a number of bytes of at least 1 MiB, such as 50M or 128Mi";
    bytes.filter(|bytes| (MIN_MEMORY..=MAX_MEMORY).contains(bytes)).ok_or_else(|| QuantityError {
        what: "memory",
        text: text.to_owned(),
        expected,
    })
}

/// Thousandths of a CPU: `500m`, `2`, `0.5`.
///
/// # Errors
/// It is another text, or zero.
pub fn parse_cpu(text: &str) -> Result<u64, QuantityError> {
    let milli = match text.strip_suffix('m') {
        Some(number) => decimal(number, 0),
        None => decimal(text, 3),
    };
    let expected = "a number of CPUs, such as 500m, 0.5 or 2";
    milli.filter(|milli| (1..=MAX_MILLI_CPUS).contains(milli)).ok_or_else(|| QuantityError {
        what: "cpu",
        text: text.to_owned(),
        expected,
    })
}

/// A decimal number times ten to the power of `places`, without further places.
fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || fraction.len() > places {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory() {
        let check =
            |text: &str, expected: Option<u64>| assert_eq!(parse_memory(text).ok(), expected, "{text}");
        check("50M", Some(50_000_000));
        check("128Mi", Some(128 << 20));
        check("2000000", Some(2_000_000));
        check("1Gi", Some(1 << 30));
        check("1k", None);
        check("-1", None);
        check("50m", None);
        check("50MB", None);
        check("99999999999999999999T", None);
        check("", None);
    }

    #[test]
    fn cpu() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse_cpu(text).ok(), expected, "{text}");
        check("500m", Some(500));
        check("2", Some(2000));
        check("0.5", Some(500));
        check("1.25", Some(1250));
        check("0", None);
        check("0.0001", None);
        check(".5", None);
        check("1e3", None);
        check("m", None);
    }
}
