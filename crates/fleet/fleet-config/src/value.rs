//! Parsers for values in Go's syntax. Errors name the expected syntax.

use std::collections::BTreeMap;
use std::time::Duration;

use go_compat::{parse_bool, parse_duration};
use thiserror::Error;

use crate::limits::{MAX_DURATION, MAX_SERVERS};

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    #[error("{0:?} is neither `true` nor `false`")]
    Switch(String),
    #[error("{text:?} is no whole number from {least} to {most}")]
    Number { text: String, least: i64, most: i64 },
    #[error("{0:?} is no number of seconds, like 2 or 0.5")]
    Seconds(String),
    #[error("{0:?} is no duration: it needs a unit, like 30s or 2m")]
    Duration(String),
    #[error("{text:?} is less than {least:?}")]
    TooShort { text: String, least: Duration },
    #[error("{0:?} is more than a day")]
    TooLong(String),
    #[error("it names no server: use addresses like http://127.0.0.1:2379, with commas between them")]
    NoServer,
    #[error("it names more than {MAX_SERVERS} servers")]
    ManyServers,
    #[error("{0:?} is no address like http://127.0.0.1:2379")]
    Server(String),
    #[error("{text:?} is no such amount: {right}")]
    Amount { text: String, right: &'static str },
}

pub fn switch(text: &str) -> Result<bool, ValueError> {
    parse_bool(text).ok_or_else(|| ValueError::Switch(text.to_owned()))
}

pub fn number(text: &str, least: i64, most: i64) -> Result<i64, ValueError> {
    let error = || ValueError::Number { text: text.to_owned(), least, most };
    text.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(error)
}

pub fn u16_at_least(text: &str, least: u16) -> Result<u16, ValueError> {
    let error = || ValueError::Number { text: text.to_owned(), least: least.into(), most: u16::MAX.into() };
    text.parse().ok().filter(|number| *number >= least).ok_or_else(error)
}

pub fn seconds(text: &str, least: Duration) -> Result<Duration, ValueError> {
    let number: f64 = text.parse().map_err(|_| ValueError::Seconds(text.to_owned()))?;
    if number.is_nan() {
        return Err(ValueError::Seconds(text.to_owned()));
    }
    if number < 0.0 {
        return Err(ValueError::TooShort { text: text.to_owned(), least });
    }
    let duration = Duration::try_from_secs_f64(number).map_err(|_| ValueError::TooLong(text.to_owned()))?;
    in_range(text, duration, least)
}

pub fn duration(text: &str, least: Duration) -> Result<Duration, ValueError> {
    let duration = parse_duration(text).ok_or_else(|| ValueError::Duration(text.to_owned()))?;
    in_range(text, duration, least)
}

fn in_range(text: &str, duration: Duration, least: Duration) -> Result<Duration, ValueError> {
    if duration < least {
        return Err(ValueError::TooShort { text: text.to_owned(), least });
    }
    if duration > MAX_DURATION {
        return Err(ValueError::TooLong(text.to_owned()));
    }
    Ok(duration)
}

/// A comma-separated list. Blanks, quotes and brackets around items are ignored.
pub fn servers(text: &str) -> Result<Vec<String>, ValueError> {
    let servers: Vec<String> =
        text.split(',').map(unquoted).filter(|item| !item.is_empty()).map(str::to_owned).collect();
    if servers.is_empty() {
        return Err(ValueError::NoServer);
    }
    if servers.len() > MAX_SERVERS {
        return Err(ValueError::ManyServers);
    }
    match servers.iter().find(|server| !is_address(server)) {
        Some(server) => Err(ValueError::Server(server.clone())),
        None => Ok(servers),
    }
}

fn unquoted(item: &str) -> &str {
    let is_padding = |c: char| c.is_whitespace() || matches!(c, '"' | '\'');
    let mut item = item.trim_start_matches(|c| is_padding(c) || c == '[').trim_end_matches(is_padding);
    // `http://[::1]` ends with a bracket that belongs to the address.
    while item.ends_with(']') && item.matches(']').count() > item.matches('[').count() {
        item = item[..item.len() - 1].trim_end_matches(is_padding);
    }
    item
}

/// A coarse check; the client validates addresses. The default scheme is http.
fn is_address(server: &str) -> bool {
    let rest = match server.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return false,
        None => server,
    };
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '@' | '<' | '>' | '\\');
    !rest.is_empty() && !rest.starts_with([':', '/']) && rest.chars().all(plain)
}

/// Parses `k=v,k2=v2`; also returns the invalid items. The last value of a duplicate key wins.
pub fn metadata(text: &str) -> (BTreeMap<String, String>, Vec<&str>) {
    let (mut pairs, mut invalid) = (BTreeMap::new(), Vec::new());
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match item.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                pairs.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            _ => invalid.push(item),
        }
    }
    (pairs, invalid)
}

/// The syntax of `MemoryRequest` and `CPURequest`.
pub fn amount(text: &str, read: fn(&str) -> Result<u64, unit_file::SettingError>) -> Result<u64, ValueError> {
    read(text).map_err(|error| ValueError::Amount { text: text.to_owned(), right: error.expected })
}
