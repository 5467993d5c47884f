//! The files of one built image version.
//!
//! Reads the manifest `image.json`, whose paths are relative to it; builds nothing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub const MANIFEST: &str = "image.json";

/// One built version. Paths are relative to the manifest's folder in the manifest, absolute after [`Image::read`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub version: String,
    pub channel: String,
    /// Sparse raw disk image (GPT, boots with OVMF). Node disks are overlays of it, so the file must never change; a
    /// new build is a new file.
    pub raw: PathBuf,
    /// Unpacked `/usr`, or a folder that contains it as `usr`, for nspawn on hosts that cannot mount erofs.
    pub usr_tree: PathBuf,
    pub usr_erofs: PathBuf,
    /// The locked tools tree (`usr/bin/qemu-system-x86_64`, `usr/share/OVMF/...`).
    pub tools: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("cannot read the image manifest {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is not an image manifest")]
    Format { path: PathBuf, source: serde_json::Error },
    #[error("the image manifest {manifest} names {path}, which does not exist")]
    Missing { manifest: PathBuf, path: PathBuf },
}

impl Image {
    /// Reads `folder/image.json`, or the manifest itself when `folder` is a file.
    pub fn read(folder: &Path) -> Result<Self, ImageError> {
        let path = if folder.is_dir() { folder.join(MANIFEST) } else { folder.to_path_buf() };
        let failed = |source| ImageError::Read { path: path.clone(), source };
        let text = std::fs::read(&path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let image: Self = serde_json::from_slice(&text)
            .map_err(|source| ImageError::Format { path: path.clone(), source })?;
        // invariant: a canonical path of a file has a parent.
        let base = path.parent().unwrap_or(Path::new("/"));
        let image = image.with_base(base);
        for file in [&image.raw, &image.tools] {
            if !file.exists() {
                return Err(ImageError::Missing { manifest: path, path: file.clone() });
            }
        }
        Ok(image)
    }

    fn with_base(self, base: &Path) -> Self {
        Self {
            raw: base.join(self.raw),
            usr_tree: base.join(self.usr_tree),
            usr_erofs: base.join(self.usr_erofs),
            tools: base.join(self.tools),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_manifest_and_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = r#"{"version":"1.2.3","channel":"alpha","raw":"disk.raw","usr_tree":"usr",
            "usr_erofs":"usr.erofs","tools":"/"}"#;
        std::fs::write(folder.path().join(MANIFEST), manifest).unwrap();
        assert!(matches!(Image::read(folder.path()), Err(ImageError::Missing { .. })));
        std::fs::write(folder.path().join("disk.raw"), b"").unwrap();
        let image = Image::read(folder.path()).unwrap();
        assert_eq!(image.raw, folder.path().canonicalize().unwrap().join("disk.raw"));
        assert_eq!(image.tools, Path::new("/"));
        assert_eq!(Image::read(&folder.path().join(MANIFEST)).unwrap(), image);
    }
}
