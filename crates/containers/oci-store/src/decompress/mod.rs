//! Decompression of layers and archives, in a process without rights: decoders read what nobody has verified, as root.

mod arguments;
mod child;
mod formats;
mod process;

use std::io::{self, Read};
use std::path::PathBuf;

use oci_image::media_type::Compression;

pub use arguments::DECOMPRESSOR_NAME;
pub use child::run as run_decompressor;

const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const BZIP2: [u8; 3] = *b"BZh";
/// The program of this process, also after its file was replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Where data is decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decompression {
    /// In this process, with all its rights: for tests, whose program cannot start itself as a child.
    InProcess,
    /// In a child: this program, which calls [`run_decompressor`] if its name is [`DECOMPRESSOR_NAME`].
    Process(PathBuf),
}

impl Decompression {
    /// In children of the running program.
    #[must_use]
    pub fn own_program() -> Self {
        Self::Process(OWN_PROGRAM.into())
    }

    /// Reads compressed data.
    pub(crate) fn decoder<'a>(
        &self,
        compression: Compression,
        from: impl Read + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        match (self, arguments::name(compression)) {
            (Self::Process(program), Some(name)) => {
                Ok(Box::new(process::Decompressor::start(program, name, from)?))
            }
            _ => formats::decoder(compression, from),
        }
    }

    /// Reads data whose first bytes show its compression.
    pub(crate) fn detect<'a>(
        &self,
        mut from: impl Read + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        let mut start = Vec::new();
        from.by_ref().take(XZ.len() as u64).read_to_end(&mut start)?;
        if start.starts_with(&XZ) || start.starts_with(&BZIP2) {
            return Err(io::Error::other("compressed by xz or bzip2; expected gzip, zstd or no compression"));
        }
        self.decoder(Compression::of_magic(&start), io::Cursor::new(start).chain(from))
    }
}
