//! The contents of a log: entries, states and the purge point. Payloads are opaque.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;

use crate::limits::STATE_KEYS_MAX;

/// An entry. Indexes are contiguous; `term` is stored for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The previous entry's plus one.
    pub index: u64,
    /// Not interpreted.
    pub term: u64,
    /// Not interpreted; may be empty.
    pub payload: Bytes,
}

/// The key of a small value stored beside the entries, such as a vote: less than [`STATE_KEYS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateKey(u8);

impl StateKey {
    /// Panics if the key is too large; in a constant, at compile time.
    pub const fn new(key: u8) -> Self {
        assert!(key < STATE_KEYS_MAX, "a state key is below STATE_KEYS_MAX");
        Self(key)
    }

    pub(crate) const fn try_new(key: u8) -> Option<Self> {
        if key < STATE_KEYS_MAX { Some(Self(key)) } else { None }
    }

    pub(crate) const fn number(self) -> u8 {
        self.0
    }
}

/// Entries up to and including `index` are purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The last purged entry.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Data of the caller, at most [`crate::limits::STATE_BYTES_MAX`] bytes.
    pub note: Bytes,
}

/// The range of readable entries, `first..=last`; both are `None` if it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The entry after the purged ones.
    pub first: Option<u64>,
    /// The entry that the next append follows.
    pub last: Option<u64>,
    /// `None`: nothing was purged.
    pub purged: Option<Purged>,
}

/// Identifies a log, to detect segments of another one in its directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

impl LogId {
    /// A new id from the kernel's random numbers.
    pub fn random() -> io::Result<Self> {
        let mut id = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut id)?;
        Ok(Self(id))
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A position in the sequence of appends: durable once a flush reports this ticket or a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);
