//! The machine's identity, for requests and verification.

use std::fs;
use std::io;
use std::path::PathBuf;

use release::Version;
use update_core::conf::{ConfFile, lookup};

use crate::paths::Paths;

/// Read once. It changes only by a mount over the release file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub appid: String,
    pub version: Version,
    pub board: String,
    /// `keelson`: the prefix of boot image names.
    pub id: String,
    /// Modification time of the running image, Unix time in seconds.
    pub build_time: u64,
    pub machine_id: String,
    pub boot_id: String,
    pub oem: String,
    pub oem_version: String,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} lacks {key}")]
    Missing { path: PathBuf, key: &'static str },
    #[error("{path}: invalid version `{version}`")]
    Version { path: PathBuf, version: String },
}

impl Identity {
    pub fn read(paths: &Paths) -> Result<Self, IdentityError> {
        let release = "usr/share/coreos/release";
        let file = read_file(paths, release)?;
        let key = |key: &'static str| {
            let found = lookup(std::slice::from_ref(&file), key).map(|found| found.value);
            found.ok_or(IdentityError::Missing { path: paths.at(release), key })
        };
        let version = key("COREOS_RELEASE_VERSION")?;
        let version = version
            .parse()
            .map_err(|_| IdentityError::Version { path: paths.at(release), version: version.clone() })?;
        let os_release = self::read_file(paths, "usr/lib/os-release")?;
        let id = lookup(std::slice::from_ref(&os_release), "ID").map(|found| found.value);
        let build_time = fs::metadata(paths.at("usr/lib/os-release"))
            .ok()
            .and_then(|metadata| metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok())
            .map_or(0, |time| time.as_secs());
        let oem = ["etc/oem-release", "usr/share/oem/oem-release"];
        let oem = oem.iter().find_map(|path| self::read_file(paths, path).ok());
        let oem_value = |key: &str| {
            let found = oem.as_ref().and_then(|file| lookup(std::slice::from_ref(file), key));
            found.map(|found| found.value).unwrap_or_default()
        };
        Ok(Self {
            appid: key("COREOS_RELEASE_APPID")?,
            version,
            board: key("COREOS_RELEASE_BOARD")?,
            id: id.unwrap_or_else(|| "keelson".to_owned()),
            build_time,
            machine_id: self::read_file(paths, "etc/machine-id")?.text.trim().to_owned(),
            boot_id: self::read_file(paths, "proc/sys/kernel/random/boot_id")?.text.trim().to_owned(),
            oem: oem_value("ID"),
            oem_version: oem_value("VERSION_ID"),
        })
    }
}

fn read_file(paths: &Paths, path: &str) -> Result<ConfFile, IdentityError> {
    let path = paths.at(path);
    let text =
        fs::read_to_string(&path).map_err(|source| IdentityError::Read { path: path.clone(), source })?;
    Ok(ConfFile { path: path.display().to_string(), text })
}
