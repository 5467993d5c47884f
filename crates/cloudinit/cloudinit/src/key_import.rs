//! SSH keys to fetch when a config is applied: source, key name and response format.
//!
//! This module does not do I/O. `Debug` must not print a URL: it may contain a password.

use std::fmt;

use serde::Deserialize;

use crate::limits::MAX_IMPORTED_KEYS;

#[derive(Clone, PartialEq, Eq)]
pub enum KeyImport {
    /// A GitHub user name.
    GitHub(String),
    Url(String),
}

impl fmt::Debug for KeyImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GitHub(account) => write!(f, "GitHub({account:?})"),
            Self::Url(_) => f.write_str("Url(***)"),
        }
    }
}

impl KeyImport {
    /// The name under which `user`'s keys are stored; a later import with the same name replaces them.
    pub fn name(&self, user: &str) -> String {
        match self {
            Self::GitHub(account) => format!("github-{account}"),
            Self::Url(_) => format!("coreos-cloudinit-{user}"),
        }
    }

    /// The path of a GitHub user's keys, relative to the API root.
    pub fn path(account: &str) -> String {
        format!("users/{account}/keys")
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    #[error("the response is not a JSON list of objects with a key (line {line}, column {column})")]
    NotList { line: usize, column: usize },
    #[error("the response has more than {MAX_IMPORTED_KEYS} keys")]
    TooMany,
    #[error("the response has a key with a line break or another control character")]
    InvalidKey,
}

#[derive(Deserialize)]
struct Entry {
    key: String,
}

/// Parses a response in the format of GitHub's API: `[{"id": 1, "key": "ssh-ed25519 AAAA"}]`. Empty keys are
/// dropped.
///
/// # Errors
/// The response has another format. No key of it is used.
pub fn parse_keys(response: &[u8]) -> Result<Vec<String>, ResponseError> {
    let entries: Vec<Entry> = serde_json::from_slice(response)
        .map_err(|error| ResponseError::NotList { line: error.line(), column: error.column() })?;
    if entries.len() > MAX_IMPORTED_KEYS {
        return Err(ResponseError::TooMany);
    }
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.trim()).filter(|key| !key.is_empty()).collect();
    if keys.iter().any(|key| key.contains(char::is_control)) {
        return Err(ResponseError::InvalidKey);
    }
    Ok(keys.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses() {
        let not_list = |line, column| Err(ResponseError::NotList { line, column });
        for (response, expect) in [
            ("[]", Ok(vec![])),
            ("[{\"id\": 1, \"key\": \" a b \\n\"}, {\"key\": \"\"}, {\"key\": \"c\"}]", Ok(vec!["a b", "c"])),
            ("[{\"key\": \"a\"}, {\"key\": \"b\\nc\"}]", Err(ResponseError::InvalidKey)),
            ("", not_list(1, 0)),
            ("<html>", not_list(1, 1)),
            ("{\"message\": \"Not Found\"}", not_list(1, 0)),
            ("[{\"id\": 1}]", not_list(1, 10)),
            ("[{\"key\": 1}]", not_list(1, 10)),
            ("[{\"key\": \"a\"}", not_list(1, 13)),
        ] {
            let expect = expect.map(|keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect());
            assert_eq!(parse_keys(response.as_bytes()), expect, "{response}");
        }
        let many = format!("[{}{{\"key\": \"a\"}}]", "{\"key\": \"a\"},".repeat(MAX_IMPORTED_KEYS));
        assert_eq!(parse_keys(many.as_bytes()), Err(ResponseError::TooMany));
    }

    #[test]
    fn urls_are_not_printed() {
        let url = KeyImport::Url("https://user:hush@host/".into());
        assert_eq!(
            (format!("{url:?}"), url.name("elroy")),
            ("Url(***)".into(), "coreos-cloudinit-elroy".into())
        );
        assert_eq!(KeyImport::GitHub("a".into()).name("elroy"), "github-a");
    }
}
