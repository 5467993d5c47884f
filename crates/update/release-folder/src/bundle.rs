//! Bundles: a release in one file, for machines without a network.

use std::fs::{self, File};
use std::path::Path;

use release::files;
use update_core::repository::TARGETS_FILE;
use update_core::roots;

use crate::build::{BuildError, BuiltRelease};
use crate::roots::{SignedRoot, load_roots};

impl BuiltRelease {
    /// Writes a bundle, `keelson-VERSION.kup`: an uncompressed tar file with the release, `targets.json` and the roots of its
    /// folder.
    pub fn bundle(&self, path: &Path) -> Result<(), BuildError> {
        let failed = |source| BuildError::Write { path: path.to_owned(), source };
        let partial = path.with_extension("part");
        let mut archive = tar::Builder::new(File::create(&partial).map_err(failed)?);
        let blobs = self.release.blobs().map(|blob| blob.url.as_str());
        let roots = load_roots(&self.folder)?;
        let roots: Vec<_> = roots.iter().map(|SignedRoot { version, .. }| roots::file(*version)).collect();
        let roots = roots.iter().map(String::as_str);
        for name in [files::RELEASE, TARGETS_FILE].into_iter().chain(roots).chain(blobs) {
            archive.append_path_with_name(self.folder.join(name), name).map_err(failed)?;
        }
        archive.into_inner().and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&partial, path).map_err(failed)
    }
}
