//! Files for the installed system, which its first boot finds on the OEM partition.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cloudinit::limits::MAX_RAW_BYTES;
use disk_install::{Fetcher, OEM_FILES, OemFile};
use release::Digest;

use crate::flags::InstallFlags;

/// Name of the cloud-config in [`OEM_FILES`], and later in `/var/lib/coreos-install`.
pub const USER_DATA: &str = "user_data";
/// Folder of network units in [`OEM_FILES`].
const NETWORK: &str = "network";
const IGNITION: &str = "config.ign";
const NETWORK_UNITS: &str = "run/systemd/network";

/// Reads and validates everything that the flags name. Findings about the cloud-config are printed to stderr.
pub fn read(flags: &InstallFlags, root: &Path, fetcher: &Fetcher) -> Result<Vec<OemFile>> {
    let mut files = Vec::new();
    if let Some(config) = &flags.cloud_config {
        let content = cloud_config(config, flags.config_hash.as_deref(), fetcher)?;
        files.push(OemFile { folder: OEM_FILES.to_owned(), name: USER_DATA.to_owned(), content });
    }
    if let Some(ignition) = &flags.ignition {
        if !ignition.is_file() {
            bail!("Ignition config file ({}) does not exist.", ignition.display());
        }
        let content = bounded(ignition)?;
        files.push(OemFile { folder: String::new(), name: IGNITION.to_owned(), content });
    }
    if flags.copy_network {
        files.extend(network_units(&root.join(NETWORK_UNITS), &format!("{OEM_FILES}/{NETWORK}"), 1)?);
    }
    Ok(files)
}

fn cloud_config(config: &str, expected: Option<&str>, fetcher: &Fetcher) -> Result<Vec<u8>> {
    let content = if config.starts_with("http://") || config.starts_with("https://") {
        fetcher.get(config, MAX_RAW_BYTES as u64).context("cannot fetch the cloud config")?
    } else {
        let path = Path::new(config);
        if !path.is_file() {
            bail!("Cloud config file ({config}) does not exist.");
        }
        bounded(path)?
    };
    if let Some(expected) = expected {
        let digest = expected.strip_prefix("sha256-").and_then(|digits| digits.parse::<Digest>().ok());
        let digest = digest.with_context(|| {
            format!("--config-hash {expected}: expected sha256- and 64 lowercase hexadecimal digits")
        })?;
        let actual = Digest::of(&content);
        if actual != digest {
            bail!("Cloud config file ({config}) has the SHA-256 {actual}, expected {digest}.");
        }
    }
    let findings = cloudinit::validate(&content);
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("Cloud config file ({config}) is not valid.");
    }
    Ok(content)
}

/// The files in a folder, and in the folders of drop-ins within it.
fn network_units(folder: &Path, to: &str, depth: u8) -> Result<Vec<OemFile>> {
    let failed = || format!("cannot read {}", folder.display());
    let mut files = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error).with_context(failed),
    };
    for entry in entries {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !path.is_dir() {
            files.push(OemFile { folder: to.to_owned(), name, content: bounded(&path)? });
        } else if depth > 0 {
            files.extend(network_units(&path, &format!("{to}/{name}"), depth - 1)?);
        }
    }
    files.sort_by(|a, b| (&a.folder, &a.name).cmp(&(&b.folder, &b.name)));
    Ok(files)
}

fn bounded(path: &Path) -> Result<Vec<u8>> {
    let failed = || format!("cannot read {}", path.display());
    let mut content = Vec::new();
    let file = fs::File::open(path).with_context(failed)?;
    file.take(MAX_RAW_BYTES as u64 + 1).read_to_end(&mut content).with_context(failed)?;
    if content.len() > MAX_RAW_BYTES {
        bail!("{} has more than {MAX_RAW_BYTES} bytes", path.display());
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use disk_install::Retries;

    use super::*;
    use crate::flags::Flags;

    fn read_flags(arguments: &[&str]) -> Result<Vec<OemFile>, String> {
        let flags = Flags::parse_from(std::iter::once(&"coreos-install").chain(arguments));
        let fetcher = Fetcher::new("test", Retries::Limited(0));
        read(&flags.install, &flags.root, &fetcher).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn configs_are_validated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let name = path.to_str().unwrap();
        let missing = read_flags(&["-c", name]).unwrap_err();
        assert_eq!(missing, format!("Cloud config file ({name}) does not exist."));
        fs::write(&path, "#cloud-config\nhostname: [x\n").unwrap();
        let invalid = read_flags(&["-c", name]).unwrap_err();
        assert_eq!(invalid, format!("Cloud config file ({name}) is not valid."));
        let config = b"#cloud-config\nhostname: x\n";
        fs::write(&path, config).unwrap();
        let files = read_flags(&["-c", name]).unwrap();
        assert_eq!(
            (&*files[0].folder, &*files[0].name, &*files[0].content),
            (OEM_FILES, USER_DATA, &config[..])
        );
        let hash = format!("sha256-{}", Digest::of(config));
        assert_eq!(read_flags(&["-c", name, "--config-hash", &hash]).unwrap().len(), 1);
        let other = format!("sha256-{}", Digest::of(b"other"));
        let refused = read_flags(&["-c", name, "--config-hash", &other]).unwrap_err();
        assert!(refused.contains("has the SHA-256"), "{refused}");
        let refused = read_flags(&["-c", name, "--config-hash", "md5-0"]).unwrap_err();
        assert!(refused.contains("expected sha256- and 64"), "{refused}");
        let missing = read_flags(&["-i", "/nonexistent"]).unwrap_err();
        assert_eq!(missing, "Ignition config file (/nonexistent) does not exist.");
    }

    #[test]
    fn network_units_and_their_drop_ins_are_copied() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().to_str().unwrap();
        assert!(read_flags(&["-n", "--root", path]).unwrap().is_empty());
        let units = root.path().join(NETWORK_UNITS);
        fs::create_dir_all(units.join("10-a.network.d")).unwrap();
        fs::write(units.join("10-a.network"), "a").unwrap();
        fs::write(units.join("10-a.network.d/b.conf"), "b").unwrap();
        let files = read_flags(&["-n", "--root", path]).unwrap();
        let found: Vec<_> = files.iter().map(|file| format!("{}/{}", file.folder, file.name)).collect();
        let folder = format!("{OEM_FILES}/{NETWORK}");
        assert_eq!(found, [format!("{folder}/10-a.network"), format!("{folder}/10-a.network.d/b.conf")]);
        disk_install::check_files(&files).unwrap();
    }
}
