//! Target files (specification, section 5.7).

use crate::digests::{Digests, Hasher, Mismatch};
use crate::metadata::{RoleName, TargetFile};
use crate::names::{NameError, target_file};

/// A target file as trusted metadata describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As requested.
    pub path: String,
    /// The role that describes it.
    pub role: RoleName,
    /// Its length, digests and custom data.
    pub file: TargetFile,
    /// Whether its name in the repository has a digest.
    pub has_digest_name: bool,
}

/// Verifies a target file as its bytes arrive.
#[derive(Debug)]
pub struct TargetHasher {
    expected: u64,
    digests: Digests,
    hasher: Hasher,
}

impl Target {
    /// The percent-encoded path of the file in the repository.
    ///
    /// # Errors
    /// The path is not one of a file in a folder.
    pub fn repository_path(&self) -> Result<String, NameError> {
        target_file(&self.path, self.file.hashes.for_name().filter(|_| self.has_digest_name))
    }

    /// Whether the bytes are the file's: also for a file that was downloaded before.
    ///
    /// # Errors
    /// See [`Mismatch`].
    pub fn verify(&self, bytes: &[u8]) -> Result<(), Mismatch> {
        let mut hasher = self.hasher();
        hasher.update(bytes)?;
        hasher.finish()
    }

    /// For a file that does not fit into memory.
    #[must_use]
    pub fn hasher(&self) -> TargetHasher {
        let digests = self.file.hashes.clone();
        TargetHasher { expected: self.file.length, hasher: digests.hasher(), digests }
    }
}

impl TargetHasher {
    /// Adds bytes.
    ///
    /// # Errors
    /// They are more than the file has: stop reading.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), Mismatch> {
        self.hasher.update(bytes);
        let (found, expected) = (self.hasher.length(), self.expected);
        if found > expected { Err(Mismatch::Length { found, expected }) } else { Ok(()) }
    }

    /// After the last byte. The bytes may be used only if this succeeds.
    ///
    /// # Errors
    /// See [`Mismatch`].
    pub fn finish(self) -> Result<(), Mismatch> {
        let (found, expected) = (self.hasher.length(), self.expected);
        if found != expected {
            return Err(Mismatch::Length { found, expected });
        }
        self.hasher.verify(&self.digests)
    }
}
