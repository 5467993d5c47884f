//! Writes the finished files: the disk in the requested formats, and the record of its build.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use disk_formats::deflate::Deflater;
use serde::{Deserialize, Serialize};

use crate::built::Built;
use crate::disk_full::DiskFull;
use crate::fetch::sha256_of;
use crate::formats::{Encoding, FileSpec, Format};
use crate::import_line::import_line;
use crate::platform_disk::{PlatformDiskError, write_platform_disk};
use crate::programs::Profile;
use crate::source::{EncodeError, Source};
use crate::sparse::digest;
use crate::tree::{PathContext, TreeError, make_folder};

/// Folder of the platforms' OEM files, below the checkout.
pub const OEM: &str = "image/oem";
/// Temporary files in the work folder.
const SCRATCH: &str = "formats";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedFile {
    pub path: PathBuf,
    pub format: Format,
    /// Allocated size, without holes.
    pub bytes: u64,
    pub sha256: String,
    /// Bytes that a machine sees.
    #[serde(default)]
    pub virtual_size: u64,
    /// [`digest`] of the raw disk inside, which installers verify it by. The disk is not the record's if its OEM partition
    /// or its size differs.
    #[serde(default)]
    pub disk_chunks: String,
    /// Platform whose files are on the OEM partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oem: Option<String>,
    /// Firmware that the disk boots with.
    #[serde(default)]
    pub boot: Vec<String>,
    /// What to type at the target.
    #[serde(default)]
    pub import: String,
}

/// The record beside the finished files: enough to reproduce and to compare them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub version: String,
    pub channel: String,
    /// Build profile of the programs.
    #[serde(default)]
    pub profile: Profile,
    pub usr_root_hash: String,
    /// SHA-256 of the raw disk.
    pub disk_sha256: String,
    /// SHA-256 of `os/packages.lock`.
    pub lock_sha256: String,
    /// The files in all formats, in the order requested.
    pub files: Vec<FinishedFile>,
}

impl Record {
    /// The entry of `file`, by its name.
    #[must_use]
    pub fn file(&self, file: &Path) -> Option<&FinishedFile> {
        self.files.iter().find(|listed| listed.path.file_name() == file.file_name())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("cannot write the image files")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Disk(#[from] PlatformDiskError),
    #[error("format {format} has the OEM files of its own platform, {platform}")]
    Platform { format: &'static str, platform: &'static str },
    #[error("a disk of {size} GiB is too small: the partitions need {needed} MiB")]
    Small { size: u32, needed: u64 },
    #[error("cannot write the build record")]
    Record(#[from] serde_json::Error),
    #[error("interrupted; the same command resumes the build")]
    Interrupted,
    #[error("{full}")]
    Full { full: DiskFull, source: Box<FormatError> },
}

/// What differs from the usual disks, in all requested formats.
#[derive(Debug, Clone, Default)]
pub struct DiskChanges {
    /// Folder with the files of the OEM partition. Formats of a platform have their own.
    pub oem: Option<PathBuf>,
    /// Size of the disks in GiB.
    pub size: Option<u32>,
}

impl DiskChanges {
    /// Fails if one of the formats cannot have them.
    pub fn check(&self, formats: &[Format]) -> Result<(), FormatError> {
        let with_platform = formats.iter().find_map(|format| Some((format.name(), format.disk().platform?)));
        match with_platform {
            Some((format, platform)) if self.oem.is_some() => Err(FormatError::Platform { format, platform }),
            _ => Ok(()),
        }
    }
}

/// The disk inside of a file. Formats with equal ones share it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Disk {
    oem: Option<PathBuf>,
    size: Option<u32>,
}

impl Disk {
    fn new(format: Format, changes: &DiskChanges, built: &Built) -> Result<Self, FormatError> {
        let spec = format.disk();
        let own = spec.platform.map(|platform| built.checkout.join(OEM).join(platform));
        let size = changes.size.or(spec.size);
        let needed = fs::metadata(&built.raw).at(&built.raw)?.len();
        match size {
            Some(size) if u64::from(size) << 30 < needed => {
                Err(FormatError::Small { size, needed: needed >> 20 })
            }
            size => Ok(Self { oem: own.or_else(|| changes.oem.clone()), size }),
        }
    }

    /// Whether it differs from the disk of the build.
    fn is_own(&self) -> bool {
        self.oem.is_some() || self.size.is_some()
    }
}

/// Path of the record of `NAME.raw` or `NAME.qcow2`.
#[must_use]
pub fn record_path(file: &Path) -> PathBuf {
    file.with_extension("json")
}

/// Path of the record of any file: that of [`record_path`], or another one that lists the file, as `NAME.json` does
/// `NAME.raw.zst` and `NAME-PLATFORM.ova`.
#[must_use]
pub fn record_of(file: &Path) -> PathBuf {
    let own = record_path(file);
    if own.exists() {
        return own;
    }
    let lists = |path: &PathBuf| {
        let record = fs::read(path).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
        record.is_some_and(|record| record.file(file).is_some())
    };
    let twice = record_path(&file.with_extension(""));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let shared = name.rmatch_indices('-').map(|(at, _)| file.with_file_name(format!("{}.json", &name[..at])));
    iter::once(twice).chain(shared).find(lists).unwrap_or(own)
}

/// Writes the image of `built` to `out` in each of `formats`, each file atomically. `report` is called with each format
/// before it is written.
pub fn finish(
    built: &Built,
    formats: &[Format],
    changes: &DiskChanges,
    lock: &Path,
    out: &Path,
    report: impl FnMut(Format),
) -> Result<Record, FormatError> {
    write_all(built, formats, changes, lock, out, report).map_err(|error| {
        // Ctrl-C also reaches qemu-img, which then fails.
        if built.cancel.load(Ordering::Relaxed) {
            return FormatError::Interrupted;
        }
        match DiskFull::from_error(&error, &[out.to_path_buf(), std::env::temp_dir()]) {
            Some(full) => FormatError::Full { full, source: Box::new(error) },
            None => error,
        }
    })
}

fn write_all(
    built: &Built,
    formats: &[Format],
    changes: &DiskChanges,
    lock: &Path,
    out: &Path,
    mut report: impl FnMut(Format),
) -> Result<Record, FormatError> {
    changes.check(formats)?;
    make_folder(out)?;
    let out = fs::canonicalize(out).at(out)?;
    let name = format!("keelson-{}-{}", built.version, built.channel);
    let disk_sha256 = sha256_of(&built.raw).at(&built.raw)?;
    let mut files = Vec::new();
    // It takes as much space as the raw image: one at a time.
    let mut disks = BTreeMap::<Disk, Vec<Format>>::new();
    for format in formats {
        disks.entry(Disk::new(*format, changes, built)?).or_default().push(*format);
    }
    let deflater = deflater(built, formats)?;
    for (disk, formats) in disks {
        let scratch = built.work.scratch(SCRATCH)?;
        let own = disk.is_own();
        let raw = if own {
            write_platform_disk(built, disk.oem.as_deref(), disk.size, scratch.folder())?;
            scratch.folder().join("disk.raw")
        } else {
            built.raw.clone()
        };
        let source = Source {
            raw: &raw,
            digest: digest(&raw).at(&raw)?,
            sha256: (!own).then_some(&*disk_sha256),
            name: &name,
            scratch: scratch.folder(),
            deflater: &deflater,
            built,
        };
        let oem = disk.oem.as_deref().and_then(Path::file_name).map(OsStr::to_string_lossy);
        for format in formats {
            report(format);
            uninterrupted(&built.cancel)?;
            for spec in format.files() {
                files.push(write_file(&source, format, *spec, oem.as_deref(), &out)?);
            }
        }
    }
    files.sort_by_key(|file| formats.iter().position(|format| *format == file.format));
    let record = Record {
        version: built.version.clone(),
        channel: built.channel.clone(),
        profile: built.release.profile,
        usr_root_hash: built.usr_root_hash.clone(),
        disk_sha256,
        lock_sha256: sha256_of(lock).at(lock)?,
        files,
    };
    let path = out.join(format!("{name}.json"));
    let partial = out.join(format!(".{name}.json.partial"));
    let _partial = PartialFile(&partial);
    fs::write(&partial, serde_json::to_vec_pretty(&record)?).at(&partial)?;
    fs::rename(&partial, &path).at(&path)?;
    Ok(record)
}

/// Keeps compressed blocks, in a file without a name, if more than one format needs them.
fn deflater(built: &Built, formats: &[Format]) -> Result<Deflater, FormatError> {
    let files = formats.iter().flat_map(|format| format.files());
    let is_shared = files.filter(|(_, encoding)| encoding.is_deflated()).count() > 1;
    let folder = built.work.folder();
    Ok(Deflater::new(is_shared.then(|| tempfile::tempfile_in(folder).at(folder)).transpose()?))
}

fn uninterrupted(cancel: &AtomicBool) -> Result<(), FormatError> {
    if cancel.load(Ordering::Relaxed) { Err(FormatError::Interrupted) } else { Ok(()) }
}

fn write_file(
    source: &Source<'_>,
    format: Format,
    (suffix, encoding): FileSpec,
    oem: Option<&str>,
    out: &Path,
) -> Result<FinishedFile, FormatError> {
    let name = format!("{}{suffix}", source.name);
    let path = out.join(&name);
    let partial = out.join(format!(".{name}.partial"));
    let _partial = PartialFile(&partial);
    source.encode(encoding, &name, &partial)?;
    uninterrupted(&source.built.cancel)?;
    let sha256 = match source.sha256.filter(|_| encoding == Encoding::Raw) {
        Some(known) => known.to_owned(),
        None => sha256_of(&partial).at(&partial)?,
    };
    fs::rename(&partial, &path).at(&path)?;
    Ok(FinishedFile {
        bytes: allocated(&path)?,
        format,
        sha256,
        virtual_size: fs::metadata(source.raw).at(source.raw)?.len(),
        disk_chunks: source.digest.clone(),
        oem: oem.map(str::to_owned),
        boot: encoding.firmware().iter().map(|firmware| (*firmware).to_owned()).collect(),
        import: import_line(format, &name),
        path,
    })
}

/// A partial file. Drop removes it, so that a full disk does not stay full.
struct PartialFile<'a>(&'a Path);

impl Drop for PartialFile<'_> {
    fn drop(&mut self) {
        // The file does not exist after a success; after a failure the original error is reported.
        fs::remove_file(self.0).unwrap_or_default();
    }
}

/// Allocated bytes of a file.
fn allocated(path: &Path) -> Result<u64, TreeError> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(path).at(path)?.blocks() * 512)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// A build whose disk has four bytes, and a folder for its files.
    fn built(folder: &Path) -> (Built, PathBuf) {
        let raw = folder.join("disk.raw");
        fs::write(&raw, "disk").unwrap();
        (Built::of_disk(&folder.join("work"), &raw), folder.join("out"))
    }

    #[test]
    fn a_failed_format_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (built, out) = built(folder.path());
        // A directory at the target path.
        fs::create_dir_all(out.join("keelson-1.0.0-alpha.raw")).unwrap();
        finish(&built, &[Format::Raw], &DiskChanges::default(), &built.raw, &out, |_| ()).unwrap_err();
        let names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["keelson-1.0.0-alpha.raw"]);
    }

    #[test]
    fn an_interrupt_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (built, out) = built(folder.path());
        let interrupt = |_| built.cancel.store(true, Ordering::Relaxed);
        let error =
            finish(&built, &[Format::Raw], &DiskChanges::default(), &built.raw, &out, interrupt).unwrap_err();
        assert!(matches!(error, FormatError::Interrupted), "{error:?}");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    }

    #[test]
    fn changes_apply_where_they_can() {
        let folder = tempfile::tempdir().unwrap();
        let (built, _) = built(folder.path());
        let disk = |format, oem: Option<&str>, size| {
            let changes = DiskChanges { oem: oem.map(PathBuf::from), size };
            Disk::new(format, &changes, &built).map_err(|error| error.to_string())
        };
        assert!(!disk(Format::Raw, None, None).unwrap().is_own());
        let changed = disk(Format::Qcow2, Some("/mine"), Some(8)).unwrap();
        assert_eq!(changed, Disk { oem: Some("/mine".into()), size: Some(8) });
        assert!(changed.is_own());
        assert_eq!(disk(Format::Ova, None, Some(20)).unwrap().size, Some(20));
        let oem = DiskChanges { oem: Some("/mine".into()), size: None };
        let refused = oem.check(&[Format::Raw, Format::Ova]).unwrap_err().to_string();
        assert_eq!(refused, "format ova has the OEM files of its own platform, virtualbox");
        oem.check(&[Format::Raw]).unwrap();
        File::create(&built.raw).unwrap().set_len(3 << 30).unwrap();
        let small = disk(Format::Raw, None, Some(2)).unwrap_err();
        assert_eq!(small, "a disk of 2 GiB is too small: the partitions need 3072 MiB");
    }

    #[test]
    fn a_record_lists_the_files_as_requested() {
        let folder = tempfile::tempdir().unwrap();
        let (built, out) = built(folder.path());
        let mut reported = Vec::new();
        let formats = [Format::RawZst, Format::Raw];
        let record = finish(&built, &formats, &DiskChanges::default(), &built.raw, &out, |format| {
            reported.push(format)
        })
        .unwrap();
        let listed: Vec<_> = record.files.iter().map(|file| file.format).collect();
        assert_eq!((listed, reported), (formats.to_vec(), formats.to_vec()));
        let [compressed, disk] = &*record.files else { panic!("{record:?}") };
        assert_eq!((&disk.sha256, disk.virtual_size), (&record.disk_sha256, 4));
        let chunks = digest(&built.raw).unwrap();
        assert_eq!([&compressed.disk_chunks, &disk.disk_chunks], [&chunks; 2]);
        assert_ne!(compressed.sha256, disk.sha256);
        for file in &record.files {
            assert!(record_of(&file.path).exists(), "{file:?}");
            assert!(!file.import.is_empty());
            assert_eq!(sha256_of(&file.path).unwrap(), file.sha256);
        }
        assert_eq!(
            record_of(&out.join("keelson-1.0.0-alpha-copy.raw")),
            out.join("keelson-1.0.0-alpha-copy.json")
        );
    }
}
