//! An append-only log of entries in segment files, with a few small states beside them and a single writer that knows
//! exactly what is durable.
//!
//! The log is independent of raft. It never returns data whose checksum does not match, and never reports data as
//! flushed that a power failure could take away.
//!
//! # Use
//!
//! [`Log::open`] returns a [`Log`], which any thread may use, and a [`Flusher`], which one thread owns. Appending
//! (entries, states, truncations, purges) only fills memory and returns a [`Ticket`]. [`Flusher::flush`] writes
//! everything pending with one write and one `fdatasync`, and reports the ticket up to which everything is durable.
//! Appending and reading continue meanwhile, and appended entries are readable immediately. [`Log::maintain`]
//! allocates the next segment ahead of time and removes purged ones: call it from a third thread when a flush asks
//! for it. [`ReadOnlyLog`] reads a log without changing it, even while another process writes it.
//!
//! # Format, version 1
//!
//! Segments are named `%016x.log` by their sequence number. They have a fixed size and are filled with zeros before
//! they get that name. Numbers are little-endian. A file consists of sectors of 512 bytes. The first one is the
//! header (`segment.rs`). Each other one carries 496 bytes of the record stream (`sector.rs`) with a checksum that
//! also covers the log, the segment and the sector number. Records (`record.rs`) are contiguous, each with a CRC32C
//! seeded by that of the previous record, across segments.
//!
//! After a power failure any subset of the last flush's sectors may be written; the others are zero or shorter, as
//! before. Each sector names its flush and the first sector of that flush, which distinguishes a hole from damage: it
//! is a torn tail only if it lies in the last flush. Damage is never repaired: see [`OpenError::Corrupt`].

#![warn(missing_docs)]

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
