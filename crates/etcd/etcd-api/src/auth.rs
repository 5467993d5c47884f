//! Roles and permissions in the format of `/v2/auth`.

use serde::{Deserialize, Serialize};

/// A named set of permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    #[serde(rename = "role")]
    pub name: String,
    #[serde(default)]
    pub permissions: Permissions,
}

/// Permissions by resource; keys are the only one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    #[serde(default)]
    pub kv: KeyPermissions,
}

/// Patterns: an exact path, or a prefix that ends with `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPermissions {
    #[serde(default)]
    pub read: Vec<String>,
    #[serde(default)]
    pub write: Vec<String>,
}
