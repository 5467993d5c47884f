//! Users, roles and who may do what. Passwords are hashed and compared by the caller.

use std::collections::BTreeMap;

use etcd_api::{Key, Role};

use crate::PasswordHash;

/// The records behind `/v2/auth`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    enabled: bool,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
}

/// A user with the names of its roles, which need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub password: PasswordHash,
    /// In order.
    pub roles: Vec<String>,
}

/// What a request wants of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// Why a change of users or roles is refused. `Display` is the answer's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("auth: already enabled")]
    AlreadyEnabled,
    #[error("auth: already disabled")]
    AlreadyDisabled,
    #[error("auth: No root user available, please create one")]
    NoRootUser,
    #[error("auth: User {user} does not exist")]
    NoSuchUser { user: String },
    #[error("auth: Cannot create user {user} with an empty password")]
    EmptyPassword { user: String },
    #[error("auth: Granting duplicate role {role} for user {user}")]
    DuplicateRole { role: String, user: String },
    #[error("auth: Revoking ungranted role {role} for user {user}")]
    UngrantedRole { role: String, user: String },
    #[error("auth: User not updated. Use grant/revoke/password to update the user.")]
    UserNotUpdated,
    #[error("auth: Cannot delete root user while auth is enabled.")]
    RootUserNeeded,
    #[error("auth: Cannot modify role {role}: is root role.")]
    RootRole { role: String },
    #[error("auth: Role {role} already exists.")]
    RoleExists { role: String },
    #[error("auth: Role {role} doesn't exist.")]
    NoSuchRole { role: String },
    #[error("auth: Granting duplicate {access} permission {pattern}")]
    DuplicatePermission { access: &'static str, pattern: String },
    #[error("auth: Revoking ungranted {access} permission {pattern}")]
    UngrantedPermission { access: &'static str, pattern: String },
    #[error("auth: Role not updated. Use grant/revoke to update the role.")]
    RoleNotUpdated,
}

impl AuthError {
    pub fn http_status(&self) -> u16 {
        match self {
            Self::NoSuchUser { .. } | Self::NoSuchRole { .. } => 404,
            Self::RootUserNeeded | Self::RootRole { .. } => 403,
            Self::EmptyPassword { .. } | Self::UserNotUpdated | Self::RoleNotUpdated => 400,
            _ => 409,
        }
    }
}

impl Auth {
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// By name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// By name; `root` is always among them.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }

    /// Whether `user` (already authenticated; `None` is a request without credentials, a guest) may do
    /// this to a key. Always while auth is off.
    pub fn allows(&self, _user: Option<&str>, _key: &Key, _recursive: bool, _access: Access) -> bool {
        unimplemented!("comes with auth")
    }

    /// Whether `user` may change users, roles and members. Always while auth is off.
    pub fn is_root(&self, _user: Option<&str>) -> bool {
        unimplemented!("comes with auth")
    }
}
