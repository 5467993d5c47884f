//! Imports a finished image file: extracts all parts that machines need, without the rest of its build.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::finish::{Record, record_of, record_path};
use crate::tree::{PathContext, TreeError, make_folder, remove, write_file};
use crate::verify::{Disk, VerifyError};
use crate::work::Key;

const METADATA: &str = "about.json";
const RAW: &str = "disk.raw";
const EROFS: &str = "usr.erofs";
const TREE: &str = "usr";
/// Extensions of the disks that a folder is searched for, the quickest to import first.
const DISKS: [&str; 2] = ["raw", "qcow2"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedImage {
    pub version: String,
    pub channel: String,
    pub raw: PathBuf,
    pub usr_erofs: PathBuf,
    /// Exists only if it was requested.
    pub usr_tree: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    version: String,
    channel: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("cannot extract the image")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error("{path} is not an image manifest")]
    Metadata { path: PathBuf, source: serde_json::Error },
    #[error("{folder} contains no {} or {} image", DISKS[0], DISKS[1])]
    NoImage { folder: PathBuf },
    #[error("{folder} contains several images: use one of {}", .names.join(", "))]
    Ambiguous { folder: PathBuf, names: Vec<String> },
}

/// Folder name for the import of `file`; it changes when the file changes.
pub fn import_name(file: &Path) -> Result<String, TreeError> {
    let path = fs::canonicalize(file).at(file)?;
    let data = path.metadata().at(&path)?;
    let attributes =
        [data.dev(), data.ino(), data.len(), data.mtime().unsigned_abs(), data.mtime_nsec().unsigned_abs()];
    let key = Key::new("taken").with(&path.to_string_lossy());
    Ok(attributes.iter().fold(key, |key, attribute| key.with(&attribute.to_string())).name())
}

/// The disk file of `path`, which may be the disk, its record, or a folder with a single disk.
pub fn find_disk(path: &Path) -> Result<PathBuf, ImportError> {
    let record = path.extension().is_some_and(|extension| extension == "json");
    if !record && !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let disk_beside = |record: &Path| {
        let files = DISKS.map(|extension| record.with_extension(extension));
        files.into_iter().find(|file| file.is_file())
    };
    if record {
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        // Versions contain dots: only the last part is the extension.
        return disk_beside(path).ok_or(ImportError::NoImage { folder });
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).at(path)? {
        let file = entry.at(path)?.path();
        let is_disk = DISKS.iter().any(|disk| file.extension().is_some_and(|extension| extension == *disk));
        if is_disk && file.is_file() {
            found.push(record_path(&file));
        }
    }
    found.sort();
    found.dedup();
    match &*found {
        [record] => disk_beside(record).ok_or_else(|| ImportError::NoImage { folder: path.to_path_buf() }),
        [] => Err(ImportError::NoImage { folder: path.to_path_buf() }),
        records => {
            let stem =
                |record: &PathBuf| record.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Err(ImportError::Ambiguous {
                folder: path.to_path_buf(),
                names: records.iter().map(stem).collect(),
            })
        }
    }
}

/// Extracts the parts of `file`, in any format, to `folder`, unless they exist. `tools` is a tools tree. `tree` also
/// unpacks `/usr` to a folder.
pub fn import(file: &Path, tools: &Path, folder: &Path, tree: bool) -> Result<ImportedImage, ImportError> {
    let metadata = folder.join(METADATA);
    let complete = metadata.exists() && (!tree || folder.join(TREE).exists());
    if !complete {
        let partial = folder.with_extension("partial");
        remove(&partial)?;
        make_folder(&partial)?;
        extract(file, tools, &partial, tree)?;
        remove(folder)?;
        fs::rename(&partial, folder).at(folder)?;
    }
    let text = fs::read(&metadata).at(&metadata)?;
    let Metadata { version, channel } =
        serde_json::from_slice(&text).map_err(|source| ImportError::Metadata { path: metadata, source })?;
    let [raw, usr_erofs, usr_tree] = [RAW, EROFS, TREE].map(|name| folder.join(name));
    Ok(ImportedImage { version, channel, raw, usr_erofs, usr_tree })
}

fn extract(file: &Path, tools: &Path, folder: &Path, tree: bool) -> Result<(), ImportError> {
    let disk = Disk::open_in(file, tools, folder)?;
    disk.write_partition("USR-A", &folder.join(EROFS))?;
    if tree {
        disk.unpack_erofs(&folder.join(EROFS), &folder.join(TREE))?;
    }
    // Prefers the record beside the file, since reading the image is slow.
    let metadata = match read_record(file) {
        Some(record) => Metadata { version: record.version, channel: record.channel },
        None => Metadata { version: disk.version()?, channel: disk.channel()? },
    };
    disk.write_raw(&folder.join(RAW))?;
    let path = folder.join(METADATA);
    let text = serde_json::to_vec(&metadata).map_err(io::Error::from).at(&path)?;
    Ok(write_file(&path, &text, 0o644)?)
}

fn read_record(file: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(record_of(file)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_a_record_and_a_file_find_the_same_disk() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let check = |path: &Path, expect: &str| {
            let found = find_disk(path).map_err(|error| error.to_string());
            let found = found.map(|file| file.file_name().unwrap().to_string_lossy().into_owned());
            assert_eq!(
                found.unwrap_or_else(|error| error),
                expect.replace("DIR", &folder.path().to_string_lossy())
            );
        };
        check(folder.path(), "DIR contains no raw or qcow2 image");
        for name in ["keelson-1.2.3-alpha.json", "keelson-1.2.3-alpha.qcow2"] {
            fs::write(at(name), "").unwrap();
        }
        check(folder.path(), "keelson-1.2.3-alpha.qcow2");
        check(&at("keelson-1.2.3-alpha.json"), "keelson-1.2.3-alpha.qcow2");
        fs::write(at("keelson-1.2.3-alpha.raw"), "").unwrap();
        check(folder.path(), "keelson-1.2.3-alpha.raw");
        check(&at("keelson-1.2.3-alpha.qcow2"), "keelson-1.2.3-alpha.qcow2");
        fs::write(at("keelson-1.2.4-alpha.raw"), "").unwrap();
        check(
            folder.path(),
            "DIR contains several images: use one of keelson-1.2.3-alpha, keelson-1.2.4-alpha",
        );
    }

    #[test]
    fn a_replaced_file_has_another_import_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.raw");
        fs::write(&file, "one").unwrap();
        let first = import_name(&file).unwrap();
        assert_eq!(import_name(&file).unwrap(), first);
        fs::write(&file, "three").unwrap();
        assert_ne!(import_name(&file).unwrap(), first);
    }
}
