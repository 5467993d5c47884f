//! The archive of debugging tools for `toolbox`, built without an image.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use progress::Progress;

use super::{Build, BuildError, cached_mark, with_cause};
use crate::lock::Tree;
use crate::options::Options;
use crate::recipe::TOOLBOX;
use crate::toolbox;
use crate::work::Work;

/// An archive in the work folder. It is not removed while this exists.
#[derive(Debug)]
pub struct ToolboxArchive {
    path: PathBuf,
    pub version: String,
    /// Number of packages.
    pub packages: usize,
    _work: Work,
}

impl ToolboxArchive {
    /// Returns the number of bytes. A file of this name is complete: it is copied aside and renamed.
    pub fn copy_to(&self, file: &Path) -> io::Result<u64> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut copy = tempfile::Builder::new().prefix(".keelson-").tempfile_in(folder)?;
        let bytes = io::copy(&mut File::open(&self.path)?, &mut copy)?;
        copy.as_file().set_permissions(Permissions::from_mode(0o644))?;
        copy.as_file().sync_all()?;
        copy.persist(file)?;
        Ok(bytes)
    }
}

/// Builds the archive of the checkout's `[toolbox]` packages.
pub fn toolbox(options: &Options, progress: Progress) -> Result<ToolboxArchive, BuildError> {
    Build::open(options, progress).and_then(Build::toolbox).map_err(|error| with_cause(error, options))
}

impl Build<'_> {
    fn toolbox(mut self) -> Result<ToolboxArchive, BuildError> {
        let cache = self.packages(&[Tree::Tools, Tree::Toolbox])?;
        let tools = self.sandbox(&self.tools_tree(&cache)?)?;
        let base = self.unpack_tree(Tree::Toolbox, &cache, |_| Ok(()))?;
        let step = self.progress.step("toolbox");
        let (layer, version) = (self.options.checkout.join(toolbox::LAYER), self.release.full_version());
        let epoch = self.release.epoch;
        let key = self.packages_key(Tree::Toolbox)?;
        let key = key.with(TOOLBOX).with(&version).with(&epoch.to_string()).with_path(&layer)?;
        let inputs = toolbox::Inputs { base: &base, layer: &layer, version: &version, epoch, tools: &tools };
        let (folder, cached) = self.work.result("toolbox", &key, |folder| toolbox::make(&inputs, folder))?;
        let packages = self.lock.of(Tree::Toolbox).count();
        let took = step.done(&format!("archive of {packages} packages{}", cached_mark(cached)));
        self.finish_step("toolbox", took)?;
        Ok(ToolboxArchive { path: folder.join(toolbox::ARCHIVE), version, packages, _work: self.work })
    }
}
