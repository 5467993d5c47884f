//! Extensions of `[X-Fleet]`. Without them a unit behaves as in the original.
//!
//! | key | values | meaning |
//! |---|---|---|
//! | `MemoryRequest` | bytes, or with `K`, `M`, `G`, `T` (powers of 1024) | counts towards load; the sum never exceeds a machine's capacity |
//! | `CPURequest` | processors (`2`, `0.5`), or percent of one (`50%`) | the same |
//! | `UpdatePolicy` | `restart` (default), `rolling` | how a running unit is updated: everywhere immediately, or machine by machine after the previous one is active |
//! | `Pinned` | yes, no (default) | stays on its first machine, also while that is unreachable |
//! | `AllowOverlap` | yes, no (default) | when moved deliberately, the new unit starts before the old one stops |
//! | `StopOnPartition` | yes (default), no | whether a partitioned machine stops it; with `no` it can run twice |
//!
//! An invalid value is an error with its line: settings that protect data must not be ignored.

use thiserror::Error;

use crate::limits::{MAX_CPU_REQUEST, MAX_MEMORY_REQUEST};

/// How a running unit gets a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum UpdatePolicy {
    /// Immediately on every machine.
    #[default]
    Restart,
    /// Machine by machine.
    Rolling,
}

/// An invalid value, with what is valid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid value {value:?} for {key}: {expected}")]
pub struct SettingError {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    /// For the message.
    pub expected: &'static str,
}

const SIZES: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

/// Bytes of values such as `512M`.
pub fn parse_memory(value: &str) -> Result<u64, SettingError> {
    let error = || SettingError {
        key: "MemoryRequest",
        value: value.to_owned(),
        expected: "use bytes, or a whole number with K, M, G or T, like 512M; no more than 128T",
    };
    let (digits, shift) = SIZES
        .iter()
        .find_map(|(letter, shift)| value.strip_suffix(*letter).map(|digits| (digits, *shift)))
        .unwrap_or((value, 0));
    let number = parse_digits(digits).ok_or_else(error)?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes <= MAX_MEMORY_REQUEST).ok_or_else(error)
}

/// Thousandths of a processor of `2`, `0.5`, `50%`.
pub fn parse_cpu(value: &str) -> Result<u64, SettingError> {
    let error = || SettingError {
        key: "CPURequest",
        value: value.to_owned(),
        expected: "use processors, like 2 or 0.5, or per cent of one, like 50%; no more than 100000",
    };
    let thousandths = match value.strip_suffix('%') {
        Some(percent) => parse_digits(percent).and_then(|percent| percent.checked_mul(10)),
        None => thousandths_of(value),
    };
    thousandths.filter(|wanted| *wanted <= MAX_CPU_REQUEST).ok_or_else(error)
}

/// Up to three decimals.
fn thousandths_of(value: &str) -> Option<u64> {
    let (processors, fraction) = value.split_once('.').unwrap_or((value, "0"));
    if fraction.is_empty() || fraction.len() > 3 {
        return None;
    }
    let thousandths = parse_digits(&format!("{fraction:0<3}"))?;
    parse_digits(processors)?.checked_mul(1000)?.checked_add(thousandths)
}

/// No sign, no blanks.
fn parse_digits(text: &str) -> Option<u64> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

pub(super) fn parse_update_policy(value: &str) -> Result<UpdatePolicy, SettingError> {
    match value {
        "restart" => Ok(UpdatePolicy::Restart),
        "rolling" => Ok(UpdatePolicy::Rolling),
        _ => Err(SettingError {
            key: "UpdatePolicy",
            value: value.to_owned(),
            expected: "use `restart` or `rolling`",
        }),
    }
}

/// systemd's boolean values.
pub(super) fn parse_bool(key: &'static str, value: &str) -> Result<bool, SettingError> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err(SettingError { key, value: value.to_owned(), expected: "use `yes` or `no`" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(read: fn(&str) -> Result<u64, SettingError>, text: &str, expected: Option<u64>) {
        assert_eq!(read(text).ok(), expected, "{text}");
    }

    #[test]
    fn memory() {
        check(parse_memory, "0", Some(0));
        check(parse_memory, "1024", Some(1024));
        check(parse_memory, "512M", Some(512 << 20));
        check(parse_memory, "128T", Some(128 << 40));
        for bad in ["", "M", "-1", "+1", "1.5G", "512m", "512MB", " 1", "99999999999T", "129T"] {
            check(parse_memory, bad, None);
        }
    }

    #[test]
    fn processors() {
        check(parse_cpu, "2", Some(2000));
        check(parse_cpu, "0.5", Some(500));
        check(parse_cpu, "1.125", Some(1125));
        check(parse_cpu, "50%", Some(500));
        for bad in ["", ".5", "1.", "1.2345", "-1", "%", "1,5", "500m", "100001", "99999999999999999999"] {
            check(parse_cpu, bad, None);
        }
    }
}
