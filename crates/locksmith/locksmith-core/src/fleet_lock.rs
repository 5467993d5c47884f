//! The FleetLock protocol: a reboot lock behind HTTP instead of etcd.
//!
//! `POST BASE/v1/pre-reboot` acquires the lock, `POST BASE/v1/steady-state` releases it. Both are idempotent.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The header of every request, with the value `true`.
const HEADER: &str = "fleet-lock-protocol";
const DEFAULT_GROUP: &str = "default";

/// The server's URL and the client's group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetLock {
    /// Without a trailing slash.
    pub url: String,
    pub group: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    PreReboot,
    SteadyState,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FleetLockError {
    #[error("{0:?} is no address like http://10.0.0.1:8080")]
    Url(String),
    #[error("{0:?} is no group of FleetLock: letters, digits, `.` and `-` only")]
    Group(String),
}

/// The body of an error response: an error code and a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    pub kind: String,
    pub value: String,
}

#[derive(Serialize)]
struct Body<'a> {
    client_params: Client<'a>,
}

#[derive(Serialize)]
struct Client<'a> {
    id: &'a str,
    group: &'a str,
}

impl FleetLock {
    /// An empty `group` becomes the protocol's `default`.
    ///
    /// # Errors
    /// The URL or group is invalid.
    pub fn new(url: &str, group: &str) -> Result<Self, FleetLockError> {
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if host
            .is_none_or(|host| host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace))
        {
            return Err(FleetLockError::Url(url.to_owned()));
        }
        let group = if group.is_empty() { DEFAULT_GROUP } else { group };
        if !group.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-') {
            return Err(FleetLockError::Group(group.to_owned()));
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned(), group: group.to_owned() })
    }

    #[must_use]
    pub fn request_url(&self, request: Request) -> String {
        let path = match request {
            Request::PreReboot => "v1/pre-reboot",
            Request::SteadyState => "v1/steady-state",
        };
        format!("{}/{path}", self.url)
    }

    #[must_use]
    pub fn header() -> (&'static str, &'static str) {
        (HEADER, "true")
    }

    /// The JSON body of both requests.
    #[must_use]
    pub fn body(&self, id: &str) -> String {
        // invariant: a struct of strings always serializes.
        #[expect(clippy::expect_used)]
        serde_json::to_string(&Body { client_params: Client { id, group: &self.group } })
            .expect("plain data can be written")
    }
}

impl Refusal {
    /// One sentence for any error response.
    #[must_use]
    pub fn message(status: u16, body: &[u8]) -> String {
        match serde_json::from_slice::<Self>(body) {
            Ok(Self { kind, value }) => format!("{value} ({kind})"),
            Err(_) => format!("the FleetLock server responded {status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let lock = FleetLock::new("http://10.0.0.1:8080/", "").unwrap();
        assert_eq!(lock.request_url(Request::PreReboot), "http://10.0.0.1:8080/v1/pre-reboot");
        assert_eq!(lock.request_url(Request::SteadyState), "http://10.0.0.1:8080/v1/steady-state");
        assert_eq!(lock.body("m1"), r#"{"client_params":{"id":"m1","group":"default"}}"#);
        assert_eq!(FleetLock::header(), ("fleet-lock-protocol", "true"));
    }

    #[test]
    fn invalid_urls_and_groups() {
        for url in ["", "10.0.0.1", "ftp://a", "http://", "http:///x", "http://a b"] {
            assert_eq!(FleetLock::new(url, "g"), Err(FleetLockError::Url(url.into())));
        }
        for group in ["a b", "ü", "a_b", "a/b"] {
            assert_eq!(FleetLock::new("https://a", group), Err(FleetLockError::Group(group.into())));
        }
        assert!(FleetLock::new("https://a", "A-1.b").is_ok());
    }

    #[test]
    fn refusals() {
        let reply = br#"{"kind":"failed_lock","value":"pre-reboot failed"}"#;
        assert_eq!(Refusal::message(404, reply), "pre-reboot failed (failed_lock)");
        assert_eq!(Refusal::message(500, b"<html>"), "the FleetLock server responded 500");
    }
}
