//! The machine's identity, for requests and verification.

use std::fs;
use std::io;
use std::path::PathBuf;

use release::Version;
use update_core::conf::{File, find};

use crate::places::Places;

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
    #[error("{path} says no {key}")]
    Missing { path: PathBuf, key: &'static str },
    #[error("{path}: `{version}` is no version")]
    Version { path: PathBuf, version: String },
}

impl Identity {
    pub fn read(places: &Places) -> Result<Self, IdentityError> {
        let release = "usr/share/coreos/release";
        let text = text(places, release)?;
        let key = |key: &'static str| {
            let found = find(std::slice::from_ref(&text), key).map(|found| found.value);
            found.ok_or(IdentityError::Missing { path: places.at(release), key })
        };
        let version = key("COREOS_RELEASE_VERSION")?;
        let version = version
            .parse()
            .map_err(|_| IdentityError::Version { path: places.at(release), version: version.clone() })?;
        let os_release = self::text(places, "usr/lib/os-release")?;
        let id = find(std::slice::from_ref(&os_release), "ID").map(|found| found.value);
        let build_time = fs::metadata(places.at("usr/lib/os-release"))
            .ok()
            .and_then(|about| about.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok())
            .map_or(0, |time| time.as_secs());
        let oem = ["etc/oem-release", "usr/share/oem/oem-release"];
        let oem = oem.iter().find_map(|path| self::text(places, path).ok());
        let of_oem = |key: &str| {
            let found = oem.as_ref().and_then(|file| find(std::slice::from_ref(file), key));
            found.map(|found| found.value).unwrap_or_default()
        };
        Ok(Self {
            appid: key("COREOS_RELEASE_APPID")?,
            version,
            board: key("COREOS_RELEASE_BOARD")?,
            id: id.unwrap_or_else(|| "keelson".to_owned()),
            build_time,
            machine_id: self::text(places, "etc/machine-id")?.text.trim().to_owned(),
            boot_id: self::text(places, "proc/sys/kernel/random/boot_id")?.text.trim().to_owned(),
            oem: of_oem("ID"),
            oem_version: of_oem("VERSION_ID"),
        })
    }
}

fn text(places: &Places, path: &str) -> Result<File, IdentityError> {
    let path = places.at(path);
    let text =
        fs::read_to_string(&path).map_err(|source| IdentityError::Read { path: path.clone(), source })?;
    Ok(File { path: path.display().to_string(), text })
}
