//! Where the semaphore stands in the store, and what stands beside it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

const ABOVE: &str = "/coreos.com/updateengine/rebootlock";

/// Go's `url.QueryEscape`; a space becomes `+`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

const LONGEST_GROUP: usize = 1024;

/// The keys of one group of machines, or of all that are in none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub semaphore: String,
    /// Who holds it since when and why: ours, since locksmith drops from the semaphore what it does not know.
    pub notes: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeysError {
    #[error("{0:?} cannot be a part of a key")]
    Dots(String),
    #[error("a name of {0} bytes is longer than {LONGEST_GROUP}")]
    TooLong(usize),
}

impl Keys {
    /// Those of `group`; the empty one is for machines that are in none.
    ///
    /// # Errors
    /// The group's name cannot be a part of a key.
    pub fn of_group(group: &str) -> Result<Self, KeysError> {
        if group.len() > LONGEST_GROUP {
            return Err(KeysError::TooLong(group.len()));
        }
        let folder = match group {
            "" => ABOVE.to_owned(),
            // They would lead out of the folder.
            "." | ".." => return Err(KeysError::Dots(group.to_owned())),
            named => {
                let escaped = utf8_percent_encode(named, QUERY).to_string().replace(' ', "+");
                format!("{ABOVE}/groups/{escaped}")
            }
        };
        Ok(Self { semaphore: format!("{folder}/semaphore"), notes: format!("{folder}/semaphore.meta") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(group: &str, expect: &str) {
        let got = Keys::of_group(group).map_or_else(|error| error.to_string(), |keys| keys.semaphore);
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
        assert!(Keys::of_group("db").unwrap().notes.ends_with("/groups/db/semaphore.meta"));
    }
}
