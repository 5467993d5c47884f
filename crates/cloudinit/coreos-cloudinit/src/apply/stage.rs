//! Files that are written one after the other are made ready together: what takes the time is to wait for the disk,
//! and it takes many as fast as one.
//!
//! They still come into place one by one, each in its step: what a step says, and what is left when it fails, must be
//! as if it had been alone.

use std::collections::BTreeMap;

use cloudinit::plan::{Action, FileWrite, Part, Step};
use host::files::{self, DIRECTORY_MODE, Request, Staged};
use host::{FileError, Outcome, Root, accounts};

/// Each has two files open, of the 1,024 that a process may have.
const MAX_FILES: usize = 256;
/// They stand beside those that they replace.
const MAX_BYTES: usize = 8 << 20;

/// What was made ready.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// By path; `None` is as it should be already.
    files: BTreeMap<String, Option<Staged>>,
    /// Steps that were looked at and are still to come.
    left: usize,
    /// One of the files came into place since they were looked at.
    changed: bool,
}

impl Ahead {
    /// What is to be made ready before the first of `steps`: nothing where that was done.
    pub fn due<'s>(&mut self, steps: &'s [Step]) -> Vec<&'s FileWrite> {
        if self.left > 0 {
            self.left -= 1;
            return Vec::new();
        }
        *self = Self::default();
        let mut bytes = 0;
        let writes: Vec<_> = steps
            .iter()
            .map_while(plain)
            .take(MAX_FILES)
            .take_while(|write| {
                bytes += write.content.len();
                bytes <= MAX_BYTES
            })
            .collect();
        if writes.len() < 2 {
            return Vec::new();
        }
        self.left = writes.len() - 1;
        writes
    }

    /// What cannot be made ready is left to its step, which tells why.
    pub fn make_ready(&mut self, root: &Root, writes: &[&FileWrite]) {
        let mut staged = Vec::new();
        for write in writes {
            match stage_one(root, write) {
                Some(Ok(Some(file))) => staged.push((write.path.clone(), file)),
                Some(Ok(None)) => drop(self.files.insert(write.path.clone(), None)),
                Some(Err(_)) | None => {}
            }
        }
        files::sync(staged.iter_mut().map(|(_, file)| file).collect());
        self.files.extend(staged.into_iter().map(|(path, file)| (path, Some(file))));
    }

    /// Puts a file in place, the one that was made ready or a new one.
    pub fn put(&mut self, root: &Root, request: &Request) -> Result<Outcome, FileError> {
        let outcome = match self.files.remove(request.path) {
            Some(Some(staged)) => staged.put(),
            // A file before it may be the same one by another path.
            Some(None) if !self.changed => Ok(Outcome::Unchanged),
            Some(None) | None => files::write(root, request),
        };
        self.changed |= !matches!(outcome, Ok(Outcome::Unchanged));
        outcome
    }
}

/// What is written whatever is there, and without a look at it first.
fn plain(step: &Step) -> Option<&FileWrite> {
    match &step.action {
        Action::Write(write) => {
            let is_plain = matches!(write.part, Part::File | Part::Unit { .. } | Part::DropIn { .. });
            is_plain.then_some(write)
        }
        _ => None,
    }
}

/// `None` where the owner is not known.
fn stage_one(root: &Root, write: &FileWrite) -> Option<Result<Option<Staged>, FileError>> {
    let owner = accounts::owner(root, &write.owner).ok()?;
    let FileWrite { path, mode, content, .. } = write;
    Some(files::stage(root, &Request { path, mode: *mode, owner, content, directory_mode: DIRECTORY_MODE }))
}
