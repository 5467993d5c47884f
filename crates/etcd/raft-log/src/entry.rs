//! What a log holds, as its users see it: entries, states, the purge point. It must never know what they mean.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;

use crate::limits::STATE_KEYS_MAX;

/// One entry. Indexes go up by one; `term` is the user's and is only kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub index: u64,
    pub term: u64,
    pub payload: Bytes,
}

/// Names a small value that is kept beside the entries (a vote, a hint): 0..[`STATE_KEYS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateKey(u8);

impl StateKey {
    /// Panics at compile time when it is used, as it is meant, for a constant.
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

/// Up to which index, that one too, entries are gone for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    pub index: u64,
    pub term: u64,
    /// The user's, at most [`crate::limits::STATE_BYTES_MAX`] bytes.
    pub note: Bytes,
}

/// The entries that can be read: `first..=last`, both `None` when there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub first: Option<u64>,
    pub last: Option<u64>,
    pub purged: Option<Purged>,
}

/// Tells segments of one log from those of another that came into its folder.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

impl LogId {
    /// One that no other log has, from the kernel's random numbers.
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

/// How far into what was ever appended: what got a ticket is on disk when a flush reports that one or a later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);
