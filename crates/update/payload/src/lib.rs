//! Update payloads: images cut into segments, each compressed as a separate zstd frame, optionally as a delta to the
//! old image, and reassembled with every byte verified before and after it is written.
//!
//! Does no networking and knows no slots: frames come from a [`Source`], images go to a [`Target`]. It never writes
//! an unverified byte, never holds a complete image in memory, and never trusts a record of earlier writes.

#![warn(missing_docs)]

mod apply;
mod atomic_file;
mod frame;
mod index;
mod input_file;
pub mod limits;
mod old_window;
mod pack;
mod read_back;
mod source;
mod target;
mod unpack;
pub mod verity;
mod write_behind;

pub use apply::{Apply, ApplyError, ApplyStats, ImageTarget, Progress, apply};
pub use atomic_file::WriteError;
pub use frame::FrameError;
pub use index::{Image, Index, IndexError, Kind, OldImage, OldRange, Segment};
pub use input_file::ReadError;
pub use pack::{DEFAULT_LEVEL, DeltaBase, Input, Options, PackError, PackProgress, Packed, pack, pack_delta};
pub use read_back::{Expected, ReadBackError, read_back, read_back_tree};
pub use release::Digest;
pub use source::{Source, TransferError};
pub use target::{DirectReader, GrowingFile, Partition, ReadAt, Target, sync_and_drop_cache};
pub use unpack::{LocalUnpacker, Output, Unpack, unpack_frame};
