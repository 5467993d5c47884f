//! Errors of user and role changes, with etcd's messages.

/// Why a user or role change was rejected. `Display` is the response's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum AuthError {
    #[error("auth: already enabled")]
    AlreadyEnabled,
    #[error("auth: already disabled")]
    AlreadyDisabled,
    #[error("auth: No root user available, please create one")]
    NoRootUser,
    #[error("auth: User {user} does not exist")]
    NoSuchUser { user: String },
    /// For a modification; etcd's message differs by a period.
    #[error("auth: User {user} does not exist.")]
    NoUserToUpdate { user: String },
    #[error("auth: User {user} already exists.")]
    UserExists { user: String },
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
    /// For a modification; etcd's message differs.
    #[error("auth: Role {role} does not exist.")]
    NoRoleToUpdate { role: String },
    #[error("auth: Granting duplicate {access} permission {pattern}")]
    DuplicatePermission { access: &'static str, pattern: String },
    #[error("auth: Role not updated. Use grant/revoke to update the role.")]
    RoleNotUpdated,
}

impl AuthError {
    /// The status of a response with this error.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::NoSuchUser { .. }
            | Self::NoUserToUpdate { .. }
            | Self::NoSuchRole { .. }
            | Self::NoRoleToUpdate { .. } => 404,
            Self::RootUserNeeded | Self::RootRole { .. } => 403,
            Self::EmptyPassword { .. } | Self::UserNotUpdated | Self::RoleNotUpdated => 400,
            _ => 409,
        }
    }
}
