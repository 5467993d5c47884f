//! Who may log in.

use crate::command::PasswordHash;

/// A user with the names of its roles, which need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub password: PasswordHash,
    /// In order.
    pub roles: Vec<String>,
}
