//! How an update's bytes travel: images cut into segments, each a zstd frame of its own, alone or on top of what the
//! old image has there; put together again with every byte verified before it is written and after.
//!
//! It opens no connection and knows no slot: frames come from a [`Source`], images go to a [`Target`]. It must never
//! write a byte that was not verified, hold an image whole, or trust a note about what was written before.

mod apply;
mod frame;
mod index;
pub mod limits;
mod old;
mod opened;
mod pack;
mod place;
mod read_back;
mod source;
pub mod verity;
mod whole;
mod write_behind;

pub use apply::{Applied, Apply, ApplyError, Part, Progress, apply};
pub use frame::FrameError;
pub use index::{Image, Index, IndexError, Kind, OldImage, OldRange, Segment};
pub use opened::ReadError;
pub use pack::{Input, Old, Options, PackError, Packed, Packing, THOROUGH, pack, pack_delta};
pub use place::{FromDisk, GrowingFile, Partition, ReadAt, Target, sync_and_forget};
pub use read_back::{Expected, ReadBackError, read_back, read_back_tree};
pub use release::Digest;
pub use source::{Source, TransferError};
pub use whole::WriteError;
