//! The tools without an image, for what inspects images.

use std::path::PathBuf;

use progress::Progress;

use super::{Build, BuildError};
use crate::fetch::DebCache;
use crate::lock::Tree;
use crate::options::Options;
use crate::work::Work;

/// The locked tools tree. It is not removed while this exists.
#[derive(Debug)]
pub struct LockedTools {
    pub path: PathBuf,
    _work: Work,
}

/// Provides only the locked tools tree; unpacks it if necessary.
pub fn tools(options: &Options, progress: Progress) -> Result<LockedTools, BuildError> {
    let build = Build::open(options, progress)?;
    let cache = DebCache::open(&options.cache)?;
    let step = progress.step("packages");
    let report = |done, all| step.set(format!("{done} of {all}"));
    cache.fill(&build.lock.of_trees(&[Tree::Tools]), &options.cancel, &report)?;
    drop(step);
    Ok(LockedTools { path: build.unpack_tree(Tree::Tools, &cache, |_| Ok(()))?, _work: build.work })
}
