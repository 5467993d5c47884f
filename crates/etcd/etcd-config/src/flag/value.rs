//! Parses a single value. Error texts are those of Go where clients depend on them.

use go_compat::parse_bool;
use thiserror::Error;

use super::kind::{Address, Value, ValueKind};
use crate::limits::{MAX_URLS, MAX_VALUE_BYTES};
use crate::url::{self, Scheme, UrlError};

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    #[error("parse error")]
    NotParsed,
    #[error("value out of range")]
    OutOfRange,
    #[error("invalid value")]
    NotAChoice,
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error("address must have the form \"host:port\"")]
    Address,
    #[error("value is longer than {MAX_VALUE_BYTES} bytes")]
    TooLong,
}

/// Parses `text`. A switch without a value is `true`.
pub fn parse(kind: ValueKind, text: &str) -> Result<Value, ValueError> {
    if text.len() > MAX_VALUE_BYTES {
        return Err(ValueError::TooLong);
    }
    Ok(match kind {
        ValueKind::Switch => Value::Switch(parse_bool(text).ok_or(ValueError::NotParsed)?),
        ValueKind::Text | ValueKind::Path => Value::Text(text.to_owned()),
        ValueKind::Number => Value::Number(number(text)?),
        ValueKind::Urls => Value::Urls(url::parse_list(text)?),
        ValueKind::Address => Value::Address(address(text, false)?),
        ValueKind::BindAddress => Value::Address(address(text, true)?),
        ValueKind::Addresses => Value::Addresses(addresses(text)?),
        ValueKind::Choice(choices) if choices.contains(&text) => Value::Text(text.to_owned()),
        ValueKind::Choice(_) => return Err(ValueError::NotAChoice),
        ValueKind::Ignored | ValueKind::IgnoredSwitch => Value::Ignored,
    })
}

fn number(text: &str) -> Result<u64, ValueError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::NotParsed);
    }
    text.parse().map_err(|_| ValueError::OutOfRange)
}

fn addresses(text: &str) -> Result<Vec<Address>, ValueError> {
    let parts: Vec<_> = text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| address(part, false))
        .collect::<Result<_, _>>()?;
    if parts.len() > MAX_URLS { Err(UrlError::TooMany.into()) } else { Ok(parts) }
}

/// Accepts host names, IP addresses and URLs: tutorials use all three.
fn address(text: &str, bind: bool) -> Result<Address, ValueError> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Some(Scheme::Http), rest),
        Some(("https", rest)) => (Some(Scheme::Https), rest),
        Some(_) => return Err(UrlError::Scheme(text.to_owned()).into()),
        None => (None, text),
    };
    // A trailing slash is ignored.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if let Some((host, port)) = url::split_host_port(rest) {
        if host.is_empty() && !bind {
            return Err(ValueError::Address);
        }
        return Ok(Address { scheme, host: host.to_owned(), port: Some(port) });
    }
    let host = rest.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(rest);
    let is_host = !host.is_empty()
        && (host.parse::<std::net::IpAddr>().is_ok()
            || host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')));
    if bind && is_host {
        return Ok(Address { scheme, host: host.to_owned(), port: None });
    }
    Err(ValueError::Address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ValueKind, text: &str, expected: Result<Value, &str>) {
        let got = parse(kind, text).map_err(|error| error.to_string());
        assert_eq!(got, expected.map_err(str::to_owned), "{kind:?} {text}");
    }

    fn at(scheme: Option<Scheme>, host: &str, port: Option<u16>) -> Value {
        Value::Address(Address { scheme, host: host.to_owned(), port })
    }

    #[test]
    fn values_are_parsed_by_kind() {
        check(ValueKind::Switch, "T", Ok(Value::Switch(true)));
        check(ValueKind::Switch, "yes", Err("parse error"));
        check(ValueKind::Number, "18446744073709551616", Err("value out of range"));
        check(ValueKind::Number, "-1", Err("parse error"));
        check(ValueKind::Number, "", Err("parse error"));
        check(ValueKind::Choice(&["new", "existing"]), "maybe", Err("invalid value"));
        check(ValueKind::Address, "localhost:4001", Ok(at(None, "localhost", Some(4001))));
        check(
            ValueKind::Address,
            "http://10.0.0.1:4001/",
            Ok(at(Some(Scheme::Http), "10.0.0.1", Some(4001))),
        );
        check(ValueKind::Address, "10.0.0.1", Err("address must have the form \"host:port\""));
        check(ValueKind::Address, ":4001", Err("address must have the form \"host:port\""));
        check(ValueKind::BindAddress, "0.0.0.0", Ok(at(None, "0.0.0.0", None)));
        check(ValueKind::BindAddress, "[::]:4001", Ok(at(None, "::", Some(4001))));
        check(ValueKind::BindAddress, "::", Ok(at(None, "::", None)));
        check(ValueKind::BindAddress, "a b", Err("address must have the form \"host:port\""));
        check(ValueKind::Text, &"x".repeat(MAX_VALUE_BYTES + 1), Err("value is longer than 65536 bytes"));
    }
}
