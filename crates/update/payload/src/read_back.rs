//! Reads an image back and verifies it by its verity root hash, or by its digest if it has no hash tree.
//!
//! Reads and hashes in parallel, in small chunks. [`DirectReader`] reads what is on the disk.
//!
//! [`DirectReader`]: crate::target::DirectReader

use std::io::{self, Read};
use std::sync::mpsc::sync_channel;
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::verity::{Hasher, Parameters, Tree, VerityError};
use release::Digest;

const CHUNK_BYTES: usize = 1 << 20;
/// Chunks in flight.
const CHUNKS: usize = 4;

/// Why written data is not as expected.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ReadBackError {
    #[error("cannot read back {role} from byte {offset}")]
    Read { role: String, offset: u64, source: io::Error },
    #[error("{role} differs from what was written: its SHA-256 is {got}, expected {wanted}")]
    WrongHash { role: String, wanted: Digest, got: Digest },
    #[error("{role} differs from what was written: its verity root hash is {got}, expected {wanted}")]
    WrongRoot { role: String, wanted: Digest, got: Digest },
    #[error(transparent)]
    Verity(#[from] VerityError),
    #[error("cancelled")]
    Cancelled,
}

/// The expected image.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// For messages.
    pub role: &'a str,
    /// In bytes. Data after that is ignored.
    pub size: u64,
    /// SHA-256, or the verity root hash.
    pub digest: Digest,
}

/// Reads and verifies an image by its digest. Calls `watch` with the number of bytes read; it returns false to
/// cancel.
pub fn read_back(
    expected: &Expected<'_>,
    from: impl Read,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<(), ReadBackError> {
    let hasher =
        read_and_hash(expected, from, Sha256::new(), |hasher, chunk| hasher.update(chunk), progress)?;
    let (role, wanted, got) = (expected.role, expected.digest, Digest::from_hasher(hasher));
    if got == wanted { Ok(()) } else { Err(ReadBackError::WrongHash { role: role.into(), wanted, got }) }
}

/// As [`read_back`], by the verity root hash. Returns the hash tree.
pub fn read_back_tree(
    expected: &Expected<'_>,
    parameters: &Parameters,
    from: impl Read,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Tree, ReadBackError> {
    let hasher = Hasher::new(parameters, expected.size)?;
    let tree = read_and_hash(expected, from, hasher, Hasher::update, progress)?.finish()?;
    let (role, wanted, got) = (expected.role, expected.digest, tree.root);
    if got == wanted { Ok(tree) } else { Err(ReadBackError::WrongRoot { role: role.into(), wanted, got }) }
}

/// Reads and hashes concurrently.
fn read_and_hash<H: Send>(
    expected: &Expected<'_>,
    mut from: impl Read,
    mut hasher: H,
    update: impl Fn(&mut H, &[u8]) + Send,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<H, ReadBackError> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Vec<u8>>(CHUNKS);
        let (recycle, spare) = sync_channel(CHUNKS);
        let hasher_thread = scope.spawn(move || {
            for chunk in receiver {
                update(&mut hasher, &chunk);
                // Fails once reading has ended.
                recycle.send(chunk).ok();
            }
            hasher
        });
        let mut done = 0;
        for number in 0.. {
            let left = expected.size - done;
            if left == 0 {
                break;
            }
            // A missing hashing thread has panicked, which `join` reports.
            let mut chunk = if number < CHUNKS { Vec::new() } else { spare.recv().unwrap_or_default() };
            chunk.resize(usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES), 0);
            from.read_exact(&mut chunk).map_err(|source| ReadBackError::Read {
                role: expected.role.into(),
                offset: done,
                source,
            })?;
            done += chunk.len() as u64;
            sender.send(chunk).ok();
            if !progress(done) {
                return Err(ReadBackError::Cancelled);
            }
        }
        drop(sender);
        hasher_thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}
