//! Reads an image back and holds it against what was signed: by the root of its verity tree, which stands for each of its
//! bytes, or by its digest where it has no tree.
//!
//! It reads and hashes once, a few mebibytes at a time. Where the bytes come from is the caller's: [`FromDisk`] for what
//! the disk has.
//!
//! [`FromDisk`]: crate::place::FromDisk

use std::io::{self, Read};
use std::sync::mpsc::sync_channel;
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::verity::{Hasher, Parameters, Tree, VerityError};
use release::Digest;

const PIECE_BYTES: usize = 1 << 20;
/// Pieces that are read or hashed at any moment.
const PIECES: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    #[error("cannot read {role} back, from byte {offset} on")]
    Read { role: String, offset: u64, source: io::Error },
    #[error("what is read back of {role} is not what was written: its SHA-256 is {got}, not {wanted}")]
    WrongHash { role: String, wanted: Digest, got: Digest },
    #[error("what is read back of {role} is not what was written: its verity root is {got}, not {wanted}")]
    WrongRoot { role: String, wanted: Digest, got: Digest },
    #[error(transparent)]
    Verity(#[from] VerityError),
    #[error("cancelled")]
    Cancelled,
}

/// An image as its release has it.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub role: &'a str,
    /// In bytes; what follows is not looked at.
    pub size: u64,
    /// Its SHA-256, or its tree's root.
    pub digest: Digest,
}

/// Reads all of the image from `from`. `watch` is told after each piece how many bytes are done; it says false to
/// cancel.
pub fn read_back(
    expected: &Expected<'_>,
    from: impl Read,
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<(), ReadBackError> {
    let hasher = pass(expected, from, Sha256::new(), |hasher, piece| hasher.update(piece), watch)?;
    let (role, wanted, got) = (expected.role, expected.digest, Digest::finished(hasher));
    if got == wanted { Ok(()) } else { Err(ReadBackError::WrongHash { role: role.into(), wanted, got }) }
}

/// The same for an image with a tree, which it gives.
pub fn read_back_tree(
    expected: &Expected<'_>,
    parameters: &Parameters,
    from: impl Read,
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<Tree, ReadBackError> {
    let hasher = Hasher::new(parameters, expected.size)?;
    let tree = pass(expected, from, hasher, Hasher::update, watch)?.finish()?;
    let (role, wanted, got) = (expected.role, expected.digest, tree.root);
    if got == wanted { Ok(tree) } else { Err(ReadBackError::WrongRoot { role: role.into(), wanted, got }) }
}

/// Reads, and hashes beside it.
fn pass<H: Send>(
    expected: &Expected<'_>,
    mut from: impl Read,
    mut hasher: H,
    update: impl Fn(&mut H, &[u8]) + Send,
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<H, ReadBackError> {
    thread::scope(|scope| {
        let (give, taken) = sync_channel::<Vec<u8>>(PIECES);
        let (give_back, spare) = sync_channel(PIECES);
        let hashing = scope.spawn(move || {
            for piece in taken {
                update(&mut hasher, &piece);
                // Nobody wants it where reading has ended.
                give_back.send(piece).ok();
            }
            hasher
        });
        let mut done = 0;
        for number in 0.. {
            let left = expected.size - done;
            if left == 0 {
                break;
            }
            // A hashing thread that is gone has panicked, which shows when it is joined.
            let mut piece = if number < PIECES { Vec::new() } else { spare.recv().unwrap_or_default() };
            piece.resize(usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES), 0);
            from.read_exact(&mut piece).map_err(|source| ReadBackError::Read {
                role: expected.role.into(),
                offset: done,
                source,
            })?;
            done += piece.len() as u64;
            give.send(piece).ok();
            if !watch(done) {
                return Err(ReadBackError::Cancelled);
            }
        }
        drop(give);
        hashing.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}
