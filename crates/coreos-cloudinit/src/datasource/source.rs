//! One place that user-data and metadata come from: whether it is there, and what it has.

use std::path::{Path, PathBuf};

use cloudinit::metadata::Metadata;

use super::error::DatasourceError;
use super::patience::Patience;
use super::url::Url;
use super::{config_drive, http, kernel_command_line, local};
use crate::log::Log;

/// Where QEMU's firmware configuration shows the entry for cloud-config.
const FW_CFG_PATH: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/com.coreos/config/raw";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Stdin,
    File(PathBuf),
    ConfigDrive(PathBuf),
    FwCfg,
    Url(Url),
    /// The file that has the kernel's arguments.
    KernelCommandLine(PathBuf),
}

/// Whether a source can be asked now.
#[derive(Debug, PartialEq, Eq)]
pub enum Availability {
    There,
    /// To know that it is there it had to be fetched.
    Fetched(Vec<u8>),
    NotYet,
    Never,
}

impl Source {
    /// The name that logs use.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stdin | Self::File(_) => "local-file",
            Self::ConfigDrive(_) => "cloud-drive",
            Self::FwCfg => "fw-cfg",
            Self::Url(_) => "url",
            Self::KernelCommandLine(_) => "proc-cmdline",
        }
    }

    /// Why it can not be had now, for messages.
    pub(super) fn missing(&self) -> String {
        match self {
            Self::Stdin => "standard input is closed".to_owned(),
            Self::File(path) | Self::ConfigDrive(path) => format!("{} is not there", path.display()),
            Self::FwCfg => format!("{FW_CFG_PATH} is not there"),
            Self::Url(url) => format!("{} can not be fetched", url.shown()),
            Self::KernelCommandLine(path) => format!("{} names no cloud-config-url", path.display()),
        }
    }

    /// # Errors
    /// It can never be asked: something is wrong with how it is named.
    pub fn availability(&self, patience: Patience, log: &Log) -> Result<Availability, DatasourceError> {
        let there = |is: bool, otherwise| if is { Availability::There } else { otherwise };
        match self {
            Self::Stdin => Ok(Availability::There),
            Self::File(path) | Self::ConfigDrive(path) => Ok(there(path.exists(), Availability::NotYet)),
            Self::FwCfg => Ok(there(Path::new(FW_CFG_PATH).exists(), Availability::Never)),
            Self::Url(url) => {
                url.check()?;
                match http::fetch(url, patience, log) {
                    Ok(user_data) => Ok(Availability::Fetched(user_data)),
                    // It may be put there, or the network may come.
                    Err(error @ (DatasourceError::NotFound { .. } | DatasourceError::Retries(_))) => {
                        log.warning(error.to_string());
                        Ok(Availability::NotYet)
                    }
                    Err(error) => Err(error),
                }
            }
            Self::KernelCommandLine(path) => {
                Ok(there(kernel_command_line::url(path, log)?.is_some(), Availability::Never))
            }
        }
    }

    /// # Errors
    /// The data is there but can not be read, or there is too much of it.
    pub fn user_data(&self, patience: Patience, log: &Log) -> Result<Vec<u8>, DatasourceError> {
        match self {
            Self::Stdin => local::stdin(),
            Self::File(path) => local::file(path),
            Self::ConfigDrive(path) => config_drive::user_data(path),
            Self::FwCfg => local::file(Path::new(FW_CFG_PATH)),
            Self::Url(url) => http::fetch(url, patience, log),
            Self::KernelCommandLine(path) => match kernel_command_line::url(path, log)? {
                Some(url) => http::fetch(&url, patience, log),
                None => Err(DatasourceError::EmptyUrl),
            },
        }
    }

    /// # Errors
    /// The metadata is there but can not be read or understood.
    pub fn metadata(&self) -> Result<Metadata, DatasourceError> {
        match self {
            Self::ConfigDrive(path) => config_drive::metadata(path),
            _ => Ok(Metadata::default()),
        }
    }
}
