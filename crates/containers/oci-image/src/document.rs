//! JSON documents of the OCI image specification, with the fields that this crate reads. Docker's documents have the
//! same.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::platform::Platform;

#[derive(Debug, Deserialize)]
pub struct ImageManifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
pub struct ImageIndex {
    pub manifests: Vec<Descriptor>,
}

/// A reference to content.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    pub annotations: Option<BTreeMap<String, String>>,
    /// Only in an index.
    pub platform: Option<RequiredPlatform>,
}

impl Descriptor {
    pub fn annotation(&self, name: &str) -> Option<&String> {
        self.annotations.as_ref()?.get(name)
    }
}

/// The platform that an image needs.
#[derive(Debug, Deserialize)]
pub struct RequiredPlatform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

impl From<&RequiredPlatform> for Platform {
    fn from(required: &RequiredPlatform) -> Self {
        Self::new(&required.os, &required.architecture, required.variant.as_deref().unwrap_or_default())
    }
}
