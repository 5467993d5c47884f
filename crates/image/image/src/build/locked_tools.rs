//! The tree of the locked tools: for the steps of a build, and without an image for what inspects images.

use std::path::{Path, PathBuf};

use progress::Progress;
use sandbox::Sandbox;

use super::{Build, BuildError};
use crate::fetch::DebCache;
use crate::lock::Tree;
use crate::options::Options;
use crate::unpack::make_mount_point;
use crate::work::InUse;

/// The locked tools tree. It is not removed while this exists; builds may run.
#[derive(Debug)]
pub struct LockedTools {
    pub path: PathBuf,
    _in_use: InUse,
}

/// Provides only the locked tools tree; unpacks it if necessary.
pub fn tools(options: &Options, progress: Progress) -> Result<LockedTools, BuildError> {
    let build = Build::open(options, progress)?;
    let cache = DebCache::open(&options.cache)?;
    let step = progress.step("packages");
    let report = |done, all| step.set(format!("{done} of {all}"));
    cache.fill(&build.lock.of_trees(&[Tree::Tools]), &options.cancel, &report)?;
    drop(step);
    let path = build.tools_tree(&cache)?;
    let in_use = InUse::new(&path)?;
    Ok(LockedTools { path, _in_use: in_use })
}

impl Build<'_> {
    /// Unpacks the tools if necessary. All steps do it here: they are cached under one key.
    pub(super) fn tools_tree(&self, cache: &DebCache) -> Result<PathBuf, BuildError> {
        self.unpack_tree(Tree::Tools, cache, |tree| Ok(make_mount_point(tree)?))
    }

    /// Runs the tools of a tree, with the folders that every step needs.
    pub(super) fn sandbox(&self, tools_tree: &Path) -> Result<Sandbox, BuildError> {
        Ok(Sandbox::new(tools_tree)?.share(&self.options.checkout).share(self.work.folder()))
    }
}
