//! Inspects a finished image, using only its content.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use object::read::pe::PeFile64;
use object::{Object, ObjectSection};
use sandbox::{Sandbox, SandboxError};
use serde::Serialize;

use crate::disk_file::{DiskFileError, live_programs, raw_disk};
use crate::enrolment;
use crate::fetch::sha256_of;
use crate::finish::{Record, record_of};
use crate::partition_table;
use crate::release::profile_in;
use crate::signature::{self, Trust};
use crate::sparse::{copy_part, copy_sparse, digest};
use crate::tool::{ToolError, run};
use crate::tree::{PathContext, TreeError};

/// Bytes per logical block.
const BLOCK: u64 = 512;
/// Partition labels in the order of the table.
const LABELS: [&str; 6] = ["EFI-SYSTEM", "USR-A", "USR-A-verity", "USR-B", "USR-B-verity", "OEM"];
/// Paths of the boot loader on the ESP, and names of their copies.
const LOADERS: [(&str, &str); 2] =
    [("::EFI/BOOT/BOOTX64.EFI", "BOOTX64.EFI"), ("::EFI/systemd/systemd-bootx64.efi", "systemd-bootx64.efi")];

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    pub detail: String,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("cannot read the image")]
    Read(#[from] TreeError),
    #[error("{path} has no readable partition table")]
    Table { path: PathBuf, source: gpt::GptError },
    #[error("{path} has no partition {label}")]
    Partition { path: PathBuf, label: String },
    #[error("the boot image {0:?} has no version in its name")]
    NoVersion(String),
    #[error("the OEM partition of the image has no channel")]
    NoChannel,
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    File(#[from] DiskFileError),
    #[error("cannot create a temporary folder for the partitions of the image")]
    Scratch(#[source] io::Error),
}

/// A partition and its position in the file, in bytes.
#[derive(Debug, Clone)]
struct Partition {
    label: String,
    uuid: String,
    start: u64,
    length: u64,
}

#[derive(Debug)]
pub struct Disk {
    /// The raw disk: the file itself or a conversion of it.
    raw: PathBuf,
    partitions: Vec<Partition>,
    /// Damage of a partition table that is still readable.
    table_damage: Option<String>,
    scratch: tempfile::TempDir,
    tools: Sandbox,
}

impl Disk {
    /// `file` has any of the formats; `tools` is the locked tools tree.
    pub fn open(file: &Path, tools: &Path) -> Result<Self, VerifyError> {
        Self::open_in(file, tools, &std::env::temp_dir())
    }

    /// Like [`Disk::open`], with temporary files in `parent`.
    pub fn open_in(file: &Path, tools: &Path, parent: &Path) -> Result<Self, VerifyError> {
        let file = fs::canonicalize(file).at(file)?;
        let scratch = tempfile::tempdir_in(parent).map_err(VerifyError::Scratch)?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let tools = Sandbox::new(tools)?.share(folder).share(scratch.path());
        let raw = raw_disk(&file, scratch.path(), &tools)?;
        let bad = |source| VerifyError::Table { path: raw.clone(), source };
        let table = gpt::GptConfig::new().writable(false).open(&raw).map_err(bad)?;
        let partitions = table
            .partitions()
            .values()
            .map(|entry| Partition {
                label: entry.name.clone(),
                uuid: entry.part_guid.simple().to_string(),
                start: entry.first_lba.saturating_mul(BLOCK),
                length: entry
                    .last_lba
                    .saturating_add(1)
                    .saturating_sub(entry.first_lba)
                    .saturating_mul(BLOCK),
            })
            .collect();
        let table_damage = partition_table::damage(&table, &raw)?;
        Ok(Self { raw, partitions, table_damage, scratch, tools })
    }

    fn partition(&self, label: &str) -> Result<&Partition, VerifyError> {
        let missing = || VerifyError::Partition { path: self.raw.clone(), label: label.to_owned() };
        self.partitions.iter().find(|partition| partition.label == label).ok_or_else(missing)
    }

    /// Copies a partition to a temporary file.
    fn extract(&self, label: &str) -> Result<PathBuf, VerifyError> {
        let partition = self.partition(label)?;
        let path = self.scratch.path().join(label);
        copy_part(&self.raw, partition.start, partition.length, &path).at(&self.raw)?;
        Ok(path)
    }

    /// Unpacks slot A's `/usr` to a temporary folder.
    pub fn extract_usr(&self) -> Result<PathBuf, VerifyError> {
        let data = self.extract("USR-A")?;
        let folder = self.scratch.path().join("usr");
        self.unpack_erofs(&data, &folder)?;
        fs::remove_file(&data).at(&data)?;
        Ok(folder)
    }

    /// A file of slot A's `/usr`, by its path there; empty if it does not exist.
    pub(crate) fn usr_file(&self, path: &str) -> Result<String, VerifyError> {
        let mut dump = self.tools.command("dump.erofs")?;
        dump.args([
            "--cat",
            &format!("--path={path}"),
            &format!("--offset={}", self.partition("USR-A")?.start),
        ]);
        Ok(run(dump.arg(&self.raw))?)
    }

    pub(crate) fn unpack_erofs(&self, data: &Path, folder: &Path) -> Result<(), VerifyError> {
        run(self.tools.command("fsck.erofs")?.arg(format!("--extract={}", folder.display())).arg(data))?;
        Ok(())
    }

    /// The version according to the boot image.
    pub(crate) fn version(&self) -> Result<String, VerifyError> {
        let (name, uki) = self.uki()?;
        let release = section(&uki, ".osrel");
        let version = release.lines().find_map(|line| line.strip_prefix("IMAGE_VERSION="));
        version.map(str::to_owned).ok_or(VerifyError::NoVersion(name))
    }

    /// The channel according to the OEM partition.
    pub(crate) fn channel(&self) -> Result<String, VerifyError> {
        let oem = self.extract("OEM")?;
        let settings = run(self.tools.command("debugfs")?.args(["-R", "cat /update.conf"]).arg(&oem))?;
        let channel = settings.lines().find_map(|line| line.strip_prefix("GROUP="));
        channel.map(str::to_owned).ok_or(VerifyError::NoChannel)
    }

    /// Writes the raw disk to `to`; moves it if it is a conversion.
    pub(crate) fn write_raw(&self, to: &Path) -> Result<(), VerifyError> {
        let was_moved = self.raw.starts_with(self.scratch.path()) && fs::rename(&self.raw, to).is_ok();
        if !was_moved {
            copy_sparse(&self.raw, to).at(to)?;
        }
        Ok(())
    }

    pub(crate) fn write_partition(&self, label: &str, to: &Path) -> Result<(), VerifyError> {
        let partition = self.partition(label)?;
        Ok(copy_part(&self.raw, partition.start, partition.length, to).at(to)?)
    }

    /// Runs all checks. The record is expected beside `file`.
    pub fn verify(&self, file: &Path, trust: &Trust) -> Result<Vec<Check>, VerifyError> {
        let found: Vec<&str> = self.partitions.iter().map(|partition| partition.label.as_str()).collect();
        let mut checks = vec![match &self.table_damage {
            None => check("partition table", found == LABELS, found.join(" ")),
            Some(damage) => check("partition table", false, damage.clone()),
        }];
        let (name, uki) = self.uki()?;
        let cmdline = section(&uki, ".cmdline");
        let hash = cmdline
            .split_whitespace()
            .find_map(|argument| argument.strip_prefix("usrhash="))
            .unwrap_or_default();
        let valid = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        checks.push(check("unified kernel image", valid, format!("{name}: {cmdline}")));
        checks.push(match profile_in(&section(&uki, ".osrel")) {
            Ok(profile) => check("profile of the programs", true, profile.to_string()),
            Err(unknown) => check("profile of the programs", false, unknown),
        });
        if valid {
            let (data, tree) = (self.partition("USR-A")?, self.partition("USR-A-verity")?);
            let matches = data.uuid == hash[..32] && tree.uuid == hash[32..];
            checks.push(check(
                "slot A is found by its hash",
                matches,
                format!("{} {}", data.uuid, tree.uuid),
            ));
            checks.push(self.check_verity(hash)?);
        }
        checks.push(self.check_signatures(uki, file, trust)?);
        checks.push(self.check_keys(trust)?);
        checks.push(self.check_record(file)?);
        Ok(checks)
    }

    fn check_verity(&self, hash: &str) -> Result<Check, VerifyError> {
        let (data, tree) = (self.extract("USR-A")?, self.extract("USR-A-verity")?);
        let outcome = run(self.tools.command("veritysetup")?.arg("verify").arg(data).arg(tree).arg(hash));
        Ok(match outcome {
            Ok(_) => check("every block of /usr", true, format!("root hash {hash}")),
            Err(ToolError::Failed { output, .. }) => check("every block of /usr", false, output),
            Err(other) => return Err(other.into()),
        })
    }

    /// The kernel image on the ESP: its name and the path of a copy.
    fn uki(&self) -> Result<(String, PathBuf), VerifyError> {
        let listing = run(self.tools.command("mdir")?.args(["-b", "-i", &self.esp()?, "::EFI/Linux"]))?;
        let name = listing.lines().find(|line| line.ends_with(".efi")).unwrap_or_default().to_owned();
        let path = self.copy_from_esp(&name, "uki.efi")?;
        Ok((name, path))
    }

    /// The ESP in mtools syntax.
    fn esp(&self) -> Result<String, VerifyError> {
        Ok(format!("{}@@{}", self.raw.display(), self.partition("EFI-SYSTEM")?.start))
    }

    fn copy_from_esp(&self, name: &str, to: &str) -> Result<PathBuf, VerifyError> {
        let path = self.scratch.path().join(to);
        run(self.tools.command("mcopy")?.args(["-n", "-i", &self.esp()?, name]).arg(&path))?;
        Ok(path)
    }

    /// Checks everything that firmware runs: of the disk, and of `file` if that is a medium of the live system.
    fn check_signatures(&self, uki: PathBuf, file: &Path, trust: &Trust) -> Result<Check, VerifyError> {
        let mut programs = vec![uki];
        for (name, to) in LOADERS {
            programs.push(self.copy_from_esp(name, to)?);
        }
        programs.append(&mut live_programs(file, self.scratch.path())?);
        // Copied, so that the tools can read them.
        let mut trust_in_scratch = Trust { certificates: Vec::new(), required: trust.required };
        for (number, certificate) in trust.certificates.iter().enumerate() {
            let copy = self.scratch.path().join(format!("certificate-{number}.pem"));
            fs::copy(certificate, &copy).at(certificate)?;
            trust_in_scratch.certificates.push(copy);
        }
        let (accepted, detail) = signature::check(&programs, &trust_in_scratch, &self.tools)?;
        Ok(check("signature", accepted, detail))
    }

    /// The keys to enrol that exist on the ESP.
    pub fn keys(&self) -> Result<Vec<&'static str>, VerifyError> {
        let folder = format!("::{}", enrolment::FOLDER);
        let listing = match run(self.tools.command("mdir")?.args(["-b", "-i", &self.esp()?, &folder])) {
            // An unsigned image has no such folder.
            Err(ToolError::Failed { .. }) => String::new(),
            listing => listing?,
        };
        let is_present = |name: &&str| listing.lines().any(|line| line.rsplit('/').next() == Some(name));
        Ok(enrolment::FILES.into_iter().filter(is_present).collect())
    }

    /// Either all of the keys to enrol exist or none, and each is trusted.
    fn check_keys(&self, trust: &Trust) -> Result<Check, VerifyError> {
        let (name, found) = ("keys to enrol", self.keys()?);
        if found.is_empty() {
            return Ok(check(name, true, "none: machines cannot enrol keys from this image".to_owned()));
        }
        let missing: Vec<&str> = enrolment::FILES.into_iter().filter(|key| !found.contains(key)).collect();
        if !missing.is_empty() {
            return Ok(check(name, false, format!("missing: {}", missing.join(" "))));
        }
        let mut trusted = Vec::new();
        for certificate in &trust.certificates {
            trusted.push(signature::der(&fs::read_to_string(certificate).at(certificate)?));
        }
        for key in &found {
            let file = self.copy_from_esp(&format!("::{}/{key}", enrolment::FOLDER), key)?;
            let content = fs::read(&file).at(&file)?;
            let contains =
                |der: &Vec<u8>| !der.is_empty() && content.windows(der.len()).any(|part| part == &**der);
            if !trusted.is_empty() && !trusted.iter().any(contains) {
                return Ok(check(name, false, format!("{key} is not trusted")));
            }
        }
        Ok(check(name, true, found.join(" ")))
    }

    /// Compares the raw disk with the record of its build.
    fn check_record(&self, file: &Path) -> Result<Check, VerifyError> {
        let path = record_of(file);
        let record = match record_at(&path) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(check("record of the build", true, format!("none at {}", path.display()))),
            Err(reason) => {
                return Ok(check("record of the build", false, format!("{}: {reason}", path.display())));
            }
        };
        // Records of earlier versions, and files under another name, have the SHA-256 only.
        let listed = record.file(file).filter(|listed| !listed.disk_chunks.is_empty());
        let (found, expected) = match listed {
            Some(listed) => (digest(&self.raw), &listed.disk_chunks),
            None => (sha256_of(&self.raw), &record.disk_sha256),
        };
        let (name, found) = ("record of the build", found.at(&self.raw)?);
        Ok(check(name, found == *expected, format!("disk {found}, expected {expected}")))
    }
}

/// `None` if there is no record; an unreadable one is an error.
fn record_at(path: &Path) -> Result<Option<Record>, String> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn check(name: &'static str, ok: bool, detail: String) -> Check {
    Check { name, ok, detail }
}

/// A section of a UKI as text; empty if it does not exist.
fn section(uki: &Path, name: &str) -> String {
    let content = fs::read(uki).unwrap_or_default();
    let text = PeFile64::parse(&*content).ok().and_then(|file| {
        let data = file.section_by_name(name)?.uncompressed_data().ok()?;
        Some(String::from_utf8_lossy(&data).trim_end_matches('\0').to_owned())
    });
    text.unwrap_or_default()
}

/// Copies an image and flips one byte of a partition, for tests and scenarios.
pub fn copy_with_flipped_byte(file: &Path, label: &str, offset: u64, to: &Path) -> Result<(), VerifyError> {
    copy_sparse(file, to).at(to)?;
    flip_byte(to, label, offset)
}

/// Inverts the byte at `offset` of the partition `label` of a raw disk.
pub fn flip_byte(file: &Path, label: &str, offset: u64) -> Result<(), VerifyError> {
    use std::os::unix::fs::FileExt;
    let bad = |source| VerifyError::Table { path: file.into(), source };
    let table = gpt::GptConfig::new().writable(false).open(file).map_err(bad)?;
    let missing = || VerifyError::Partition { path: file.into(), label: label.to_owned() };
    let entry = table.partitions().values().find(|entry| entry.name == label).ok_or_else(missing)?;
    let at = entry.first_lba * BLOCK + offset;
    let disk = fs::OpenOptions::new().read(true).write(true).open(file).at(file)?;
    let mut byte = [0];
    disk.read_exact_at(&mut byte, at).at(file)?;
    disk.write_all_at(&[!byte[0]], at).at(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_record_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        assert!(matches!(record_at(&path), Ok(None)));
        fs::write(&path, "{").unwrap();
        assert!(record_at(&path).is_err());
        assert!(record_at(folder.path()).is_err());
    }
}
