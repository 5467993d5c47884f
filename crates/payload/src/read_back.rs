//! Reads an image back and holds it against what was signed: its digest, and the root of its verity tree.
//!
//! It reads once, a few mebibytes at a time. Where the bytes come from is the caller's: [`FromDisk`] for what the disk
//! has.
//!
//! [`FromDisk`]: crate::place::FromDisk

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::verity::{self, Parameters, Tree, VerityError};
use release::Digest;

const PIECE_BYTES: usize = 1 << 20;
/// Pieces that are read or hashed at any moment.
const PIECES: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    #[error("can not read {role} back, from byte {offset} on")]
    Read { role: String, offset: u64, source: io::Error },
    #[error("what is read back of {role} is not what was written: its SHA-256 is {got}, not {wanted}")]
    WrongHash { role: String, wanted: Digest, got: Digest },
    #[error("what is read back of {role} has the verity root {got}, not {wanted}")]
    WrongRoot { role: String, wanted: Digest, got: Digest },
    #[error(transparent)]
    Verity(#[from] VerityError),
    #[error("cancelled")]
    Cancelled,
}

/// What an image has to be, as its release says.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub role: &'a str,
    /// In bytes; what follows is not looked at.
    pub size: u64,
    pub sha256: Digest,
    /// How its tree is made, and the tree's root.
    pub verity: Option<(&'a Parameters, Digest)>,
}

/// Reads all of the image from `from`. `watch` is told after each piece how many bytes are done; it says false to
/// cancel. The tree is there where one was expected.
pub fn read_back(
    expected: &Expected<'_>,
    from: impl Read,
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<Tree>, ReadBackError> {
    let hasher = expected.verity.map(|(parameters, _)| verity::Hasher::new(parameters, expected.size));
    let hasher = hasher.transpose()?;
    let (got, tree) = thread::scope(|scope| {
        let mut lines = Vec::new();
        let (line, pieces) = Line::new();
        lines.push(line);
        let whole = scope.spawn(move || {
            let mut hasher = Sha256::new();
            pieces.each(|piece| hasher.update(piece));
            Digest::finished(hasher)
        });
        let tree = hasher.map(|mut hasher| {
            let (line, pieces) = Line::new();
            lines.push(line);
            scope.spawn(move || {
                pieces.each(|piece| hasher.update(piece));
                hasher.finish()
            })
        });
        let passed = pass(expected, from, &mut lines, watch);
        drop(lines);
        // invariant: hashing does not panic; if it did, nothing would be right.
        let joined = (whole.join(), tree.map(thread::ScopedJoinHandle::join).transpose());
        passed?;
        match joined {
            (Ok(whole), Ok(tree)) => Ok::<_, ReadBackError>((whole, tree.transpose()?)),
            (Err(panic), _) | (_, Err(panic)) => std::panic::resume_unwind(panic),
        }
    })?;
    if got != expected.sha256 {
        return Err(ReadBackError::WrongHash { role: expected.role.into(), wanted: expected.sha256, got });
    }
    match (&tree, expected.verity) {
        (Some(tree), Some((_, wanted))) if tree.root != wanted => {
            Err(ReadBackError::WrongRoot { role: expected.role.into(), wanted, got: tree.root })
        }
        _ => Ok(tree),
    }
}

/// Reads, and gives each piece to each line.
fn pass(
    expected: &Expected<'_>,
    mut from: impl Read,
    lines: &mut [Line],
    watch: &mut dyn FnMut(u64) -> bool,
) -> Result<(), ReadBackError> {
    let mut ring: [Arc<Vec<u8>>; PIECES] = std::array::from_fn(|_| Arc::new(vec![0; PIECE_BYTES]));
    let mut done = 0;
    for number in 0.. {
        let left = expected.size - done;
        if left == 0 {
            break;
        }
        if number >= PIECES {
            lines.iter().for_each(Line::wait);
        }
        // invariant: all lines are done with the piece that was here; a copy would be right too.
        let piece = Arc::make_mut(&mut ring[number % PIECES]);
        piece.resize(usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES), 0);
        from.read_exact(piece).map_err(|source| ReadBackError::Read {
            role: expected.role.into(),
            offset: done,
            source,
        })?;
        done += piece.len() as u64;
        lines.iter().for_each(|line| line.give(&ring[number % PIECES]));
        if !watch(done) {
            return Err(ReadBackError::Cancelled);
        }
    }
    Ok(())
}

/// To a thread that takes pieces in order.
struct Line {
    pieces: SyncSender<Arc<Vec<u8>>>,
    done: Receiver<()>,
}

struct Pieces {
    pieces: Receiver<Arc<Vec<u8>>>,
    done: SyncSender<()>,
}

impl Line {
    fn new() -> (Self, Pieces) {
        let (sender, pieces) = sync_channel(PIECES);
        let (done, receiver) = sync_channel(PIECES + 1);
        (Self { pieces: sender, done: receiver }, Pieces { pieces, done })
    }

    /// A thread that is gone has panicked, which shows when it is joined.
    fn give(&self, piece: &Arc<Vec<u8>>) {
        self.pieces.send(piece.clone()).ok();
    }

    fn wait(&self) {
        self.done.recv().ok();
    }
}

impl Pieces {
    fn each(self, mut take: impl FnMut(&[u8])) {
        for piece in self.pieces {
            take(&piece);
            drop(piece);
            self.done.send(()).ok();
        }
    }
}
