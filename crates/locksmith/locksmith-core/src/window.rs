//! Reboot windows: when a machine may reboot, by its local wall clock.
//!
//! A window opens daily or weekly at a local time, for a fixed length of real time. A start that a clock change
//! skips is shifted by the change; one that occurs twice counts the first time. Times have a resolution of
//! seconds, and the last second belongs to the window.

use std::fmt;
use std::time::Duration;

use go_compat::parse_duration;
use jiff::civil::Weekday;
use jiff::{SignedDuration, ToSpan as _, Unit, Zoned};
use thiserror::Error;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    day: Option<Weekday>,
    hour: i8,
    minute: i8,
    length: Duration,
    /// As configured, for the log.
    start_text: String,
    length_text: String,
}

/// One opening of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub start: Zoned,
    /// Inclusive.
    pub end: Zoned,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WindowError {
    #[error("{0:?}: expected a time like 14:00, perhaps with a day before it, like Thu 14:00")]
    Fields(String),
    #[error("invalid day of week {0:?}: use Sun, Mon, Tue, Wed, Thu, Fri or Sat")]
    Day(String),
    #[error("invalid time of day {0:?}: expected hours and minutes, like 4:30")]
    Time(String),
    #[error("invalid time of day {0:?}: hour must be >= 0 and <= 23")]
    Hour(String),
    #[error("invalid time of day {0:?}: minute must be >= 0 and <= 59")]
    Minute(String),
    #[error("{0:?} is no length of time: it needs units, like 1h30m")]
    Length(String),
    #[error("duration cannot be negative")]
    Negative,
    #[error("a length of {0:?} is not shorter than the {1} after which it opens again")]
    TooLong(String, &'static str),
}

impl Window {
    /// Parses `[DAY ]H:M` and a Go duration.
    ///
    /// # Errors
    /// Either is invalid, or the window is longer than its period.
    pub fn parse(start: &str, length: &str) -> Result<Self, WindowError> {
        let fields: Vec<&str> = start.split_whitespace().collect();
        let (day, time) = match fields[..] {
            [time] => (None, time),
            [day, time] => (Some(weekday(day)?), time),
            _ => return Err(WindowError::Fields(start.to_owned())),
        };
        let (hour, minute) = time_of_day(time)?;
        if length.starts_with('-') {
            return Err(WindowError::Negative);
        }
        let parsed = parse_duration(length).ok_or_else(|| WindowError::Length(length.to_owned()))?;
        let (limit, name) = if day.is_some() { (WEEK, "week") } else { (DAY, "day") };
        if parsed >= limit {
            return Err(WindowError::TooLong(length.to_owned(), name));
        }
        let [start_text, length_text] = [start, length].map(str::to_owned);
        Ok(Self { day, hour, minute, length: parsed, start_text, length_text })
    }

    #[must_use]
    pub fn is_open(&self, now: &Zoned) -> bool {
        self.current(now).is_some()
    }

    /// The time until the window closes. `None` if it is closed.
    #[must_use]
    pub fn remaining(&self, now: &Zoned) -> Option<Duration> {
        // Zero within the last second.
        self.current(now).map(|span| Duration::try_from(span.end.duration_since(now)).unwrap_or_default())
    }

    /// The opening that `now` is in.
    fn current(&self, now: &Zoned) -> Option<Span> {
        let now = whole_seconds(now);
        let start = self.starts_around(&now).rev().find(|start| *start <= now)?;
        Some(self.span(start)).filter(|span| now <= span.end)
    }

    /// The next opening after `now`. `None` only at the end of representable time.
    #[must_use]
    pub fn next(&self, now: &Zoned) -> Option<Span> {
        let now = whole_seconds(now);
        self.starts_around(&now).find(|start| *start > now).map(|start| self.span(start))
    }

    /// The starts within about a week before and after `now`, ascending.
    fn starts_around(&self, now: &Zoned) -> impl DoubleEndedIterator<Item = Zoned> {
        let today = now.date();
        (-8_i64..=8).filter_map(move |days| {
            let date = today.checked_add(days.days()).ok()?;
            if self.day.is_some_and(|day| date.weekday() != day) {
                return None;
            }
            // jiff's default disambiguation is the rule of the module docs.
            date.at(self.hour, self.minute, 0, 0).to_zoned(now.time_zone().clone()).ok()
        })
    }

    fn span(&self, start: Zoned) -> Span {
        let length = SignedDuration::try_from(self.length).unwrap_or(SignedDuration::MAX);
        Span { end: start.checked_add(length).unwrap_or_else(|_| start.clone()), start }
    }
}

/// The format of the log: `start is "14:00" and length is "1h"`.
impl fmt::Display for Window {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "start is {:?} and length is {:?}", self.start_text, self.length_text)
    }
}

fn whole_seconds(now: &Zoned) -> Zoned {
    let round = jiff::ZonedRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
    // Fails only at the end of representable time.
    now.round(round).unwrap_or_else(|_| now.clone())
}

fn weekday(text: &str) -> Result<Weekday, WindowError> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "sun" => Weekday::Sunday,
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        _ => return Err(WindowError::Day(text.to_owned())),
    })
}

fn time_of_day(text: &str) -> Result<(i8, i8), WindowError> {
    let number = |digits: &str| -> Option<u32> {
        let is_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_digits.then(|| digits.parse().ok()).flatten()
    };
    let (hour, minute) = text
        .split_once(':')
        .and_then(|(hour, minute)| Some((number(hour)?, number(minute)?)))
        .ok_or_else(|| WindowError::Time(text.to_owned()))?;
    let hour = i8::try_from(hour).ok().filter(|hour| *hour <= 23);
    let minute = i8::try_from(minute).ok().filter(|minute| *minute <= 59);
    let hour = hour.ok_or_else(|| WindowError::Hour(text.to_owned()))?;
    Ok((hour, minute.ok_or_else(|| WindowError::Minute(text.to_owned()))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    /// Central Europe: one hour forward on 2026-03-29 at 2:00, back on 2026-10-25 at 3:00.
    const EUROPE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
    const PACIFIC: &str = "PDT7";

    fn at(time: &str, zone: &str) -> Zoned {
        let zone = TimeZone::posix(zone).unwrap();
        // With an offset where the local time is ambiguous.
        match time.parse::<jiff::Timestamp>() {
            Ok(instant) => instant.to_zoned(zone),
            Err(_) => time.parse::<jiff::civil::DateTime>().unwrap().to_zoned(zone).unwrap(),
        }
    }

    /// `expect` is `open`, or the time until it opens.
    fn check(zone: &str, window: (&str, &str), now: &str, expect: &str) {
        let (start, length) = window;
        let window = Window::parse(start, length).unwrap();
        let now = at(now, zone);
        let got = if window.is_open(&now) {
            "open".to_owned()
        } else {
            let wait = window.next(&now).unwrap().start.duration_since(&now);
            go_compat::format_duration(wait.unsigned_abs())
        };
        assert_eq!(got, expect, "{start} {length} at {now}");
    }

    #[test]
    fn daily() {
        for (window, now, expect) in [
            (("00:15", "10s"), "2015-05-21T00:00:00", "15m0s"),
            (("00:00", "1h"), "2015-05-21T00:00:00", "open"),
            (("00:00", "1h"), "2015-05-21T00:00:01", "open"),
            (("0:0", "1h"), "2015-05-20T23:59:59", "1s"),
            (("02:33", "10h"), "2015-05-21T12:33:00", "open"),
            (("02:33", "10h"), "2015-05-21T12:33:00.999", "open"),
            (("02:33", "10h"), "2015-05-21T12:33:01", "13h59m59s"),
            (("23:05", "11h"), "2015-05-21T09:33:01", "open"),
            (("23:05", "11h"), "2015-05-21T10:05:00", "open"),
            (("23:05", "11h"), "2015-05-21T10:05:01", "12h59m59s"),
            (("23:05", "0s"), "2015-05-21T23:05:00.5", "open"),
            (("23:05", "0s"), "2015-05-21T23:05:01", "23h59m59s"),
            (("23:59", "23h59m59s"), "2015-05-21T23:58:59", "open"),
            (("23:59", "23h59m58s"), "2015-05-21T23:58:59", "1s"),
            (("23:59", "23h59m59s"), "2015-05-21T23:58:58", "open"),
            (("14:00", "1h"), "2015-12-31T23:00:00", "15h0m0s"),
        ] {
            check(PACIFIC, window, now, expect);
        }
    }

    #[test]
    fn weekly() {
        for (window, now, expect) in [
            (("Thu 00:15", "10s"), "2015-05-21T00:00:00", "15m0s"),
            (("thu 00:00", "1h"), "2015-05-21T00:00:00", "open"),
            (("Sun 00:00", "1h"), "2015-05-17T00:00:01", "open"),
            (("SUN 02:33", "10h"), "2015-05-17T12:33:00", "open"),
            (("Sun 02:33", "10h"), "2015-05-17T12:33:01", "157h59m59s"),
            (("Sat 23:05", "11h"), "2015-05-17T09:33:01", "open"),
            (("Sat 23:05", "11h"), "2015-05-17T10:05:00", "open"),
            (("Sat 23:05", "11h"), "2015-05-17T22:05:00", "145h0m0s"),
            (("Mon 9:00", "1h"), "2015-05-30T23:00:00", "34h0m0s"),
            (("Sat 00:00", "167h59m59s"), "2015-05-22T23:59:59", "open"),
            (("Sat 00:00", "167h"), "2015-05-22T23:30:00", "30m0s"),
        ] {
            check(PACIFIC, window, now, expect);
        }
    }

    #[test]
    fn clocks_moved_forward() {
        // 2:30 is skipped: the window opens at 3:30, for its full length.
        for (window, now, expect) in [
            (("02:30", "1h"), "2026-03-29T00:30:00Z", "1h0m0s"),
            (("02:30", "1h"), "2026-03-29T01:29:59Z", "1s"),
            (("02:30", "1h"), "2026-03-29T01:30:00Z", "open"),
            (("02:30", "1h"), "2026-03-29T02:30:00Z", "open"),
            (("02:30", "1h"), "2026-03-29T02:30:01Z", "21h59m59s"),
            // 3 hours of real time, from 1:00 to 5:00 local time.
            (("01:00", "3h"), "2026-03-29T03:00:00Z", "open"),
            (("01:00", "3h"), "2026-03-29T03:00:01Z", "19h59m59s"),
            // The night is an hour shorter.
            (("04:00", "1h"), "2026-03-28T21:00:00Z", "5h0m0s"),
            (("Sun 02:30", "1h"), "2026-03-29T01:30:00Z", "open"),
        ] {
            check(EUROPE, window, now, expect);
        }
    }

    #[test]
    fn clocks_moved_back() {
        // 2:30 occurs twice, at 0:30 and 1:30 UTC: the window opens the first time only.
        for (window, now, expect) in [
            (("02:30", "30m"), "2026-10-25T00:29:59Z", "1s"),
            (("02:30", "30m"), "2026-10-25T00:30:00Z", "open"),
            (("02:30", "30m"), "2026-10-25T01:00:00Z", "open"),
            (("02:30", "30m"), "2026-10-25T01:30:00Z", "24h0m0s"),
            (("02:30", "2h"), "2026-10-25T02:30:00Z", "open"),
            (("02:30", "2h"), "2026-10-25T02:30:01Z", "22h59m59s"),
            // The night is an hour longer.
            (("04:00", "1h"), "2026-10-24T20:00:00Z", "7h0m0s"),
            (("Sun 02:30", "30m"), "2026-10-25T01:30:00Z", "168h0m0s"),
        ] {
            check(EUROPE, window, now, expect);
        }
    }

    #[test]
    fn invalid_windows() {
        for (start, length, expect) in [
            ("25:00", "1h", "invalid time of day \"25:00\": hour must be >= 0 and <= 23"),
            ("23:61", "1h", "invalid time of day \"23:61\": minute must be >= 0 and <= 59"),
            ("14", "1h", "invalid time of day \"14\": expected hours and minutes, like 4:30"),
            ("-1:00", "1h", "invalid time of day \"-1:00\": expected hours and minutes, like 4:30"),
            ("1:+1", "1h", "invalid time of day \"1:+1\": expected hours and minutes, like 4:30"),
            (
                "99999999999:00",
                "1h",
                "invalid time of day \"99999999999:00\": expected hours and minutes, like 4:30",
            ),
            ("foo 14:00", "1h", "invalid day of week \"foo\": use Sun, Mon, Tue, Wed, Thu, Fri or Sat"),
            ("", "1h", "\"\": expected a time like 14:00, perhaps with a day before it, like Thu 14:00"),
            (
                "sat 14:00 1234",
                "1h",
                "\"sat 14:00 1234\": expected a time like 14:00, perhaps with a day before it, like Thu 14:00",
            ),
            ("sat", "1h", "invalid time of day \"sat\": expected hours and minutes, like 4:30"),
            ("14:00", "1j", "\"1j\" is no length of time: it needs units, like 1h30m"),
            ("14:00", "60", "\"60\" is no length of time: it needs units, like 1h30m"),
            ("14:00", "-1h", "duration cannot be negative"),
            ("14:00", "24h", "a length of \"24h\" is not shorter than the day after which it opens again"),
            (
                "Sat 14:00",
                "168h",
                "a length of \"168h\" is not shorter than the week after which it opens again",
            ),
        ] {
            assert_eq!(
                Window::parse(start, length).map_err(|error| error.to_string()),
                Err(expect.to_owned())
            );
        }
    }

    #[test]
    fn display() {
        let window = Window::parse("Thu 4:00", "1.5h").unwrap();
        assert_eq!(window.to_string(), "start is \"Thu 4:00\" and length is \"1.5h\"");
    }
}
