//! A systemd credential, passed by SMBIOS, fw_cfg or the kernel command line.

use std::path::{Path, PathBuf};

use super::error::DatasourceError;
use super::local;

/// The folder of the service's own credentials, decrypted.
const SERVICE_CREDENTIALS_ENV: &str = "CREDENTIALS_DIRECTORY";

/// The service's own credential takes precedence over the system's.
fn find(name: &str, system: &Path) -> Option<PathBuf> {
    let own = std::env::var_os(SERVICE_CREDENTIALS_ENV).map(PathBuf::from);
    let folders = own.into_iter().chain([system.to_owned()]);
    folders.map(|folder| folder.join(name)).find(|find| find.exists())
}

pub(super) fn exists(name: &str, system: &Path) -> bool {
    find(name, system).is_some()
}

pub(super) fn user_data(name: &str, system: &Path) -> Result<Vec<u8>, DatasourceError> {
    local::read_file(&find(name, system).unwrap_or_else(|| system.join(name)))
}
