//! What the workflow needs of the outside.

use std::collections::BTreeMap;
use std::error::Error;

/// A file of a repository. Paths are relative, and percent-encoded where a URL demands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File<'a> {
    /// Below the repository's metadata.
    Metadata(&'a str),
    /// Below the repository's targets.
    Target(&'a str),
}

/// The transport.
pub trait Fetch {
    /// The bytes of a file, or `None` if the repository does not have it. Reads at most `max_bytes`, and one more.
    ///
    /// # Errors
    /// Whatever keeps it from knowing. A slow server is the transport's to detect.
    fn fetch(
        &mut self,
        file: File<'_>,
        max_bytes: u64,
    ) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>>;
}

impl<F> Fetch for F
where
    F: FnMut(File<'_>, u64) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>>,
{
    fn fetch(
        &mut self,
        file: File<'_>,
        max_bytes: u64,
    ) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        self(file, max_bytes)
    }
}

/// Trusted metadata between two updates, by role. Each call is durable and atomic.
///
/// A role's name is not a file name: [`quoted_role`](crate::quoted_role) makes it one.
pub trait Store {
    /// The bytes last written.
    ///
    /// # Errors
    /// They cannot be read.
    fn read(&self, role: &str) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>>;

    /// Replaces the bytes of a role.
    ///
    /// # Errors
    /// They cannot be written.
    fn write(&mut self, role: &str, bytes: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Removes the bytes of a role, if there are any.
    ///
    /// # Errors
    /// They cannot be removed.
    fn remove(&mut self, role: &str) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// A store in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStore(pub BTreeMap<String, Vec<u8>>);

impl Store for MemoryStore {
    fn read(&self, role: &str) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.get(role).cloned())
    }

    fn write(&mut self, role: &str, bytes: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.insert(role.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&mut self, role: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.remove(role);
        Ok(())
    }
}
