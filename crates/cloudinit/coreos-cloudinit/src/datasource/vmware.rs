//! VMware's OVF environment and guestinfo (contract 5.8).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use caps::Capability;
use cloudinit::metadata::Metadata;
use cloudinit::provider::vmware::{self, UserData};
use cloudinit::provider::{Get, Malformed, decoded};

use super::error::DatasourceError;
use super::patience::Patience;
use super::url::Url;
use super::{http, local, transport};
use crate::log::Log;

/// Either asks the hypervisor for one key.
const RPCTOOL: &str = "vmware-rpctool";
const TOOLS: &str = "vmtoolsd";
/// A hypervisor may answer only those who may use I/O ports, or who call from a privileged port of its sockets.
pub(super) const RIGHTS_OF_PROGRAMS: &[Capability] =
    &[Capability::CAP_SYS_RAWIO, Capability::CAP_NET_BIND_SERVICE];
const OVF_ENVIRONMENT: &str = "ovfenv";
/// So both say that a key is not there.
const NO_VALUE: &str = "No value found";

/// Where the keys are.
pub(super) enum Keys {
    Properties(BTreeMap<String, String>),
    /// Each is asked for by a run of this program.
    Program(PathBuf),
}

impl Keys {
    pub fn of_file(path: &Path) -> Result<Self, DatasourceError> {
        Ok(Self::Properties(local::understood(path, vmware::properties)?.unwrap_or_default()))
    }

    /// The OVF environment where the hypervisor has one, else the keys by themselves. `None` where there is no
    /// program to ask with.
    pub fn of_guestinfo() -> Result<Option<Self>, DatasourceError> {
        let Some(program) = transport::find(&[RPCTOOL, TOOLS]) else { return Ok(None) };
        if let Some(text) = ask(&program, OVF_ENVIRONMENT)? {
            let malformed = |source| DatasourceError::Malformed {
                path: format!("guestinfo.{OVF_ENVIRONMENT}").into(),
                source,
            };
            let properties = vmware::properties(text.as_bytes()).map_err(malformed)?;
            // A virtual machine has one without such properties too.
            if !properties.is_empty() {
                return Ok(Some(Self::Properties(properties)));
            }
        }
        Ok(Some(Self::Program(program)))
    }

    pub fn user_data(&self, patience: Patience, log: &Log) -> Result<Vec<u8>, DatasourceError> {
        let malformed = |source| DatasourceError::Malformed { path: "coreos.config.data".into(), source };
        match self.with(vmware::user_data)?.map_err(malformed)? {
            UserData::Here(user_data) => Ok(user_data),
            UserData::At { url, encoding } => {
                let content = http::fetch(&Url::new(&url), patience, log)?;
                decoded(content, encoding).map_err(malformed)
            }
        }
    }

    pub fn metadata(&self) -> Result<Metadata, DatasourceError> {
        self.with(vmware::metadata)
    }

    fn with<T>(&self, read: impl FnOnce(&mut Get<'_>) -> T) -> Result<T, DatasourceError> {
        match self {
            Self::Properties(properties) => Ok(read(&mut |key| properties.get(key).cloned())),
            Self::Program(program) => transport::with_keys(|key| ask(program, key), read),
        }
    }
}

/// A key's value, `None` where it is not set.
fn ask(program: &Path, key: &str) -> Result<Option<String>, DatasourceError> {
    let request = format!("info-get guestinfo.{key}");
    let is_tools = program.file_name().is_some_and(|name| name == TOOLS);
    let arguments = if is_tools { vec!["--cmd", &request] } else { vec![&*request] };
    let said = transport::ask(program, &arguments)?;
    let failed = |reason| DatasourceError::Program { program: program.into(), reason };
    if said.status.success() {
        let mut output = said.output;
        // Its own line end.
        if output.last() == Some(&b'\n') {
            output.pop();
        }
        let malformed = |_| DatasourceError::Malformed { path: request.into(), source: Malformed::NotText };
        return String::from_utf8(output).map(Some).map_err(malformed);
    }
    if said.complaint.contains(NO_VALUE) || said.output.starts_with(NO_VALUE.as_bytes()) {
        return Ok(None);
    }
    Err(failed(format!("{}: {}", said.status, said.complaint)))
}
