//! Looking at a finished image as a stranger would: from its bytes alone.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use object::read::pe::PeFile64;
use object::{Object, ObjectSection};
use sandbox::{Sandbox, SandboxError};
use serde::Serialize;

use crate::fetch::sha256_of;
use crate::formats::{Record, copy_sparse, record_path};
use crate::tool::{ToolError, run};
use crate::tree::{At, TreeError};

/// Bytes of a logical block.
const BLOCK: u64 = 512;
/// Bytes of partition entries that are compared; a usual table has 16 KiB.
const MOST_ENTRIES: u64 = 1 << 20;
/// Labels in the order of the table.
const LABELS: [&str; 6] = ["EFI-SYSTEM", "USR-A", "USR-A-verity", "USR-B", "USR-B-verity", "OEM"];

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("cannot read the image")]
    Read(#[from] TreeError),
    #[error("{path} has no partition table that can be read")]
    Table { path: PathBuf, source: gpt::GptError },
    #[error("{path} has no partition {label}")]
    Partition { path: PathBuf, label: String },
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("cannot make room for the image's parts")]
    Scratch(#[source] io::Error),
}

/// A partition's place in the file, in bytes.
#[derive(Debug, Clone)]
struct Partition {
    label: String,
    uuid: String,
    start: u64,
    length: u64,
}

/// An opened image.
#[derive(Debug)]
pub struct Disk {
    /// The raw bytes, the file itself or a conversion of it.
    raw: PathBuf,
    partitions: Vec<Partition>,
    /// What is wrong with the partition table, though it can be read.
    table_damage: Option<String>,
    scratch: tempfile::TempDir,
    tools: Sandbox,
}

impl Disk {
    /// `file` is raw or qcow2, `tools` the locked tools tree.
    pub fn open(file: &Path, tools: &Path) -> Result<Self, VerifyError> {
        let file = fs::canonicalize(file).at(file)?;
        let scratch = tempfile::tempdir().map_err(VerifyError::Scratch)?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let tools = Sandbox::new(tools)?.share(folder).share(scratch.path());
        let mut magic = [0; 4];
        let read = File::open(&file).and_then(|mut opened| opened.read(&mut magic)).at(&file)?;
        let raw = if read == 4 && magic == *b"QFI\xfb" {
            let raw = scratch.path().join("disk.raw");
            run(tools.command("qemu-img")?.args(["convert", "-O", "raw"]).arg(&file).arg(&raw))?;
            raw
        } else {
            file
        };
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
        let table_damage = table_damage(&table, &raw)?;
        Ok(Self { raw, partitions, table_damage, scratch, tools })
    }

    fn partition(&self, label: &str) -> Result<&Partition, VerifyError> {
        let missing = || VerifyError::Partition { path: self.raw.clone(), label: label.to_owned() };
        self.partitions.iter().find(|partition| partition.label == label).ok_or_else(missing)
    }

    /// Copies a partition into the scratch folder.
    fn extract(&self, label: &str) -> Result<PathBuf, VerifyError> {
        let partition = self.partition(label)?;
        let path = self.scratch.path().join(label);
        let mut source = File::open(&self.raw).at(&self.raw)?;
        source.seek(SeekFrom::Start(partition.start)).at(&self.raw)?;
        let mut target = File::create(&path).at(&path)?;
        io::copy(&mut source.take(partition.length), &mut target).at(&path)?;
        Ok(path)
    }

    /// Unpacks slot A's `/usr` into a folder of the scratch space.
    pub fn extract_usr(&self) -> Result<PathBuf, VerifyError> {
        let data = self.extract("USR-A")?;
        let folder = self.scratch.path().join("usr");
        run(self.tools.command("fsck.erofs")?.arg(format!("--extract={}", folder.display())).arg(&data))?;
        fs::remove_file(&data).at(&data)?;
        Ok(folder)
    }

    /// Looks at everything; `file` is the name under which the record would stand beside it.
    pub fn verify(&self, file: &Path) -> Result<Vec<Check>, VerifyError> {
        let found: Vec<&str> = self.partitions.iter().map(|partition| partition.label.as_str()).collect();
        let mut checks = vec![match &self.table_damage {
            None => check("partition table", found == LABELS, found.join(" ")),
            Some(damage) => check("partition table", false, damage.clone()),
        }];
        let (name, uki) = self.uki()?;
        let cmdline = section(&uki, ".cmdline");
        let hash =
            cmdline.split_whitespace().find_map(|word| word.strip_prefix("usrhash=")).unwrap_or_default();
        let whole = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        checks.push(check("unified kernel image", whole, format!("{name}: {cmdline}")));
        if whole {
            let (data, tree) = (self.partition("USR-A")?, self.partition("USR-A-verity")?);
            let named = data.uuid == hash[..32] && tree.uuid == hash[32..];
            checks.push(check("slot A is found by its hash", named, format!("{} {}", data.uuid, tree.uuid)));
            checks.push(self.check_verity(hash)?);
        }
        checks.push(self.check_signature(&uki)?);
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

    /// The one kernel image of the ESP: its name and where it was copied to.
    fn uki(&self) -> Result<(String, PathBuf), VerifyError> {
        let esp = format!("{}@@{}", self.raw.display(), self.partition("EFI-SYSTEM")?.start);
        let listing = run(self.tools.command("mdir")?.args(["-b", "-i", &esp, "::EFI/Linux"]))?;
        let name = listing.lines().find(|line| line.ends_with(".efi")).unwrap_or_default().to_owned();
        let path = self.scratch.path().join("uki.efi");
        run(self.tools.command("mcopy")?.args(["-n", "-i", &esp, &name]).arg(&path))?;
        Ok((name, path))
    }

    fn check_signature(&self, uki: &Path) -> Result<Check, VerifyError> {
        let listing = run(self.tools.command("sbverify")?.arg("--list").arg(uki));
        Ok(match listing {
            Ok(text) if text.contains("signature 1") => {
                check("signature", true, text.lines().map(str::trim).collect::<Vec<_>>().join(" "))
            }
            Ok(_) | Err(ToolError::Failed { .. }) => {
                check("signature", true, "none: a developer's image".to_owned())
            }
            Err(other) => return Err(other.into()),
        })
    }

    /// The raw disk against the record of its build.
    fn check_record(&self, file: &Path) -> Result<Check, VerifyError> {
        let path = record_path(file);
        let record = match record_at(&path) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(check("record of the build", true, format!("none at {}", path.display()))),
            Err(why) => return Ok(check("record of the build", false, format!("{}: {why}", path.display()))),
        };
        let sha256 = sha256_of(&self.raw).at(&self.raw)?;
        let detail = format!("disk {sha256}, the record says {}", record.disk_sha256);
        Ok(check("record of the build", sha256 == record.disk_sha256, detail))
    }
}

/// Readers make do with one of the two headers and do not compare the entries: damage to one copy would not show
/// before the other is damaged too.
fn table_damage(table: &gpt::GptDisk<File>, raw: &Path) -> Result<Option<String>, TreeError> {
    let (first, last) = match (table.primary_header(), table.backup_header()) {
        (Err(error), _) => return Ok(Some(format!("the header at the front: {error}"))),
        (_, Err(error)) => return Ok(Some(format!("the header's copy at the end: {error}"))),
        (Ok(first), Ok(last)) => (first, last),
    };
    let entries = |header: &gpt::header::Header| -> Result<Vec<u8>, TreeError> {
        let length = u64::from(header.num_parts).saturating_mul(header.part_size.into()).min(MOST_ENTRIES);
        let mut file = File::open(raw).at(raw)?;
        file.seek(SeekFrom::Start(header.part_start.saturating_mul(BLOCK))).at(raw)?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).at(raw)?;
        Ok(bytes)
    };
    let same = first.crc32_parts == last.crc32_parts && entries(first)? == entries(last)?;
    Ok((!same).then(|| "the entries at the front differ from their copy at the end".to_owned()))
}

/// None where no record stands; one that can not be read is no good sign.
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

/// A section of a UKI as text; empty where there is none.
fn section(uki: &Path, name: &str) -> String {
    let content = fs::read(uki).unwrap_or_default();
    let text = PeFile64::parse(&*content).ok().and_then(|file| {
        let data = file.section_by_name(name)?.uncompressed_data().ok()?;
        Some(String::from_utf8_lossy(&data).trim_end_matches('\0').to_owned())
    });
    text.unwrap_or_default()
}

/// A copy of an image to be damaged in tests and scenarios: flips one byte at `offset` of a partition.
pub fn copy_with_flipped_byte(file: &Path, label: &str, offset: u64, to: &Path) -> Result<(), VerifyError> {
    copy_sparse(file, to).at(to)?;
    flip_byte(to, label, offset)
}

/// Flips every bit of the byte at `offset` of the partition `label` of a raw disk.
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
    fn a_record_that_can_not_be_read_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        assert!(matches!(record_at(&path), Ok(None)));
        fs::write(&path, "{").unwrap();
        assert!(record_at(&path).is_err());
        assert!(record_at(folder.path()).is_err());
    }
}
