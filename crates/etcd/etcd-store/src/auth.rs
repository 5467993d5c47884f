//! Users, roles and permissions. The caller hashes and compares passwords.

use std::collections::{BTreeMap, BTreeSet};

use etcd_api::{Key, Permissions, Role};

use crate::auth_error::AuthError;
use crate::codec::{ReadError, Reader, Writer};
use crate::command::{AuthCommand, PasswordHash};
use crate::outcome::Change;
use crate::user::User;

/// Name of the required user and of the superuser role.
const ROOT: &str = "root";
/// The role of requests without credentials.
const GUEST: &str = "guest";

/// The state of `/v2/auth`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    enabled: bool,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
}

/// Access to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads, lists and watches.
    Read,
    /// Every change, also a conditional one.
    Write,
}

impl Auth {
    /// Applies a command. Returns the number of written records, each of which increments the store's index.
    pub(crate) fn apply(&mut self, command: &AuthCommand) -> Result<(Change, u64), AuthError> {
        match command {
            AuthCommand::Enable => self.enable(),
            AuthCommand::Disable => self.disable(),
            AuthCommand::PutUser { .. } => self.put_user(command),
            AuthCommand::DeleteUser { name } => self.delete_user(name),
            AuthCommand::CreateRole(role) => self.create_role(role),
            AuthCommand::UpdateRole { name, grant, revoke } => self.update_role(name, grant, revoke),
            AuthCommand::DeleteRole { name } => self.delete_role(name),
        }
    }

    fn enable(&mut self) -> Result<(Change, u64), AuthError> {
        if self.enabled {
            return Err(AuthError::AlreadyEnabled);
        }
        if !self.users.contains_key(ROOT) {
            return Err(AuthError::NoRootUser);
        }
        let mut records = 1;
        if !self.roles.contains_key(GUEST) {
            let guest = Role { name: GUEST.to_owned(), permissions: all_permissions() };
            self.roles.insert(GUEST.to_owned(), guest);
            records += 1;
        }
        self.enabled = true;
        Ok((Change::AuthSwitched { enabled: true }, records))
    }

    fn disable(&mut self) -> Result<(Change, u64), AuthError> {
        if !self.enabled {
            return Err(AuthError::AlreadyDisabled);
        }
        self.enabled = false;
        Ok((Change::AuthSwitched { enabled: false }, 1))
    }

    /// The fields determine the meaning: grants and revocations modify a user, roles create one, and a password alone
    /// does either.
    fn put_user(&mut self, command: &AuthCommand) -> Result<(Change, u64), AuthError> {
        let AuthCommand::PutUser { name, roles, grant, revoke, .. } = command else {
            return Err(AuthError::UserNotUpdated);
        };
        let changes = !grant.is_empty() || !revoke.is_empty();
        match self.users.get(name) {
            None if changes => Err(AuthError::NoUserToUpdate { user: name.clone() }),
            Some(user) if changes || roles.is_empty() => self.update_user(user.clone(), command),
            _ => self.create_user(command),
        }
    }

    fn create_user(&mut self, command: &AuthCommand) -> Result<(Change, u64), AuthError> {
        let AuthCommand::PutUser { name, password, roles, .. } = command else {
            return Err(AuthError::UserNotUpdated);
        };
        let Some(password) = password.clone() else {
            return Err(AuthError::EmptyPassword { user: name.clone() });
        };
        if self.users.contains_key(name) {
            return Err(AuthError::UserExists { user: name.clone() });
        }
        let user = with_root_role(User { name: name.clone(), password, roles: roles.clone() });
        self.users.insert(name.clone(), user.clone());
        Ok((Change::User { created: true, user }, 1))
    }

    fn update_user(&mut self, mut user: User, command: &AuthCommand) -> Result<(Change, u64), AuthError> {
        let AuthCommand::PutUser { name, password, grant, revoke, .. } = command else {
            return Err(AuthError::UserNotUpdated);
        };
        let mut roles: BTreeSet<String> = user.roles.iter().cloned().collect();
        for role in grant {
            if !roles.insert(role.clone()) {
                return Err(AuthError::DuplicateRole { role: role.clone(), user: name.clone() });
            }
        }
        for role in revoke {
            if !roles.remove(role) {
                return Err(AuthError::UngrantedRole { role: role.clone(), user: name.clone() });
            }
        }
        if password.is_none() && grant.is_empty() && revoke.is_empty() {
            return Err(AuthError::UserNotUpdated);
        }
        user.roles = roles.into_iter().collect();
        if let Some(password) = password {
            user.password = password.clone();
        }
        // As in etcd, the response has the requested roles.
        self.users.insert(name.clone(), with_root_role(user.clone()));
        Ok((Change::User { created: false, user }, 1))
    }

    fn delete_user(&mut self, name: &str) -> Result<(Change, u64), AuthError> {
        if self.enabled && name == ROOT {
            return Err(AuthError::RootUserNeeded);
        }
        match self.users.remove(name) {
            Some(_) => Ok((Change::UserDeleted, 1)),
            None => Err(AuthError::NoSuchUser { user: name.to_owned() }),
        }
    }

    fn create_role(&mut self, role: &Role) -> Result<(Change, u64), AuthError> {
        reject_root_role(&role.name)?;
        if self.roles.contains_key(&role.name) {
            return Err(AuthError::RoleExists { role: role.name.clone() });
        }
        self.roles.insert(role.name.clone(), role.clone());
        Ok((Change::Role { created: true, role: role.clone() }, 1))
    }

    fn update_role(
        &mut self,
        name: &str,
        grant: &Permissions,
        revoke: &Permissions,
    ) -> Result<(Change, u64), AuthError> {
        reject_root_role(name)?;
        let old = self.roles.get(name).ok_or_else(|| AuthError::NoRoleToUpdate { role: name.to_owned() })?;
        let mut role = old.clone();
        let kv = &mut role.permissions.kv;
        merge("read", &mut kv.read, &grant.kv.read, &revoke.kv.read)?;
        merge("write", &mut kv.write, &grant.kv.write, &revoke.kv.write)?;
        if role == *old {
            return Err(AuthError::RoleNotUpdated);
        }
        self.roles.insert(name.to_owned(), role.clone());
        Ok((Change::Role { created: false, role }, 1))
    }

    fn delete_role(&mut self, name: &str) -> Result<(Change, u64), AuthError> {
        reject_root_role(name)?;
        match self.roles.remove(name) {
            Some(_) => Ok((Change::RoleDeleted, 1)),
            None => Err(AuthError::NoSuchRole { role: name.to_owned() }),
        }
    }

    /// Whether requests are checked. Initially false.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Sorted by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// `None` if there is no user of that name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// Sorted by name; includes `root`.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// `None` if there is no role of that name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }

    /// Whether `user` has this access to a key. `user` is authenticated; `None` is a guest. True while auth is
    /// disabled.
    pub fn allows(&self, user: Option<&str>, key: &Key, recursive: bool, access: Access) -> bool {
        if !self.enabled {
            return true;
        }
        self.roles_of(user).any(|role| {
            role.name == ROOT || patterns(role, access).iter().any(|pattern| covers(pattern, key, recursive))
        })
    }

    /// Whether `user` may modify users, roles and members. True while auth is disabled.
    pub fn is_root(&self, user: Option<&str>) -> bool {
        !self.enabled || (user.is_some() && self.roles_of(user).any(|role| role.name == ROOT))
    }

    /// The existing roles of a user, or the guest role.
    fn roles_of(&self, user: Option<&str>) -> impl Iterator<Item = &Role> {
        let names = user.map(|name| self.users.get(name).map_or(&[][..], |user| &user.roles));
        let guest = names.is_none().then_some(GUEST);
        let names = names.unwrap_or_default().iter().map(String::as_str);
        names.chain(guest).filter_map(|name| self.roles.get(name))
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.flag(self.enabled);
        out.number(self.users.len() as u64);
        for user in self.users.values() {
            out.text(&user.name);
            out.text(&user.password.0);
            out.texts(&user.roles);
        }
        out.number(self.roles.len() as u64);
        for role in self.roles.values() {
            out.role(role);
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, ReadError> {
        let enabled = input.flag()?;
        let users = input.list(|input| {
            let (name, password) = (input.text()?, PasswordHash(input.text()?));
            // Older versions stored root without its role.
            Ok(with_root_role(User { name, password, roles: input.texts()? }))
        })?;
        let roles = input.list(Reader::role)?;
        Ok(Self {
            enabled,
            users: users.into_iter().map(|user| (user.name.clone(), user)).collect(),
            roles: roles.into_iter().map(|role| (role.name.clone(), role)).collect(),
        })
    }
}

/// The root role always exists and cannot be modified.
impl Default for Auth {
    fn default() -> Self {
        let root = Role { name: ROOT.to_owned(), permissions: all_permissions() };
        Self { enabled: false, users: BTreeMap::new(), roles: BTreeMap::from([(ROOT.to_owned(), root)]) }
    }
}

/// The root user always has the root role: otherwise nobody could disable auth.
fn with_root_role(mut user: User) -> User {
    if user.name == ROOT && !user.roles.iter().any(|role| role == ROOT) {
        user.roles.push(ROOT.to_owned());
    }
    user
}

fn reject_root_role(name: &str) -> Result<(), AuthError> {
    if name == ROOT { Err(AuthError::RootRole { role: name.to_owned() }) } else { Ok(()) }
}

/// Adds and removes patterns; the result is sorted.
fn merge(
    access: &'static str,
    patterns: &mut Vec<String>,
    grant: &[String],
    revoke: &[String],
) -> Result<(), AuthError> {
    let mut left: BTreeSet<String> = patterns.iter().cloned().collect();
    for pattern in grant {
        if !left.insert(pattern.clone()) {
            return Err(AuthError::DuplicatePermission { access, pattern: pattern.clone() });
        }
    }
    // Revoking an unknown pattern is an error only if nothing changes.
    for pattern in revoke {
        left.remove(pattern);
    }
    *patterns = left.into_iter().collect();
    Ok(())
}

fn all_permissions() -> Permissions {
    let mut permissions = Permissions::default();
    permissions.kv.read.push("/*".to_owned());
    permissions.kv.write.push("/*".to_owned());
    permissions
}

fn patterns(role: &Role, access: Access) -> &[String] {
    match access {
        Access::Read => &role.permissions.kv.read,
        Access::Write => &role.permissions.kv.write,
    }
}

/// A pattern is an exact path, or a prefix before `*`. A recursive operation requires a prefix of the directory
/// itself: `/dir/*` covers the keys below `/dir`, but not `/dir` recursively.
fn covers(pattern: &str, key: &Key, recursive: bool) -> bool {
    let path = key.as_bytes();
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix.as_bytes()),
        None => !recursive && pattern.as_bytes() == path,
    }
}
