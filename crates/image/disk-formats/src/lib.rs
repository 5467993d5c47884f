//! Encodes a raw disk as the files that hypervisors and clouds import.
//!
//! Every encoder reads the raw disk once, in order, and depends on nothing but its arguments: the same disk and
//! identifiers always produce the same bytes. Blocks of zeros are not stored where the format can omit them.

#![warn(missing_docs)]

pub mod archive;
pub mod blocks;
pub mod chunks;
pub mod deflate;
pub mod geometry;
pub mod guid;
pub mod ovf;
pub mod vdi;
pub mod vhd;
pub mod vhdx;
pub mod vmdk;

/// Bytes of a sector in all formats of this crate.
pub const SECTOR: u64 = 512;
