//! Roles and permissions in the format of `/v2/auth`.

use serde::{Deserialize, Serialize};

/// A named set of permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// `root` and `guest` exist in every cluster with auth.
    #[serde(rename = "role")]
    pub name: String,
    /// What the role may read and write.
    #[serde(default)]
    pub permissions: Permissions,
}

/// Permissions by resource; keys are the only one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Permissions for keys.
    #[serde(default)]
    pub kv: KeyPermissions,
}

/// Patterns: an exact path, or a prefix that ends with `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPermissions {
    /// May be read and watched.
    #[serde(default)]
    pub read: Vec<String>,
    /// May be changed and removed.
    #[serde(default)]
    pub write: Vec<String>,
}
