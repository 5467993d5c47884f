//! The text of a value -> the value. The reasons are what Go's programs say where clients have seen them.

use thiserror::Error;

use super::kind::{Address, Kind, Value};
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

/// Checks the form of `text`. Switches without a value are given as `true`.
pub fn parse(kind: Kind, text: &str) -> Result<Value, ValueError> {
    if text.len() > MAX_VALUE_BYTES {
        return Err(ValueError::TooLong);
    }
    Ok(match kind {
        Kind::Switch => Value::Switch(switch(text)?),
        Kind::Text | Kind::Path => Value::Text(text.to_owned()),
        Kind::Number => Value::Number(number(text)?),
        Kind::Urls => Value::Urls(url::parse_list(text)?),
        Kind::Address => Value::Address(address(text, false)?),
        Kind::BindAddress => Value::Address(address(text, true)?),
        Kind::Addresses => Value::Addresses(addresses(text)?),
        Kind::Choice(choices) if choices.contains(&text) => Value::Text(text.to_owned()),
        Kind::Choice(_) => return Err(ValueError::NotAChoice),
        Kind::Ignored | Kind::IgnoredSwitch => Value::Ignored,
    })
}

fn switch(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(ValueError::NotParsed),
    }
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

/// Names are taken as well as numbers, and a bare URL too: tutorials have all three.
fn address(text: &str, bind: bool) -> Result<Address, ValueError> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Some(Scheme::Http), rest),
        Some(("https", rest)) => (Some(Scheme::Https), rest),
        Some(_) => return Err(UrlError::Scheme(text.to_owned()).into()),
        None => (None, text),
    };
    // A trailing slash means nothing here, and people write it.
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

    fn check(kind: Kind, text: &str, expected: Result<Value, &str>) {
        let got = parse(kind, text).map_err(|error| error.to_string());
        assert_eq!(got, expected.map_err(str::to_owned), "{kind:?} {text}");
    }

    fn at(scheme: Option<Scheme>, host: &str, port: Option<u16>) -> Value {
        Value::Address(Address { scheme, host: host.to_owned(), port })
    }

    #[test]
    fn values_have_the_form_of_their_kind() {
        check(Kind::Switch, "T", Ok(Value::Switch(true)));
        check(Kind::Switch, "yes", Err("parse error"));
        check(Kind::Number, "18446744073709551616", Err("value out of range"));
        check(Kind::Number, "-1", Err("parse error"));
        check(Kind::Number, "", Err("parse error"));
        check(Kind::Choice(&["new", "existing"]), "maybe", Err("invalid value"));
        check(Kind::Address, "localhost:4001", Ok(at(None, "localhost", Some(4001))));
        check(Kind::Address, "http://10.0.0.1:4001/", Ok(at(Some(Scheme::Http), "10.0.0.1", Some(4001))));
        check(Kind::Address, "10.0.0.1", Err("address must have the form \"host:port\""));
        check(Kind::Address, ":4001", Err("address must have the form \"host:port\""));
        check(Kind::BindAddress, "0.0.0.0", Ok(at(None, "0.0.0.0", None)));
        check(Kind::BindAddress, "[::]:4001", Ok(at(None, "::", Some(4001))));
        check(Kind::BindAddress, "::", Ok(at(None, "::", None)));
        check(Kind::BindAddress, "a b", Err("address must have the form \"host:port\""));
        check(Kind::Text, &"x".repeat(MAX_VALUE_BYTES + 1), Err("value is longer than 65536 bytes"));
    }
}
