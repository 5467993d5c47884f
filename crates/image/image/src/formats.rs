//! Writes the finished files: the disk in the requested formats, and the record of its build.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sandbox::{Sandbox, SandboxError};
use serde::{Deserialize, Serialize};

use crate::built::Built;
use crate::disk_full::DiskFull;
use crate::fetch::sha256_of;
use crate::programs::Profile;
use crate::sparse::copy_sparse;
use crate::tool::{ToolError, run};
use crate::tree::{PathContext, TreeError, make_folder};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Raw,
    Qcow2,
}

impl Format {
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "raw" => Ok(Self::Raw),
            "qcow2" => Ok(Self::Qcow2),
            "vmdk" | "vdi" | "ova" | "vagrant" | "pxe" => {
                Err(format!("format {name} is not supported yet (expected raw or qcow2)"))
            }
            other => Err(format!("unknown format `{other}` (expected raw or qcow2)")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedFile {
    pub path: PathBuf,
    pub format: Format,
    /// Allocated size, without holes.
    pub bytes: u64,
    pub sha256: String,
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
    /// The files in all formats, in order of creation.
    pub files: Vec<FinishedFile>,
}

#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("cannot write the image files")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("cannot write the build record")]
    Record(#[from] serde_json::Error),
    #[error("{full}")]
    Full { full: DiskFull, source: Box<FormatError> },
}

/// Path of the record of `NAME.raw` or `NAME.qcow2`.
#[must_use]
pub fn record_path(file: &Path) -> PathBuf {
    file.with_extension("json")
}

/// Writes the disk of `built` to `out` in each of `formats`, each file atomically.
pub fn finish(built: &Built, formats: &[Format], lock: &Path, out: &Path) -> Result<Record, FormatError> {
    write_all(built, formats, lock, out).map_err(|error| {
        match DiskFull::from_error(&error, &[out.to_path_buf(), std::env::temp_dir()]) {
            Some(full) => FormatError::Full { full, source: Box::new(error) },
            None => error,
        }
    })
}

fn write_all(built: &Built, formats: &[Format], lock: &Path, out: &Path) -> Result<Record, FormatError> {
    make_folder(out)?;
    let out = fs::canonicalize(out).at(out)?;
    let name = format!("keelson-{}-{}", built.version, built.channel);
    let disk_sha256 = sha256_of(&built.raw).at(&built.raw)?;
    let mut files = Vec::new();
    for format in formats {
        let path = out.join(format!("{name}.{}", format.extension()));
        let partial = out.join(format!(".{name}.{}.partial", format.extension()));
        let _partial = PartialFile(&partial);
        match format {
            Format::Raw => copy_sparse(&built.raw, &partial).at(&partial)?,
            Format::Qcow2 => compress(built, &partial, &out)?,
        }
        let sha256 = match format {
            Format::Raw => disk_sha256.clone(),
            Format::Qcow2 => sha256_of(&partial).at(&partial)?,
        };
        fs::rename(&partial, &path).at(&path)?;
        files.push(FinishedFile { bytes: allocated(&path)?, path, format: *format, sha256 });
    }
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

/// A partial file. Drop removes it, so that a full disk does not stay full.
struct PartialFile<'a>(&'a Path);

impl Drop for PartialFile<'_> {
    fn drop(&mut self) {
        // The file does not exist after a success; after a failure the original error is reported.
        fs::remove_file(self.0).unwrap_or_default();
    }
}

/// Uses one thread: the output must not depend on scheduling.
fn compress(built: &Built, to: &Path, out: &Path) -> Result<(), FormatError> {
    let folder = built.raw.parent().unwrap_or(Path::new("/"));
    let tools = Sandbox::new(&built.tools)?.share(folder).share(out);
    run(tools
        .command("qemu-img")?
        .args(["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"])
        .arg(&built.raw)
        .arg(to))?;
    Ok(())
}

/// Allocated bytes of a file.
fn allocated(path: &Path) -> Result<u64, TreeError> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(path).at(path)?.blocks() * 512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_format_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let raw = folder.path().join("disk.raw");
        fs::write(&raw, "disk").unwrap();
        let out = folder.path().join("out");
        // A directory at the target path.
        fs::create_dir_all(out.join("keelson-1.0.0-alpha.raw")).unwrap();
        let built = Built::of_disk(&folder.path().join("work"), &raw);
        finish(&built, &[Format::Raw], &raw, &out).unwrap_err();
        let names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["keelson-1.0.0-alpha.raw"]);
    }
}
