//! The keys of the semaphore and its metadata in etcd.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

const PREFIX: &str = "/coreos.com/updateengine/rebootlock";

/// Go's `url.QueryEscape`, with spaces replaced by `+` afterwards.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

const MAX_GROUP_BYTES: usize = 1024;

/// The keys of one group of machines, or of the machines without a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub semaphore: String,
    /// Who holds the lock, since when and why. A separate key, as locksmith drops unknown fields of the
    /// semaphore.
    pub metadata: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeysError {
    #[error("{0:?} cannot be a part of a key")]
    DotSegment(String),
    #[error("a name of {0} bytes is longer than {MAX_GROUP_BYTES}")]
    TooLong(usize),
}

impl Keys {
    /// The keys of `group`; empty for machines without a group.
    ///
    /// # Errors
    /// The group's name is not valid in a key.
    pub fn for_group(group: &str) -> Result<Self, KeysError> {
        if group.len() > MAX_GROUP_BYTES {
            return Err(KeysError::TooLong(group.len()));
        }
        let folder = match group {
            "" => PREFIX.to_owned(),
            // Would refer to another folder.
            "." | ".." => return Err(KeysError::DotSegment(group.to_owned())),
            group => {
                let escaped = utf8_percent_encode(group, QUERY).to_string().replace(' ', "+");
                format!("{PREFIX}/groups/{escaped}")
            }
        };
        Ok(Self { semaphore: format!("{folder}/semaphore"), metadata: format!("{folder}/semaphore.meta") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(group: &str, expect: &str) {
        let got = Keys::for_group(group).map_or_else(|error| error.to_string(), |keys| keys.semaphore);
        assert_eq!(got, expect, "{group:?}");
    }

    #[test]
    fn groups() {
        check("", "/coreos.com/updateengine/rebootlock/semaphore");
        check("db", "/coreos.com/updateengine/rebootlock/groups/db/semaphore");
        check("web servers", "/coreos.com/updateengine/rebootlock/groups/web+servers/semaphore");
        check("a/b+c%", "/coreos.com/updateengine/rebootlock/groups/a%2Fb%2Bc%25/semaphore");
        check("ü-_.~*", "/coreos.com/updateengine/rebootlock/groups/%C3%BC-_.~%2A/semaphore");
        check("...", "/coreos.com/updateengine/rebootlock/groups/.../semaphore");
        check("..", "\"..\" cannot be a part of a key");
        check(&"x".repeat(1025), "a name of 1025 bytes is longer than 1024");
        assert!(Keys::for_group("db").unwrap().metadata.ends_with("/groups/db/semaphore.meta"));
    }
}
