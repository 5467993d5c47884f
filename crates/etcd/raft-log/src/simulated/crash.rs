//! Simulates a crash: what remains of a sequence of steps. It guarantees nothing that `disk.rs` does not.

use std::collections::BTreeMap;

use crate::limits::SECTOR_BYTES;

/// What happens to unsynced changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All are lost.
    Lost,
    /// All are kept: only the process has died.
    Kept,
    /// Random for each sector of each write and for each name. Determined by the seed.
    Mixed(u64),
}

/// A recorded operation.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create { name: String, file: usize, size: u64 },
    Write { file: usize, offset: u64, bytes: Vec<u8> },
    Sync { file: usize },
    Rename { from: String, to: String },
    Remove { name: String },
    SyncFolder,
}

#[derive(Clone, Default)]
pub(super) struct DiskContents {
    pub names: BTreeMap<String, usize>,
    pub files: Vec<Vec<u8>>,
}

/// What is durable, and the operations since.
struct Crash<'a> {
    content: DiskContents,
    names: Vec<&'a Step>,
    /// For each file, the unsynced creation and writes.
    files: Vec<Unsynced<'a>>,
}

#[derive(Default)]
struct Unsynced<'a> {
    created: Option<u64>,
    writes: Vec<(u64, &'a [u8])>,
}

/// The contents after `start` and `steps`, followed by a crash.
pub(super) fn crashed(start: &DiskContents, steps: &[Step], fate: Fate) -> DiskContents {
    let files = start.files.iter().map(|_| Unsynced::default()).collect();
    let mut crash = Crash { content: start.clone(), names: Vec::new(), files };
    steps.iter().for_each(|step| crash.apply(step));
    crash.finish(&mut Choices::of(fate))
}

impl<'a> Crash<'a> {
    fn apply(&mut self, step: &'a Step) {
        match step {
            Step::Create { size, .. } => {
                self.content.files.push(Vec::new());
                self.files.push(Unsynced { created: Some(*size), writes: Vec::new() });
                self.names.push(step);
            }
            Step::Write { file, offset, bytes } => self.files[*file].writes.push((*offset, bytes)),
            Step::Sync { file } => self.sync(*file, &mut Choices::of(Fate::Kept)),
            Step::Rename { .. } | Step::Remove { .. } => self.names.push(step),
            Step::SyncFolder => self.sync_names(&mut Choices::of(Fate::Kept)),
        }
    }

    fn finish(mut self, choices: &mut Choices) -> DiskContents {
        self.sync_names(choices);
        for file in 0..self.files.len() {
            self.sync(file, choices);
        }
        self.content
    }

    fn sync(&mut self, file: usize, choices: &mut Choices) {
        let unsynced = std::mem::take(&mut self.files[file]);
        let content = &mut self.content.files[file];
        if let Some(size) = unsynced.created {
            let size = match (choices.keeps(), choices.keeps()) {
                (true, _) => size,
                (false, true) => size / 2,
                (false, false) => 0,
            };
            content.resize(usize::try_from(size).unwrap_or(usize::MAX), 0);
        }
        for (offset, bytes) in unsynced.writes {
            for (from, to) in sectors(offset, bytes.len()) {
                let at = usize::try_from(offset).unwrap_or(usize::MAX) + from;
                let kept = choices.keeps();
                if let Some(target) = content.get_mut(at..at + to - from)
                    && kept
                {
                    target.copy_from_slice(&bytes[from..to]);
                }
            }
        }
    }

    fn sync_names(&mut self, choices: &mut Choices) {
        for step in std::mem::take(&mut self.names) {
            if choices.keeps() {
                self.content.apply_name(step);
            }
        }
    }
}

impl DiskContents {
    /// Applies a step to the names. No effect if the name does not exist.
    pub(super) fn apply_name(&mut self, step: &Step) {
        match step {
            Step::Create { name, file, .. } => {
                self.names.insert(name.clone(), *file);
            }
            Step::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Step::Remove { name } => {
                self.names.remove(name);
            }
            Step::Write { .. } | Step::Sync { .. } | Step::SyncFolder => {}
        }
    }
}

/// The parts of a write of `length` bytes at `offset`, one for each sector.
fn sectors(offset: u64, length: usize) -> impl Iterator<Item = (usize, usize)> {
    let skew = (offset % SECTOR_BYTES as u64) as usize;
    let first = (SECTOR_BYTES - skew).min(length);
    let rest = (first..length).step_by(SECTOR_BYTES);
    let rest = rest.map(move |from| (from, (from + SECTOR_BYTES).min(length)));
    std::iter::once((0, first)).chain(rest)
}

/// A sequence of decisions.
enum Choices {
    Always(bool),
    /// SplitMix64: small and portable.
    Seeded(u64),
}

impl Choices {
    fn of(fate: Fate) -> Self {
        match fate {
            Fate::Lost => Self::Always(false),
            Fate::Kept => Self::Always(true),
            Fate::Mixed(seed) => Self::Seeded(seed),
        }
    }

    fn keeps(&mut self) -> bool {
        match self {
            Self::Always(kept) => *kept,
            Self::Seeded(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (mixed ^ (mixed >> 31)) & 1 == 1
            }
        }
    }
}
