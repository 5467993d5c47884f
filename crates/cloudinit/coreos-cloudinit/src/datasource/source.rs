//! One place that user-data and metadata come from: whether it is there, and what it has.

use std::path::{Path, PathBuf};

use cloudinit::metadata::Metadata;

use super::error::DatasourceError;
use super::memory::{Memory, known};
use super::patience::Patience;
use super::service::Service;
use super::url::Url;
use super::{
    azure_disk, cloud_sigma, config_drive, credential, http, kernel_command_line, local, no_cloud,
    virtual_box, vmware, waagent,
};
use crate::log::Log;
use crate::rights::Needs;

/// Where QEMU's firmware configuration shows the entry for cloud-config.
const FW_CFG_PATH: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/com.coreos/config/raw";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Stdin,
    File(PathBuf),
    ConfigDrive(PathBuf),
    FwCfg,
    Url(Url),
    Service(Service, Url),
    /// The file that has the kernel's arguments.
    KernelCommandLine(PathBuf),
    /// `ovf-env.xml` of the provisioning disk.
    AzureOvfEnvironment(PathBuf),
    /// Below this root.
    CloudSigma(PathBuf),
    /// Of systemd; `system` has those of the machine.
    Credential {
        name: String,
        system: PathBuf,
    },
    /// A mounted disk, or a folder.
    NoCloud(PathBuf),
    /// The folder of Azure's agent.
    Waagent(PathBuf),
    /// The file with an OVF environment.
    VmwareOvfEnvironment(PathBuf),
    VmwareGuestinfo,
    /// Guest properties.
    VirtualBox,
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
            Self::Service(service, _) => service.kind(),
            Self::KernelCommandLine(_) => "proc-cmdline",
            Self::AzureOvfEnvironment(_) => "azure-ovf-env",
            Self::CloudSigma(_) => "server-context",
            Self::Credential { .. } => "credential",
            Self::NoCloud(_) => "nocloud",
            Self::Waagent(_) => "waagent",
            Self::VmwareOvfEnvironment(_) | Self::VmwareGuestinfo => "vmware",
            Self::VirtualBox => "virtualbox",
        }
    }

    /// What asking it needs besides the rights to read and to send.
    pub fn needs(&self) -> Needs {
        match self {
            Self::VmwareGuestinfo => {
                let capabilities = vmware::RIGHTS_OF_PROGRAMS.to_vec();
                Needs { programs: true, capabilities, ..Needs::default() }
            }
            Self::VirtualBox => Needs { programs: true, ..Needs::default() },
            Self::CloudSigma(root) => Needs { devices: vec![cloud_sigma::port(root)], ..Needs::default() },
            _ => Needs::default(),
        }
    }

    /// Why it cannot be had now, for messages.
    pub(super) fn missing(&self) -> String {
        match self {
            Self::Stdin => "standard input is closed".to_owned(),
            Self::File(path)
            | Self::ConfigDrive(path)
            | Self::AzureOvfEnvironment(path)
            | Self::VmwareOvfEnvironment(path) => format!("{} is not there", path.display()),
            Self::FwCfg => format!("{FW_CFG_PATH} is not there"),
            Self::Url(url) => format!("{} cannot be fetched", url.shown()),
            Self::Service(service, url) => format!("{} does not answer as {}", url.shown(), service.kind()),
            Self::KernelCommandLine(path) => format!("{} names no cloud-config-url", path.display()),
            Self::CloudSigma(_) => "this is no server of CloudSigma with a lease".to_owned(),
            Self::Credential { name, .. } => format!("there is no credential {name}"),
            Self::NoCloud(path) => format!("{} has neither user-data nor meta-data", path.display()),
            Self::Waagent(path) => format!("{} is not provisioned", path.display()),
            Self::VmwareGuestinfo => "VMware's guestinfo cannot be asked".to_owned(),
            Self::VirtualBox => "VirtualBox cannot be asked".to_owned(),
        }
    }

    /// # Errors
    /// It can never be asked: something is wrong with how it is named.
    pub fn availability(
        &self,
        memory: &Memory,
        patience: Patience,
        log: &Log,
    ) -> Result<Availability, DatasourceError> {
        let there = |is: bool, otherwise| if is { Availability::There } else { otherwise };
        match self {
            Self::Stdin => Ok(Availability::There),
            Self::File(path) | Self::ConfigDrive(path) | Self::AzureOvfEnvironment(path) => {
                Ok(there(path.exists(), Availability::NotYet))
            }
            Self::CloudSigma(root) if !cloud_sigma::is_here(root) => Ok(Availability::Never),
            Self::CloudSigma(root) => Ok(there(cloud_sigma::is_there(root), Availability::NotYet)),
            Self::Credential { name, system } => {
                Ok(there(credential::is_there(name, system), Availability::Never))
            }
            Self::NoCloud(path) => Ok(there(no_cloud::is_there(path), Availability::NotYet)),
            Self::Waagent(path) => Ok(there(waagent::is_there(path), Availability::NotYet)),
            Self::VmwareOvfEnvironment(path) => Ok(there(path.exists(), Availability::Never)),
            Self::VmwareGuestinfo => {
                let keys = known(&memory.guestinfo, vmware::Keys::of_guestinfo)?;
                Ok(there(keys.is_some(), Availability::Never))
            }
            Self::VirtualBox => Ok(there(virtual_box::is_there()?, Availability::Never)),
            Self::FwCfg => Ok(there(Path::new(FW_CFG_PATH).exists(), Availability::Never)),
            Self::Url(url) => {
                let fetched = http::fetch(url, patience, log).map(Availability::Fetched);
                fetched.or_else(|error| not_yet(error, log))
            }
            Self::Service(service, url) => {
                let probed = service.probe(url, &memory.service, patience, log).map(|()| Availability::There);
                probed.or_else(|error| not_yet(error, log))
            }
            Self::KernelCommandLine(path) => {
                Ok(there(kernel_command_line::url(path, log)?.is_some(), Availability::Never))
            }
        }
    }

    /// # Errors
    /// The data is there but cannot be read, or there is too much of it.
    pub fn user_data(
        &self,
        memory: &Memory,
        patience: Patience,
        log: &Log,
    ) -> Result<Vec<u8>, DatasourceError> {
        match self {
            Self::Stdin => local::stdin(),
            Self::File(path) => local::file(path),
            Self::ConfigDrive(path) => config_drive::user_data(path),
            Self::FwCfg => local::file(Path::new(FW_CFG_PATH)),
            Self::Url(url) => http::fetch(url, patience, log),
            Self::Service(service, url) => service.user_data(url, &memory.service, patience, log),
            Self::AzureOvfEnvironment(path) => azure_disk::user_data(path),
            Self::CloudSigma(root) => Ok(known(&memory.context, || cloud_sigma::context(root))?.user_data()?),
            Self::Credential { name, system } => credential::user_data(name, system),
            Self::NoCloud(path) => no_cloud::user_data(path),
            Self::Waagent(path) => waagent::user_data(path),
            Self::VmwareOvfEnvironment(path) => vmware::Keys::of_file(path)?.user_data(patience, log),
            Self::VmwareGuestinfo => match known(&memory.guestinfo, vmware::Keys::of_guestinfo)? {
                Some(keys) => keys.user_data(patience, log),
                None => Ok(Vec::new()),
            },
            Self::VirtualBox => virtual_box::user_data(),
            Self::KernelCommandLine(path) => match kernel_command_line::url(path, log)? {
                Some(url) => http::fetch(&url, patience, log),
                None => Err(DatasourceError::EmptyUrl),
            },
        }
    }

    /// # Errors
    /// The metadata is there but cannot be read or understood.
    pub fn metadata(
        &self,
        memory: &Memory,
        patience: Patience,
        log: &Log,
    ) -> Result<Metadata, DatasourceError> {
        match self {
            Self::ConfigDrive(path) => config_drive::metadata(path),
            Self::Service(service, url) => service.metadata(url, &memory.service, patience, log),
            Self::AzureOvfEnvironment(path) => azure_disk::metadata(path),
            Self::CloudSigma(root) => {
                let context = known(&memory.context, || cloud_sigma::context(root))?;
                Ok(cloud_sigma::metadata(root, context))
            }
            Self::NoCloud(path) => no_cloud::metadata(path),
            Self::Waagent(path) => waagent::metadata(path),
            Self::VmwareOvfEnvironment(path) => vmware::Keys::of_file(path)?.metadata(),
            Self::VmwareGuestinfo => match known(&memory.guestinfo, vmware::Keys::of_guestinfo)? {
                Some(keys) => keys.metadata(),
                None => Ok(Metadata::default()),
            },
            Self::VirtualBox => virtual_box::metadata(),
            _ => Ok(Metadata::default()),
        }
    }
}

/// What was asked for may be put there, or the network may come.
fn not_yet(error: DatasourceError, log: &Log) -> Result<Availability, DatasourceError> {
    match error {
        DatasourceError::NotFound { .. } | DatasourceError::Retries(_) | DatasourceError::Slow(_) => {
            log.warning(error.to_string());
            Ok(Availability::NotYet)
        }
        error => Err(error),
    }
}
