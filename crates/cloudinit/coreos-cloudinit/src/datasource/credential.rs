//! A credential that the machine was started with: systemd takes them from SMBIOS, fw_cfg and the kernel's arguments.

use std::path::{Path, PathBuf};

use super::error::DatasourceError;
use super::local;

/// Where systemd puts those that it gives to a service, decrypted where they were encrypted.
const OWN: &str = "CREDENTIALS_DIRECTORY";

/// The file, if there is one: the service's own before the machine's in `system`.
fn file(name: &str, system: &Path) -> Option<PathBuf> {
    let own = std::env::var_os(OWN).map(PathBuf::from);
    let folders = own.into_iter().chain([system.to_owned()]);
    folders.map(|folder| folder.join(name)).find(|file| file.exists())
}

pub(super) fn is_there(name: &str, system: &Path) -> bool {
    file(name, system).is_some()
}

pub(super) fn user_data(name: &str, system: &Path) -> Result<Vec<u8>, DatasourceError> {
    local::file(&file(name, system).unwrap_or_else(|| system.join(name)))
}
