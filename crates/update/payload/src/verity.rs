//! dm-verity hash trees as `veritysetup format` makes them: SHA-256, 4096-byte blocks.
//!
//! Streams the image and keeps one digest per block. Format: the kernel's
//! `Documentation/admin-guide/device-mapper/verity.rst` and cryptsetup's `lib/verity/verity.c`, hash type 1: the salt
//! precedes the block, and digests fill blocks from the top level down to the leaves, after a superblock.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::target::Target;
use release::{Digest, Verity};

/// Size of data and hash blocks.
pub const BLOCK_BYTES: usize = 4096;
/// Size of the superblock's field.
pub const MAX_SALT_BYTES: usize = 256;
const DIGEST_BYTES: usize = 32;
/// Write size.
const CHUNK_BYTES: usize = 1 << 20;

/// Parameters of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Prepended to each block; at most [`MAX_SALT_BYTES`].
    pub salt: Vec<u8>,
    /// In the superblock, in text order.
    pub uuid: [u8; 16],
}

impl Parameters {
    /// The parameters of a release's image.
    pub fn of(verity: &Verity) -> Result<Self, VerityError> {
        let digits = verity.uuid.replace('-', "");
        let number = (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten();
        let uuid = number.ok_or_else(|| VerityError::Uuid(verity.uuid.clone()))?.to_be_bytes();
        Ok(Self { salt: verity.salt.0.to_vec(), uuid })
    }
}

/// Why there is no hash tree, or not the expected one.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum VerityError {
    #[error("invalid UUID `{0}`")]
    Uuid(String),
    #[error("the salt has {0} bytes; the maximum is {MAX_SALT_BYTES}")]
    Salt(usize),
    #[error("the image size of {0} bytes is not a multiple of {BLOCK_BYTES}")]
    Blocks(u64),
    #[error("the hash tree has {needed} bytes and does not fit in {capacity} bytes")]
    TooSmall { needed: u64, capacity: u64 },
    #[error("cannot write the hash tree")]
    Write(#[source] io::Error),
    #[error("cannot read back the hash tree")]
    Read(#[source] io::Error),
    #[error("the hash tree differs from what was written at byte {0}")]
    Differs(u64),
}

/// Hashes an image incrementally.
#[derive(Debug)]
pub struct Hasher {
    parameters: Parameters,
    salted: Sha256,
    /// An incomplete block.
    partial_block: Vec<u8>,
    size: u64,
    leaves: Vec<u8>,
}

impl Hasher {
    /// `size`: the expected size of the image, in bytes.
    pub fn new(parameters: &Parameters, size: u64) -> Result<Self, VerityError> {
        if parameters.salt.len() > MAX_SALT_BYTES {
            return Err(VerityError::Salt(parameters.salt.len()));
        }
        let digests = usize::try_from(size / BLOCK_BYTES as u64 * DIGEST_BYTES as u64).unwrap_or(0);
        Ok(Self {
            parameters: parameters.clone(),
            salted: Sha256::new_with_prefix(&parameters.salt),
            partial_block: Vec::with_capacity(BLOCK_BYTES),
            size: 0,
            leaves: Vec::with_capacity(digests.next_multiple_of(BLOCK_BYTES)),
        })
    }

    /// Adds the next bytes of the image, of any number.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if !self.partial_block.is_empty() {
            let (head, tail) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.partial_block.len()));
            self.partial_block.extend_from_slice(head);
            bytes = tail;
            if self.partial_block.len() < BLOCK_BYTES {
                return;
            }
            push(&self.salted, &self.partial_block, &mut self.leaves);
            self.partial_block.clear();
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            push(&self.salted, block, &mut self.leaves);
        }
        self.partial_block.extend_from_slice(rest);
    }

    /// Fails unless the size is a multiple of [`BLOCK_BYTES`], and not 0.
    pub fn finish(self) -> Result<Tree, VerityError> {
        if !self.partial_block.is_empty() || self.size == 0 {
            return Err(VerityError::Blocks(self.size));
        }
        let mut levels = Vec::new();
        let mut level = self.leaves;
        while level.len() > DIGEST_BYTES {
            level.resize(level.len().next_multiple_of(BLOCK_BYTES), 0);
            let mut parent = Vec::with_capacity(level.len() / BLOCK_BYTES * DIGEST_BYTES);
            for block in level.as_chunks::<BLOCK_BYTES>().0 {
                push(&self.salted, block, &mut parent);
            }
            levels.push(level);
            level = parent;
        }
        levels.reverse();
        let mut root = [0; DIGEST_BYTES];
        root.copy_from_slice(&level);
        let superblock = superblock(&self.parameters, self.size / BLOCK_BYTES as u64);
        Ok(Tree { root: Digest(root), superblock, levels })
    }
}

fn push(salted: &Sha256, block: &[u8], digests: &mut Vec<u8>) {
    digests.extend_from_slice(&salted.clone().chain_update(block).finalize());
}

/// `struct verity_sb`, padded to a block.
fn superblock(parameters: &Parameters, blocks: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOCK_BYTES);
    bytes.extend_from_slice(b"verity\0\0");
    bytes.extend_from_slice(&1_u32.to_le_bytes()); // version
    bytes.extend_from_slice(&1_u32.to_le_bytes()); // hash type
    bytes.extend_from_slice(&parameters.uuid);
    let mut algorithm = [0; 32];
    algorithm[..6].copy_from_slice(b"sha256");
    bytes.extend_from_slice(&algorithm);
    let block = u32::try_from(BLOCK_BYTES).unwrap_or_default().to_le_bytes();
    bytes.extend_from_slice(&block); // of the image
    bytes.extend_from_slice(&block); // of the tree
    bytes.extend_from_slice(&blocks.to_le_bytes());
    let salt = u16::try_from(parameters.salt.len()).unwrap_or_default();
    bytes.extend_from_slice(&salt.to_le_bytes());
    bytes.extend_from_slice(&[0; 6]);
    bytes.extend_from_slice(&parameters.salt);
    bytes.resize(BLOCK_BYTES, 0);
    bytes
}

/// Size of the tree for an image of `size` bytes, including the superblock.
#[must_use]
pub fn tree_bytes(size: u64) -> u64 {
    let block = BLOCK_BYTES as u64;
    let (mut blocks, mut all) = (size.div_ceil(block), 1);
    while blocks > 1 {
        blocks = (blocks * DIGEST_BYTES as u64).div_ceil(block);
        all += blocks;
    }
    all * block
}

/// The content of a verity partition.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The root hash.
    pub root: Digest,
    superblock: Vec<u8>,
    /// From the top down.
    levels: Vec<Vec<u8>>,
}

impl Tree {
    /// The content, in chunks.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.superblock).chain(&self.levels).flat_map(|part| part.chunks(CHUNK_BYTES))
    }

    /// In bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.parts().map(|part| part.len() as u64).sum()
    }

    /// Durable on return.
    pub fn write(&self, target: &dyn Target) -> Result<(), VerityError> {
        let (needed, capacity) = (self.size(), target.capacity().map_err(VerityError::Write)?);
        if needed > capacity {
            return Err(VerityError::TooSmall { needed, capacity });
        }
        let mut offset = 0;
        for part in self.parts() {
            target.write_at(part, offset).map_err(VerityError::Write)?;
            offset += part.len() as u64;
        }
        target.finish(needed).map_err(VerityError::Write)
    }

    /// Compares with the content of `from`.
    pub fn compare(&self, mut from: impl Read) -> Result<(), VerityError> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut offset = 0;
        for part in self.parts() {
            let read = &mut buffer[..part.len()];
            from.read_exact(read).map_err(VerityError::Read)?;
            if let Some(at) = part.iter().zip(&*read).position(|(expect, got)| expect != got) {
                return Err(VerityError::Differs(offset + at as u64));
            }
            offset += part.len() as u64;
        }
        Ok(())
    }
}
