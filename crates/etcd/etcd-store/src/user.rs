//! Users.

use crate::command::PasswordHash;

/// A user and the names of its roles, which need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Unique among users.
    pub name: String,
    /// For comparison with a login's password.
    pub password: PasswordHash,
    /// Sorted.
    pub roles: Vec<String>,
}
