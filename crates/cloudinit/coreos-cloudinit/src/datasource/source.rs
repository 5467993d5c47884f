//! A datasource: its availability, user-data and metadata.

use std::path::{Path, PathBuf};

use cloudinit::metadata::Metadata;

use super::cache::{Cache, cached};
use super::error::DatasourceError;
use super::retry::RetryPolicy;
use super::saved::Saved;
use super::service::Service;
use super::url::Url;
use super::{
    azure_disk, cloud_sigma, config_drive, credential, http, kernel_command_line, local, no_cloud,
    virtual_box, vmware, waagent,
};
use crate::log::Log;
use crate::rights::ExtraRights;

/// QEMU's fw_cfg entry for cloud-config.
const FW_CFG_PATH: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/com.coreos/config/raw";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Stdin,
    File(PathBuf),
    ConfigDrive(PathBuf),
    FwCfg,
    Url(Url),
    Service(Service, Url),
    /// The path of the kernel command line.
    KernelCommandLine(PathBuf),
    /// `ovf-env.xml` of the provisioning disk.
    AzureOvfEnvironment(PathBuf),
    /// Azure's metadata service, with what only the provisioning disk has.
    Azure {
        service: Url,
        disk: PathBuf,
        /// Of the disk's custom data.
        saved: PathBuf,
    },
    /// The root folder.
    CloudSigma(PathBuf),
    /// A systemd credential; `system` is the folder of the machine's credentials.
    Credential {
        name: String,
        system: PathBuf,
    },
    /// A mounted disk or a folder.
    NoCloud(PathBuf),
    /// The folder of Azure's agent.
    Waagent(PathBuf),
    /// The file with the OVF environment.
    VmwareOvfEnvironment(PathBuf),
    /// The root folder.
    VmwareGuestinfo(PathBuf),
    /// Guest properties.
    VirtualBox(PathBuf),
}

/// Whether a source can be read now.
#[derive(Debug, PartialEq, Eq)]
pub enum Availability {
    Available,
    /// Probing had to fetch the user-data.
    Fetched(Vec<u8>),
    NotYet,
    Never,
}

impl Source {
    /// The name used in logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stdin | Self::File(_) => "local-file",
            Self::ConfigDrive(_) => "cloud-drive",
            Self::FwCfg => "fw-cfg",
            Self::Url(_) => "url",
            Self::Service(service, _) => service.kind(),
            Self::Azure { .. } => Service::Azure.kind(),
            Self::KernelCommandLine(_) => "proc-cmdline",
            Self::AzureOvfEnvironment(_) => "azure-ovf-env",
            Self::CloudSigma(_) => "server-context",
            Self::Credential { .. } => "credential",
            Self::NoCloud(_) => "nocloud",
            Self::Waagent(_) => "waagent",
            Self::VmwareOvfEnvironment(_) | Self::VmwareGuestinfo(_) => "vmware",
            Self::VirtualBox(_) => "virtualbox",
        }
    }

    /// The rights that it needs beyond reading files and using the network.
    pub fn extra_rights(&self) -> ExtraRights {
        match self {
            Self::VmwareGuestinfo(_) => ExtraRights { ports: true, ..ExtraRights::default() },
            Self::VirtualBox(root) => {
                ExtraRights { devices: vec![virtual_box::device(root)], ..ExtraRights::default() }
            }
            Self::CloudSigma(root) => {
                ExtraRights { devices: vec![cloud_sigma::port(root)], ..ExtraRights::default() }
            }
            _ => ExtraRights::default(),
        }
    }

    /// Why it is unavailable, for messages.
    pub(super) fn unavailable_reason(&self) -> String {
        match self {
            Self::Stdin => "standard input is closed".to_owned(),
            Self::File(path) | Self::AzureOvfEnvironment(path) | Self::VmwareOvfEnvironment(path) => {
                format!("{} is not there", path.display())
            }
            Self::ConfigDrive(path) => format!("{} is no config drive", path.display()),
            Self::FwCfg => format!("{FW_CFG_PATH} is not there"),
            Self::Url(url) => format!("{} cannot be fetched", url.redacted()),
            Self::Service(_, url) | Self::Azure { service: url, .. } => {
                format!("{} does not respond as {}", url.redacted(), self.kind())
            }
            Self::KernelCommandLine(path) => format!("{} names no cloud-config-url", path.display()),
            Self::CloudSigma(_) => "this is no server of CloudSigma with a lease".to_owned(),
            Self::Credential { name, .. } => format!("credential {name} does not exist"),
            Self::NoCloud(path) => format!("{} has neither user-data nor meta-data", path.display()),
            Self::Waagent(path) => format!("{} is not provisioned", path.display()),
            Self::VmwareGuestinfo(_) => {
                "this is no machine of VMware, or its guestinfo cannot be read".to_owned()
            }
            Self::VirtualBox(_) => "this is no machine of VirtualBox, or its device is missing".to_owned(),
        }
    }

    /// # Errors
    /// It can never become available: its name is invalid.
    pub fn availability(
        &self,
        cache: &Cache,
        retry: RetryPolicy,
        log: &Log,
    ) -> Result<Availability, DatasourceError> {
        let available_if = |is: bool, otherwise| if is { Availability::Available } else { otherwise };
        match self {
            Self::Stdin => Ok(Availability::Available),
            Self::File(path) | Self::AzureOvfEnvironment(path) => {
                Ok(available_if(path.exists(), Availability::NotYet))
            }
            Self::ConfigDrive(path) => {
                Ok(available_if(config_drive::has_content(path), Availability::NotYet))
            }
            Self::CloudSigma(root) if !cloud_sigma::is_cloud_sigma(root) => Ok(Availability::Never),
            Self::CloudSigma(root) => Ok(available_if(cloud_sigma::has_lease(root), Availability::NotYet)),
            Self::Credential { name, system } => {
                Ok(available_if(credential::exists(name, system), Availability::Never))
            }
            Self::NoCloud(path) => Ok(available_if(no_cloud::exists(path), Availability::NotYet)),
            Self::Waagent(path) => Ok(available_if(waagent::is_provisioned(path), Availability::NotYet)),
            Self::VmwareOvfEnvironment(path) => Ok(available_if(path.exists(), Availability::Never)),
            Self::VmwareGuestinfo(root) => {
                let keys = cached(&cache.guestinfo, || vmware::Keys::from_guestinfo(root))?;
                Ok(available_if(keys.is_some(), Availability::Never))
            }
            Self::VirtualBox(root) if !virtual_box::has_adapter(root) => Ok(Availability::Never),
            Self::VirtualBox(root) => {
                Ok(available_if(virtual_box::device(root).exists(), Availability::NotYet))
            }
            Self::FwCfg => Ok(available_if(Path::new(FW_CFG_PATH).exists(), Availability::Never)),
            Self::Url(url) => {
                let fetched = http::fetch(url, retry, log).map(Availability::Fetched);
                fetched.or_else(|error| not_yet(error, log))
            }
            Self::Azure { service, .. } => {
                Self::Service(Service::Azure, service.clone()).availability(cache, retry, log)
            }
            Self::Service(service, url) => {
                let probed = service.probe(url, &cache.service, retry, log).map(|()| Availability::Available);
                probed.or_else(|error| not_yet(error, log))
            }
            Self::KernelCommandLine(path) => {
                Ok(available_if(kernel_command_line::url(path, log)?.is_some(), Availability::Never))
            }
        }
    }

    /// # Errors
    /// The data exists but cannot be read or is too large.
    pub fn user_data(
        &self,
        cache: &Cache,
        retry: RetryPolicy,
        log: &Log,
    ) -> Result<Vec<u8>, DatasourceError> {
        match self {
            Self::Stdin => local::read_stdin(),
            Self::File(path) => local::read_file(path),
            Self::ConfigDrive(path) => config_drive::user_data(path),
            Self::FwCfg => local::read_file(Path::new(FW_CFG_PATH)),
            Self::Url(url) => http::fetch(url, retry, log),
            Self::Service(service, url) => service.user_data(url, &cache.service, retry, log),
            Self::AzureOvfEnvironment(path) => azure_disk::user_data(path),
            Self::Azure { service, disk, saved } => {
                let metadata = cached(&cache.metadata, || azure_metadata(service, disk, cache, retry, log))?;
                let user_data = azure_disk::custom_data(disk, saved, metadata)?;
                if user_data.is_empty() {
                    return Service::Azure.user_data(service, &cache.service, retry, log);
                }
                if let Some(instance) = metadata.instance.clone() {
                    let saved = Saved { instance, user_data: user_data.clone() };
                    cache.first_boot_only.get_or_init(|| saved);
                }
                Ok(user_data)
            }
            Self::CloudSigma(root) => {
                Ok(cached(&cache.context, || cloud_sigma::query_context(root))?.user_data()?)
            }
            Self::Credential { name, system } => credential::user_data(name, system),
            Self::NoCloud(path) => no_cloud::user_data(path),
            Self::Waagent(path) => waagent::user_data(path),
            Self::VmwareOvfEnvironment(path) => vmware::Keys::from_file(path)?.user_data(retry, log),
            Self::VmwareGuestinfo(root) => {
                match cached(&cache.guestinfo, || vmware::Keys::from_guestinfo(root))? {
                    Some(keys) => keys.user_data(retry, log),
                    None => Ok(Vec::new()),
                }
            }
            Self::VirtualBox(root) => virtual_box::user_data(root),
            Self::KernelCommandLine(path) => match kernel_command_line::url(path, log)? {
                Some(url) => http::fetch(&url, retry, log),
                None => Err(DatasourceError::EmptyUrl),
            },
        }
    }

    /// # Errors
    /// The metadata exists but cannot be read or parsed.
    pub fn metadata(
        &self,
        cache: &Cache,
        retry: RetryPolicy,
        log: &Log,
    ) -> Result<Metadata, DatasourceError> {
        match self {
            Self::ConfigDrive(path) => config_drive::metadata(path),
            Self::Service(service, url) => service.metadata(url, &cache.service, retry, log),
            Self::AzureOvfEnvironment(path) => azure_disk::metadata(path),
            Self::Azure { service, disk, .. } => {
                cached(&cache.metadata, || azure_metadata(service, disk, cache, retry, log)).cloned()
            }
            Self::CloudSigma(root) => {
                let context = cached(&cache.context, || cloud_sigma::query_context(root))?;
                Ok(cloud_sigma::metadata(root, context))
            }
            Self::NoCloud(path) => no_cloud::metadata(path),
            Self::Waagent(path) => waagent::metadata(path),
            Self::VmwareOvfEnvironment(path) => vmware::Keys::from_file(path)?.metadata(),
            Self::VmwareGuestinfo(root) => {
                match cached(&cache.guestinfo, || vmware::Keys::from_guestinfo(root))? {
                    Some(keys) => keys.metadata(),
                    None => Ok(Metadata::default()),
                }
            }
            Self::VirtualBox(root) => virtual_box::metadata(root),
            _ => Ok(Metadata::default()),
        }
    }
}

fn azure_metadata(
    service: &Url,
    disk: &Path,
    cache: &Cache,
    retry: RetryPolicy,
    log: &Log,
) -> Result<Metadata, DatasourceError> {
    azure_disk::complete(Service::Azure.metadata(service, &cache.service, retry, log)?, disk)
}

/// The item or the network may still appear.
fn not_yet(error: DatasourceError, log: &Log) -> Result<Availability, DatasourceError> {
    match error {
        DatasourceError::NotFound { .. } | DatasourceError::Retries(_) | DatasourceError::Slow(_) => {
            log.warning(error.to_string());
            Ok(Availability::NotYet)
        }
        error => Err(error),
    }
}
