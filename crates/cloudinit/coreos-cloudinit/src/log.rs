//! Log lines on stderr: with timestamps on a terminal, with priorities for the journal.
//!
//! Never log contents, hashes or keys.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use cloudinit::interpretation::Message;

const SECONDS_PER_DAY: u64 = 86_400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Priority {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// Whether stderr is the journal, which adds timestamps and parses priorities.
    journal: bool,
}

impl Log {
    pub fn from_environment() -> Self {
        Self { journal: std::env::var_os("JOURNAL_STREAM").is_some() }
    }

    pub fn is_journal(&self) -> bool {
        self.journal
    }

    pub fn info(&self, message: impl AsRef<str>) {
        self.line(Priority::Info, message.as_ref());
    }

    pub fn warning(&self, message: impl AsRef<str>) {
        self.line(Priority::Warning, message.as_ref());
    }

    pub fn error(&self, message: impl AsRef<str>) {
        self.line(Priority::Error, message.as_ref());
    }

    /// Written to the journal only.
    pub fn debug(&self, message: impl AsRef<str>) {
        if self.journal {
            self.line(Priority::Debug, message.as_ref());
        }
    }

    /// Logs a message of the user-data's interpreter.
    pub fn forward(&self, message: &Message) {
        match message {
            Message::Info(message) => self.info(message),
            Message::Warning(message) => self.warning(message),
            Message::Error(message) => self.error(message),
            Message::Output(text) => println!("{text}"),
        }
    }

    fn line(&self, priority: Priority, message: &str) {
        let mut text = String::new();
        for line in message.lines() {
            if self.journal {
                text.push_str(&format!("<{}>{line}\n", priority as u8));
            } else {
                text.push_str(&format!("{} {line}\n", timestamp(SystemTime::now())));
            }
        }
        // stderr may be closed; the run continues regardless.
        std::io::stderr().write_all(text.as_bytes()).unwrap_or(());
    }
}

/// `2006/01/02 15:04:05`, in UTC.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default();
    let (year, month, day) = civil_date(seconds / SECONDS_PER_DAY);
    let second = seconds % SECONDS_PER_DAY;
    format!("{year:04}/{month:02}/{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// The date of a day since 1970, computed in 400-year eras that begin in March.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn formats_utc_timestamps() {
        for (seconds, expect) in [
            (0, "1970/01/01 00:00:00"),
            (951_782_399, "2000/02/28 23:59:59"),
            (951_868_800, "2000/03/01 00:00:00"),
            (1_709_210_096, "2024/02/29 12:34:56"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expect);
        }
    }
}
