//! Users.

use crate::command::PasswordHash;

/// A user and the names of its roles, which need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub password: PasswordHash,
    /// Sorted.
    pub roles: Vec<String>,
}
