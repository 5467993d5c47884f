//! Names of roles on the command line.

use update_core::roots::Role;

pub fn role(text: &str) -> Result<Role, String> {
    let found = Role::ALL.into_iter().find(|role| role.name() == text);
    found.ok_or_else(|| format!("invalid role `{text}`: expected root, release or channel"))
}
