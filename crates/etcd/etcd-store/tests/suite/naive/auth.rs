//! Users and roles in plain lists.

use etcd_api::{KeyPermissions, Permissions, Role};
use etcd_store::{AuthCommand, AuthError, Change, User};

#[derive(Debug, Clone)]
pub struct Auth {
    enabled: bool,
    users: Vec<User>,
    roles: Vec<Role>,
}

impl Auth {
    pub fn new() -> Self {
        Self { enabled: false, users: Vec::new(), roles: vec![all("root")] }
    }

    /// Also returns the number of written records.
    pub fn apply(&mut self, command: &AuthCommand) -> Result<(Change, u64), AuthError> {
        match command {
            AuthCommand::Enable if self.enabled => Err(AuthError::AlreadyEnabled),
            AuthCommand::Enable if !self.users.iter().any(|user| user.name == "root") => {
                Err(AuthError::NoRootUser)
            }
            AuthCommand::Enable => {
                self.enabled = true;
                let new_guest = !self.roles.iter().any(|role| role.name == "guest");
                if new_guest {
                    self.roles.push(all("guest"));
                }
                Ok((Change::AuthSwitched { enabled: true }, 1 + u64::from(new_guest)))
            }
            AuthCommand::Disable if !self.enabled => Err(AuthError::AlreadyDisabled),
            AuthCommand::Disable => {
                self.enabled = false;
                Ok((Change::AuthSwitched { enabled: false }, 1))
            }
            AuthCommand::PutUser { .. } => self.put_user(command).map(|change| (change, 1)),
            AuthCommand::DeleteUser { name } if self.enabled && name == "root" => {
                Err(AuthError::RootUserNeeded)
            }
            AuthCommand::DeleteUser { name } => {
                let before = self.users.len();
                self.users.retain(|user| user.name != *name);
                if self.users.len() == before {
                    return Err(AuthError::NoSuchUser { user: name.clone() });
                }
                Ok((Change::UserDeleted, 1))
            }
            roles => self.apply_to_roles(roles).map(|change| (change, 1)),
        }
    }

    fn put_user(&mut self, command: &AuthCommand) -> Result<Change, AuthError> {
        let AuthCommand::PutUser { name, password, roles, grant, revoke } = command else { unreachable!() };
        let changes = !(grant.is_empty() && revoke.is_empty());
        let at = self.users.iter().position(|user| user.name == *name);
        if at.is_none() && changes {
            return Err(AuthError::NoUserToUpdate { user: name.clone() });
        }
        let makes = at.is_none() || (!changes && !roles.is_empty());
        if makes {
            let Some(password) = password.clone() else {
                return Err(AuthError::EmptyPassword { user: name.clone() });
            };
            if at.is_some() {
                return Err(AuthError::UserExists { user: name.clone() });
            }
            let mut roles = roles.clone();
            if name == "root" && !roles.contains(name) {
                roles.push(name.clone());
            }
            let user = User { name: name.clone(), password, roles };
            self.users.push(user.clone());
            return Ok(Change::User { created: true, user });
        }
        let old = &mut self.users[at.unwrap()];
        let mut user = old.clone();
        user.roles.sort();
        user.roles.dedup();
        // etcd attaches the role whenever it reads this user.
        if name == "root" && !user.roles.contains(name) {
            user.roles.push(name.clone());
        }
        for role in grant {
            if user.roles.contains(role) {
                return Err(AuthError::DuplicateRole { role: role.clone(), user: name.clone() });
            }
            user.roles.push(role.clone());
        }
        for role in revoke {
            if !user.roles.contains(role) {
                return Err(AuthError::UngrantedRole { role: role.clone(), user: name.clone() });
            }
            user.roles.retain(|other| other != role);
        }
        if password.is_none() && grant.is_empty() && revoke.is_empty() {
            return Err(AuthError::UserNotUpdated);
        }
        user.roles.sort();
        user.password = password.clone().unwrap_or(user.password);
        *old = user.clone();
        Ok(Change::User { created: false, user })
    }

    fn apply_to_roles(&mut self, command: &AuthCommand) -> Result<Change, AuthError> {
        let name = match command {
            AuthCommand::CreateRole(role) => &role.name,
            AuthCommand::UpdateRole { name, .. } | AuthCommand::DeleteRole { name } => name,
            other => panic!("{other:?} is none of roles"),
        };
        let at = self.roles.iter().position(|role| role.name == *name);
        let missing = || AuthError::NoSuchRole { role: name.clone() };
        match command {
            _ if name == "root" => Err(AuthError::RootRole { role: name.clone() }),
            AuthCommand::CreateRole(_) if at.is_some() => Err(AuthError::RoleExists { role: name.clone() }),
            AuthCommand::CreateRole(role) => {
                self.roles.push(role.clone());
                Ok(Change::Role { created: true, role: role.clone() })
            }
            AuthCommand::UpdateRole { grant, revoke, .. } => {
                let at = at.ok_or_else(|| AuthError::NoRoleToUpdate { role: name.clone() })?;
                let mut role = self.roles[at].clone();
                let kv = &mut role.permissions.kv;
                kv.read = merged("read", &kv.read, &grant.kv.read, &revoke.kv.read)?;
                kv.write = merged("write", &kv.write, &grant.kv.write, &revoke.kv.write)?;
                if role == self.roles[at] {
                    return Err(AuthError::RoleNotUpdated);
                }
                self.roles[at] = role.clone();
                Ok(Change::Role { created: false, role })
            }
            _ => {
                self.roles.remove(at.ok_or_else(missing)?);
                Ok(Change::RoleDeleted)
            }
        }
    }
}

fn merged(
    access: &'static str,
    old: &[String],
    grant: &[String],
    revoke: &[String],
) -> Result<Vec<String>, AuthError> {
    let mut new = old.to_vec();
    for pattern in grant {
        if new.contains(pattern) {
            return Err(AuthError::DuplicatePermission { access, pattern: pattern.clone() });
        }
        new.push(pattern.clone());
    }
    new.retain(|pattern| !revoke.contains(pattern));
    new.sort();
    new.dedup();
    Ok(new)
}

fn all(name: &str) -> Role {
    let kv = KeyPermissions { read: vec!["/*".to_owned()], write: vec!["/*".to_owned()] };
    Role { name: name.to_owned(), permissions: Permissions { kv } }
}
