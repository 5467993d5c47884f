//! Stages consecutive file writes as a batch, so that their fsyncs overlap.
//!
//! Each file is still installed in its own step: log, failures and partial results are those of single writes.

use std::collections::BTreeMap;

use cloudinit::plan::{Action, FileKind, FileWrite, Step};
use host::files::{self, DIRECTORY_MODE, Request, Staged};
use host::{FileError, Outcome, Root, accounts};

/// Each holds two of the process's 1,024 file descriptors.
const MAX_FILES: usize = 256;
/// Staged files occupy disk space beside those that they replace.
const MAX_BYTES: usize = 8 << 20;

/// The files of the current batch.
#[derive(Debug, Default)]
pub(super) struct StagedFiles {
    /// By path; `None` if the file is already up to date.
    files: BTreeMap<String, Option<Staged>>,
    /// Steps of the batch that are still to come.
    pending: usize,
    /// A file of the batch was changed since it was staged.
    changed: bool,
}

impl StagedFiles {
    /// The writes to stage before the first of `steps`; empty if it belongs to the current batch.
    pub fn next_batch<'s>(&mut self, steps: &'s [Step]) -> Vec<&'s FileWrite> {
        if self.pending > 0 {
            self.pending -= 1;
            return Vec::new();
        }
        *self = Self::default();
        let mut bytes = 0;
        let writes: Vec<_> = steps
            .iter()
            .map_while(stageable)
            .take(MAX_FILES)
            .take_while(|write| {
                bytes += write.content.len();
                bytes <= MAX_BYTES
            })
            .collect();
        if writes.len() < 2 {
            return Vec::new();
        }
        self.pending = writes.len() - 1;
        writes
    }

    /// Files that cannot be staged are left to their step, which reports the error.
    pub fn stage(&mut self, root: &Root, writes: &[&FileWrite]) {
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

    /// Installs the staged file, or writes it if there is none.
    pub fn install(&mut self, root: &Root, request: &Request) -> Result<Outcome, FileError> {
        let outcome = match self.files.remove(request.path) {
            Some(Some(staged)) => staged.commit(),
            // An earlier file may be the same one under another path.
            Some(None) if !self.changed => Ok(Outcome::Unchanged),
            Some(None) | None => files::write(root, request),
        };
        self.changed |= !matches!(outcome, Ok(Outcome::Unchanged));
        outcome
    }
}

/// The write, if it does not depend on existing content.
fn stageable(step: &Step) -> Option<&FileWrite> {
    match &step.action {
        Action::Write(write) => {
            let is_unconditional =
                matches!(write.kind, FileKind::File | FileKind::Unit { .. } | FileKind::DropIn { .. });
            is_unconditional.then_some(write)
        }
        _ => None,
    }
}

/// `None` if the owner is unknown.
fn stage_one(root: &Root, write: &FileWrite) -> Option<Result<Option<Staged>, FileError>> {
    let owner = accounts::owner(root, &write.owner).ok()?;
    let FileWrite { path, mode, content, .. } = write;
    Some(files::stage(root, &Request { path, mode: *mode, owner, content, directory_mode: DIRECTORY_MODE }))
}
