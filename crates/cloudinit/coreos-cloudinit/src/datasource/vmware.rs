//! VMware's OVF environment and guestinfo (contract 5.8).

use std::collections::BTreeMap;
use std::path::Path;

use cloudinit::metadata::Metadata;
use cloudinit::provider::guest_rpc::guestinfo;
use cloudinit::provider::vmware::{self, UserData};
use cloudinit::provider::{Malformed, PropertyLookup, decode_content};

use super::backdoor::{self, Backdoor};
use super::error::DatasourceError;
use super::properties::read_keys;
use super::retry::RetryPolicy;
use super::url::Url;
use super::{http, local};
use crate::log::Log;

const OVF_ENVIRONMENT: &str = "ovfenv";

/// The source of the keys.
pub(super) enum Keys {
    Properties(BTreeMap<String, String>),
    /// Each key is a request to the hypervisor.
    Hypervisor,
}

impl Keys {
    pub fn from_file(path: &Path) -> Result<Self, DatasourceError> {
        Ok(Self::Properties(local::read_parsed(path, vmware::properties)?.unwrap_or_default()))
    }

    /// Prefers the OVF environment to single guestinfo keys. `None` on other machines than VMware's.
    pub fn from_guestinfo(root: &Path) -> Result<Option<Self>, DatasourceError> {
        if !backdoor::is_vmware(root) {
            return Ok(None);
        }
        if let Some(text) = query(OVF_ENVIRONMENT)? {
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
        Ok(Some(Self::Hypervisor))
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
            Self::Hypervisor => read_keys(query, read),
        }
    }
}

/// `None` if the key is unset.
fn query(key: &str) -> Result<Option<String>, DatasourceError> {
    let mut backdoor = Backdoor::open().map_err(DatasourceError::FaultHandler)?;
    let failed = |source| DatasourceError::Guestinfo { key: key.to_owned(), source };
    let value = guestinfo(&mut backdoor, key).map_err(failed)?;
    let malformed = |_| DatasourceError::Malformed {
        path: format!("guestinfo.{key}").into(),
        source: Malformed::NotUtf8,
    };
    value.map(|value| String::from_utf8(value).map_err(malformed)).transpose()
}
