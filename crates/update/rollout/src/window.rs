//! Update windows: hours of weekdays in the local time of a time zone.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY: u16 = 24 * 60;

/// `Mon-Fri 09:00-17:00`, `Sat,Sun 22:00-04:00` (until the next day), `09:00-17:00` (daily). The end is exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Monday first.
    days: [bool; 7],
    /// Minute of the day.
    start: u16,
    /// 1 to 1440.
    minutes: u16,
}

/// A text that is no window, with what is valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid window `{0}`: expected `Mon-Fri 09:00-17:00`, with days such as `Sat,Sun`, or none for every day"
)]
pub struct ParseWindowError(String);

impl Window {
    /// CoreUpdate's office hours: Monday to Friday, 9:00 to 16:59.
    pub fn office_hours() -> Self {
        Self { days: [true, true, true, true, true, false, false], start: 9 * 60, minutes: 8 * 60 }
    }

    /// `now` is Unix time in seconds.
    pub fn contains(&self, now: u64, zone: &TimeZone) -> bool {
        let Some(timestamp) = i64::try_from(now).ok().and_then(|now| Timestamp::from_second(now).ok()) else {
            return false;
        };
        let local = timestamp.to_zoned(zone.clone());
        let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        let today = day(local.weekday());
        let end = self.start + self.minutes;
        // A window of the day before may extend into today.
        (self.days[today] && (self.start..end).contains(&minute))
            || (self.days[(today + 6) % 7] && minute + DAY < end)
    }
}

fn day(weekday: Weekday) -> usize {
    usize::from(weekday.to_monday_zero_offset().unsigned_abs()).min(6)
}

impl FromStr for Window {
    type Err = ParseWindowError;

    fn from_str(text: &str) -> Result<Self, ParseWindowError> {
        parse_window(text).ok_or_else(|| ParseWindowError(text.chars().take(60).collect()))
    }
}

fn parse_window(text: &str) -> Option<Window> {
    let mut parts = text.split_whitespace();
    let first = parts.next()?;
    let (days, hours) = match parts.next() {
        Some(hours) => (parse_days(first)?, hours),
        None => ([true; 7], first),
    };
    let (start, end) = hours.split_once('-')?;
    let (start, end) = (parse_minute(start)?, parse_minute(end)?);
    if parts.next().is_some() || start == DAY {
        return None;
    }
    let minutes = if end > start { end - start } else { end + DAY - start };
    Some(Window { days, start, minutes })
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let number = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (number(from)?, number(to)?);
        let count = (to + 7 - from) % 7;
        (from..=from + count).for_each(|day| days[day % 7] = true);
    }
    Some(days)
}

/// `24:00` is the end of the day.
fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| -> Option<u16> {
        let digits = text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= DAY).then_some(all)
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let named = DAYS.iter().zip(self.days).filter(|(_, is_in)| *is_in).map(|(name, _)| *name);
            write!(out, "{} ", named.collect::<Vec<_>>().join(","))?;
        }
        let end = self.start + self.minutes;
        let end = if end > DAY { end - DAY } else { end };
        write!(out, "{:02}:{:02}-{:02}:{:02}", self.start / 60, self.start % 60, end / 60, end % 60)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unix time in seconds of a local time in Berlin.
    fn berlin(text: &str) -> (u64, TimeZone) {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let local: jiff::civil::DateTime = text.parse().unwrap();
        (local.to_zoned(zone.clone()).unwrap().timestamp().as_second().unsigned_abs(), zone)
    }

    #[test]
    fn windows_follow_local_time_and_dst() {
        let check = |window: &str, times: &[(&str, bool)]| {
            let window: Window = window.parse().unwrap();
            for (time, expect) in times {
                let (now, zone) = berlin(time);
                assert_eq!(window.contains(now, &zone), *expect, "{window} at {time}");
            }
        };
        // 2026-11-20 is a Friday.
        check(
            "Mon-Fri 09:00-17:00",
            &[
                ("2026-11-20T08:59:59", false),
                ("2026-11-20T09:00", true),
                ("2026-11-20T16:59:59", true),
                ("2026-11-20T17:00", false),
                ("2026-11-21T12:00", false),
            ],
        );
        check(
            "Fri 22:00-04:00",
            &[
                ("2026-11-20T03:00", false),
                ("2026-11-20T22:00", true),
                ("2026-11-21T03:59", true),
                ("2026-11-21T04:00", false),
                ("2026-11-21T22:30", false),
            ],
        );
        check("Sun 22:00-04:00", &[("2026-11-23T01:00", true), ("2026-11-22T01:00", false)]);
        check("Sat-Mon 00:00-24:00", &[("2026-11-22T12:00", true), ("2026-11-24T00:00", false)]);
        check("12:00-12:00", &[("2026-11-20T03:00", true)]);
        // DST: 2:00 becomes 3:00 on 2026-03-29, and 3:00 becomes 2:00 on 2026-10-25.
        check("01:30-03:30", &[("2026-03-29T03:15", true), ("2026-03-29T03:30", false)]);
        check("02:00-02:30", &[("2026-10-25T02:15", true), ("2026-03-29T03:15", false)]);
    }

    #[test]
    fn windows_round_trip_through_display() {
        for (text, expect) in [
            ("Mon-Fri 9:0-17:00", "Mon,Tue,Wed,Thu,Fri 09:00-17:00"),
            ("sat,SUN 22:00-4:00", "Sat,Sun 22:00-04:00"),
            ("00:00-24:00", "00:00-24:00"),
        ] {
            let window: Window = text.parse().unwrap();
            assert_eq!(window.to_string(), expect);
            assert_eq!(expect.parse(), Ok(window));
        }
        assert_eq!(Window::office_hours(), "Mon-Fri 09:00-17:00".parse().unwrap());
        for bad in [
            "",
            "Mon",
            "09:00",
            "9-17",
            "24:00-01:00",
            "09:60-10:00",
            "25:00-26:00",
            "Foo 1:00-2:00",
            "Mon 1:00-2:00 x",
            "+9:00-10:00",
            "1:00-2:00-3:00",
        ] {
            assert_eq!(bad.parse::<Window>(), Err(ParseWindowError(bad.to_owned())));
        }
    }
}
