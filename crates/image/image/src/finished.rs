//! What machines need of a finished image file, taken out of the file itself: whoever has the file needs nothing
//! else of its build.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::formats::{Format, Record, record_path};
use crate::tree::{At, TreeError, make_folder, put, remove};
use crate::verify::{Disk, VerifyError};
use crate::work::Key;

/// What a taken image tells of itself.
const ABOUT: &str = "about.json";
const RAW: &str = "disk.raw";
const EROFS: &str = "usr.erofs";
const TREE: &str = "usr";

/// The parts of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub version: String,
    pub channel: String,
    pub raw: PathBuf,
    pub usr_erofs: PathBuf,
    /// There only where it was asked for.
    pub usr_tree: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct About {
    version: String,
    channel: String,
}

#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    #[error("cannot take the image apart")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Look(#[from] VerifyError),
    #[error("{path} does not tell about an image")]
    About { path: PathBuf, source: serde_json::Error },
    #[error("{folder} holds no image of {} or {}", Format::Raw.extension(), Format::Qcow2.extension())]
    NoImage { folder: PathBuf },
    #[error("{folder} holds several images: name one of {}", .names.join(", "))]
    Several { folder: PathBuf, names: Vec<String> },
}

/// The name under which [`take`] keeps the parts of `file`: another one when the file is another.
pub fn name_of(file: &Path) -> Result<String, TreeError> {
    let path = fs::canonicalize(file).at(file)?;
    let data = path.metadata().at(&path)?;
    let facts =
        [data.dev(), data.ino(), data.len(), data.mtime().unsigned_abs(), data.mtime_nsec().unsigned_abs()];
    let key = Key::new("taken").with(&path.to_string_lossy());
    Ok(facts.iter().fold(key, |key, fact| key.with(&fact.to_string())).name())
}

/// The disk that `path` means: itself, the one of the record that it is, or the only one of a folder.
pub fn disk_of(path: &Path) -> Result<PathBuf, TakeError> {
    let record = path.extension().is_some_and(|extension| extension == "json");
    if !record && !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let formats = [Format::Raw, Format::Qcow2];
    let beside = |record: &Path| {
        let files = formats.iter().map(|format| record.with_extension(format.extension()));
        files.into_iter().find(|file| file.is_file())
    };
    if record {
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        // A version has points: what stands behind the last one is the extension all the same.
        return beside(path).ok_or(TakeError::NoImage { folder });
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).at(path)? {
        let file = entry.at(path)?.path();
        let is_disk =
            formats.iter().any(|format| file.extension().is_some_and(|word| word == format.extension()));
        if is_disk && file.is_file() {
            found.push(record_path(&file));
        }
    }
    found.sort();
    found.dedup();
    match &*found {
        [one] => beside(one).ok_or_else(|| TakeError::NoImage { folder: path.to_path_buf() }),
        [] => Err(TakeError::NoImage { folder: path.to_path_buf() }),
        many => {
            let stem =
                |record: &PathBuf| record.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Err(TakeError::Several { folder: path.to_path_buf(), names: many.iter().map(stem).collect() })
        }
    }
}

/// Takes the parts of `file`, raw or qcow2, into the folder `place`, where they are not there yet. `tools` is a tools
/// tree. With `tree` there is `/usr` as a folder too.
pub fn take(file: &Path, tools: &Path, place: &Path, tree: bool) -> Result<Taken, TakeError> {
    let about = place.join(ABOUT);
    let complete = about.exists() && (!tree || place.join(TREE).exists());
    if !complete {
        let partial = place.with_extension("partial");
        remove(&partial)?;
        make_folder(&partial)?;
        fill(file, tools, &partial, tree)?;
        remove(place)?;
        fs::rename(&partial, place).at(place)?;
    }
    let text = fs::read(&about).at(&about)?;
    let About { version, channel } =
        serde_json::from_slice(&text).map_err(|source| TakeError::About { path: about, source })?;
    let [raw, usr_erofs, usr_tree] = [RAW, EROFS, TREE].map(|name| place.join(name));
    Ok(Taken { version, channel, raw, usr_erofs, usr_tree })
}

fn fill(file: &Path, tools: &Path, place: &Path, tree: bool) -> Result<(), TakeError> {
    let disk = Disk::open_in(file, tools, place)?;
    disk.put_partition("USR-A", &place.join(EROFS))?;
    if tree {
        disk.unpack_erofs(&place.join(EROFS), &place.join(TREE))?;
    }
    // Who built it may have said so beside it; the image says it itself, at the price of looking into it.
    let about = match record_of(file) {
        Some(record) => About { version: record.version, channel: record.channel },
        None => About { version: disk.version()?, channel: disk.channel()? },
    };
    disk.put_raw(&place.join(RAW))?;
    let path = place.join(ABOUT);
    let text = serde_json::to_vec(&about).map_err(io::Error::from).at(&path)?;
    Ok(put(&path, &text, 0o644)?)
}

fn record_of(file: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(record_path(file)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_a_record_and_a_file_mean_the_same_disk() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let check = |path: &Path, expect: &str| {
            let found = disk_of(path).map_err(|error| error.to_string());
            let found = found.map(|file| file.file_name().unwrap().to_string_lossy().into_owned());
            assert_eq!(
                found.unwrap_or_else(|error| error),
                expect.replace("DIR", &folder.path().to_string_lossy())
            );
        };
        check(folder.path(), "DIR holds no image of raw or qcow2");
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
            "DIR holds several images: name one of keelson-1.2.3-alpha, keelson-1.2.4-alpha",
        );
    }

    #[test]
    fn another_file_at_the_same_place_has_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.raw");
        fs::write(&file, "one").unwrap();
        let first = name_of(&file).unwrap();
        assert_eq!(name_of(&file).unwrap(), first);
        fs::write(&file, "three").unwrap();
        assert_ne!(name_of(&file).unwrap(), first);
    }
}
