//! Date and time of an expiry: `YYYY-MM-DDTHH:MM:SSZ` (specification, section 4.2.3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Seconds since 1970, of a date that the format can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i64);

/// A text in another form, or a time outside of the format's range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a date: expected `YYYY-MM-DDTHH:MM:SSZ`")]
pub struct DateError(String);

const PATTERN: &[u8] = b"0000-00-00T00:00:00Z";

impl Date {
    /// From Unix time in seconds.
    ///
    /// # Errors
    /// The year is not within 0 to 9999.
    pub fn from_unix(seconds: i64) -> Result<Self, DateError> {
        let bad = || DateError(seconds.to_string());
        let time = jiff::Timestamp::from_second(seconds).map_err(|_| bad())?;
        if time.to_string().len() == PATTERN.len() { Ok(Self(seconds)) } else { Err(bad()) }
    }

    /// Unix time in seconds.
    #[must_use]
    pub fn unix(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Date {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => fmt::Display::fmt(&time, to),
            Err(_) => write!(to, "{} s", self.0),
        }
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let bad = || DateError(text.chars().take(40).collect());
        let fits = |(byte, pattern): (u8, &u8)| match pattern {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        };
        if text.len() != PATTERN.len() || !text.bytes().zip(PATTERN).all(fits) {
            return Err(bad());
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| bad())?;
        Ok(Self(time.as_second()))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_format_of_the_specification_is_a_date() {
        let date: Date = "1985-10-21T01:21:00Z".parse().unwrap();
        assert_eq!((date.unix(), date.to_string().as_str()), (498_705_660, "1985-10-21T01:21:00Z"));
        assert_eq!(Date::from_unix(498_705_660), Ok(date));
        for bad in [
            "",
            "1985-10-21",
            "1985-10-21T01:21:00",
            "1985-10-21T01:21:00.5Z",
            "1985-13-21T01:21:00Z",
            "1985-10-21T01:21:00+00:00",
            "1985-10-21t01:21:00z",
            "1985-02-30T01:21:00Z",
            "1985-10-21 01:21:00Z",
        ] {
            assert!(bad.parse::<Date>().is_err(), "{bad}");
        }
        Date::from_unix(i64::MAX).unwrap_err();
    }
}
