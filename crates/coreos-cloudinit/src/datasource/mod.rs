//! Where user-data and metadata come from.

mod config_drive;
mod local;
mod poll;

use std::path::{Path, PathBuf};

use cloudinit::metadata::Metadata;

pub use poll::{Patience, choose};

/// Where QEMU's firmware configuration shows the entry for cloud-config.
const FW_CFG_PATH: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/com.coreos/config/raw";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Stdin,
    File(PathBuf),
    ConfigDrive(PathBuf),
    FwCfg,
}

#[derive(Debug, thiserror::Error)]
pub enum DatasourceError {
    #[error("can not read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is a {kind}, not a regular file", path.display())]
    NotAFile { path: PathBuf, kind: &'static str },
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: usize },
    #[error("{} is not valid", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("No datasources available in time")]
    NoneInTime,
    #[error("No datasource is available: {0}")]
    NoneNow(String),
}

impl Source {
    /// The name that logs use.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stdin | Self::File(_) => "local-file",
            Self::ConfigDrive(_) => "cloud-drive",
            Self::FwCfg => "fw-cfg",
        }
    }

    /// What is looked for, for messages.
    fn place(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) | Self::ConfigDrive(path) => path.display().to_string(),
            Self::FwCfg => FW_CFG_PATH.to_owned(),
        }
    }

    pub fn is_available(&self) -> bool {
        match self {
            Self::Stdin => true,
            Self::File(path) | Self::ConfigDrive(path) => path.exists(),
            Self::FwCfg => Path::new(FW_CFG_PATH).exists(),
        }
    }

    /// Whether it may become available later.
    pub fn can_change(&self) -> bool {
        !matches!(self, Self::FwCfg)
    }

    /// # Errors
    /// The data is there but can not be read, or there is too much of it.
    pub fn user_data(&self) -> Result<Vec<u8>, DatasourceError> {
        match self {
            Self::Stdin => local::stdin(),
            Self::File(path) => local::file(path),
            Self::ConfigDrive(path) => config_drive::user_data(path),
            Self::FwCfg => local::file(Path::new(FW_CFG_PATH)),
        }
    }

    /// # Errors
    /// The metadata is there but can not be read or understood.
    pub fn metadata(&self) -> Result<Metadata, DatasourceError> {
        match self {
            Self::ConfigDrive(path) => config_drive::metadata(path),
            Self::Stdin | Self::File(_) | Self::FwCfg => Ok(Metadata::default()),
        }
    }
}
