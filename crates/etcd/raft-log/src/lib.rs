//! An append-only log of entries in segment files, with a few small states beside them, for one writer that
//! wants to know exactly what is on disk.
//!
//! It must never know raft, never serve a byte that its checksum does not vouch for, and never call something
//! flushed that a power cut could take away.
//!
//! # Use
//!
//! [`Log::open`] gives a [`Log`], which any thread may use, and a [`Flusher`], which one thread owns. Appending
//! (entries, states, truncations, purges) only fills memory and gives a [`Ticket`]; [`Flusher::flush`] writes
//! all that waits with one write and one `fdatasync`, and says through which ticket all is on disk. Appending
//! and reading go on meanwhile, and what was appended can be read at once. [`Log::maintain`] makes the next
//! segment before it is needed and removes those that were purged: call it from a third thread when a flush
//! says so. [`ReadOnlyLog`] reads a log without changing it, also while another process writes it.
//!
//! # Format, version 1
//!
//! Segments are called `%016x.log` by their sequence number, have one fixed size, and are filled with zeros
//! before they get that name. Numbers are little-endian. A file is a row of sectors of 512 bytes. The first is
//! the header (`segment.rs`), each other one carries 496 bytes of the stream of records (`sector.rs`) under a
//! checksum of its own that counts the log, the segment and the sector too. Records (`record.rs`) follow each
//! other without gaps, each with a CRC32C seeded with that of the record before, across segments.
//!
//! A power cut leaves of the last flush any choice of its sectors, the others as they were: zero, or with less
//! used. Since each sector names its flush and where that flush began, a hole is told apart from damage: it
//! is a torn tail only when the flush that it lies in is the last one. Damage is never mended: see
//! [`OpenError::Corrupt`].

pub mod disk;
mod entry;
mod error;
mod flusher;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod inner;
pub mod limits;
mod location;
mod log;
mod open;
mod read;
mod real_disk;
mod record;
mod repair;
mod reserve;
mod scan;
mod sector;
mod segment;
pub mod simulated;
mod state;

pub use entry::{Bounds, Entry, LogId, Purged, StateKey, Ticket};
pub use error::{AppendError, Corruption, Failed, FlushError, MaintainError, OpenError, ReadError};
pub use flusher::{Flushed, Flusher};
pub use log::Log;
pub use open::{Options, ReadOnlyLog, Recovered};
pub use real_disk::{Preallocation, RealDisk};
