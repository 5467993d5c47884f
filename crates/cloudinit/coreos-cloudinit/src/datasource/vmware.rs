//! VMware's OVF environment and guestinfo (contract 5.8).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use caps::Capability;
use cloudinit::metadata::Metadata;
use cloudinit::provider::vmware::{self, UserData};
use cloudinit::provider::{Malformed, PropertyLookup, decode_content};

use super::error::DatasourceError;
use super::retry::RetryPolicy;
use super::url::Url;
use super::{guest_tool, http, local};
use crate::log::Log;

/// Either tool queries one guestinfo key.
const RPCTOOL: &str = "vmware-rpctool";
const VMTOOLSD: &str = "vmtoolsd";
/// Some hypervisors answer only callers with I/O port access or a privileged vsock port.
pub(super) const TOOL_CAPABILITIES: &[Capability] =
    &[Capability::CAP_SYS_RAWIO, Capability::CAP_NET_BIND_SERVICE];
const OVF_ENVIRONMENT: &str = "ovfenv";
/// Both tools print this for an unset key.
const NO_VALUE: &str = "No value found";

/// The source of the keys.
pub(super) enum Keys {
    Properties(BTreeMap<String, String>),
    /// Each key is queried by running this program.
    Program(PathBuf),
}

impl Keys {
    pub fn from_file(path: &Path) -> Result<Self, DatasourceError> {
        Ok(Self::Properties(local::read_parsed(path, vmware::properties)?.unwrap_or_default()))
    }

    /// Prefers the OVF environment to single guestinfo keys. `None` without a tool to query them with.
    pub fn from_guestinfo() -> Result<Option<Self>, DatasourceError> {
        let Some(program) = guest_tool::find(&[RPCTOOL, VMTOOLSD]) else { return Ok(None) };
        if let Some(text) = query(&program, OVF_ENVIRONMENT)? {
            let malformed = |source| DatasourceError::Malformed {
                path: format!("guestinfo.{OVF_ENVIRONMENT}").into(),
                source,
            };
            let properties = vmware::properties(text.as_bytes()).map_err(malformed)?;
            // The OVF environment may exist without our properties.
            if !properties.is_empty() {
                return Ok(Some(Self::Properties(properties)));
            }
        }
        Ok(Some(Self::Program(program)))
    }

    pub fn user_data(&self, retry: RetryPolicy, log: &Log) -> Result<Vec<u8>, DatasourceError> {
        let malformed = |source| DatasourceError::Malformed { path: "coreos.config.data".into(), source };
        match self.read_keys(vmware::user_data)?.map_err(malformed)? {
            UserData::Inline(user_data) => Ok(user_data),
            UserData::Url { url, encoding } => {
                let content = http::fetch(&Url::new(&url), retry, log)?;
                decode_content(content, encoding).map_err(malformed)
            }
        }
    }

    pub fn metadata(&self) -> Result<Metadata, DatasourceError> {
        self.read_keys(vmware::metadata)
    }

    fn read_keys<T>(&self, read: impl FnOnce(&mut PropertyLookup<'_>) -> T) -> Result<T, DatasourceError> {
        match self {
            Self::Properties(properties) => Ok(read(&mut |key| properties.get(key).cloned())),
            Self::Program(program) => guest_tool::read_keys(|key| query(program, key), read),
        }
    }
}

/// `None` if the key is unset.
fn query(program: &Path, key: &str) -> Result<Option<String>, DatasourceError> {
    let request = format!("info-get guestinfo.{key}");
    let is_vmtoolsd = program.file_name().is_some_and(|name| name == VMTOOLSD);
    let arguments = if is_vmtoolsd { vec!["--cmd", &request] } else { vec![&*request] };
    let output = guest_tool::run(program, &arguments)?;
    let failed = |reason| DatasourceError::Program { program: program.into(), reason };
    if output.status.success() {
        let mut output = output.stdout;
        // The tool appends one newline.
        if output.last() == Some(&b'\n') {
            output.pop();
        }
        let malformed = |_| DatasourceError::Malformed { path: request.into(), source: Malformed::NotUtf8 };
        return String::from_utf8(output).map(Some).map_err(malformed);
    }
    if output.error_line.contains(NO_VALUE) || output.stdout.starts_with(NO_VALUE.as_bytes()) {
        return Ok(None);
    }
    Err(failed(format!("{}: {}", output.status, output.error_line)))
}
