//! Update payloads: images cut into segments, each compressed as a separate zstd frame, optionally as a delta to the
//! old image, and reassembled with every byte verified before and after it is written.
//!
//! Does no networking and knows no slots: frames come from a [`Source`], images go to a [`Target`]. It never writes
//! an unverified byte, never holds a complete image in memory, and never trusts a record of earlier writes.

mod apply;
mod frame;
mod index;
pub mod limits;
mod old_window;
mod input_file;
mod pack;
mod target;
mod read_back;
mod source;
pub mod verity;
mod atomic_file;
mod write_behind;

pub use apply::{ApplyStats, Apply, ApplyError, ImageTarget, Progress, apply};
pub use frame::FrameError;
pub use index::{Image, Index, IndexError, Kind, OldImage, OldRange, Segment};
pub use input_file::ReadError;
pub use pack::{Input, DeltaBase, Options, PackError, Packed, PackProgress, DEFAULT_LEVEL, pack, pack_delta};
pub use target::{DirectReader, GrowingFile, Partition, ReadAt, Target, sync_and_drop_cache};
pub use read_back::{Expected, ReadBackError, read_back, read_back_tree};
pub use release::Digest;
pub use source::{Source, TransferError};
pub use atomic_file::WriteError;
