//! Users and groups: looked up below a root, created by the distribution's programs.
//!
//! Password hashes are passed on stdin only, never in arguments or messages.

use std::io;

use nix::unistd::{Group, User};

use crate::Outcome;
use crate::files::{self, Owner};
use crate::program::{self, ProgramError};
use crate::root::{FileError, Root};

const PASSWD_PATH: &str = "/etc/passwd";
const GROUP_PATH: &str = "/etc/group";
const SHADOW_PATH: &str = "/etc/shadow";
const MAX_DATABASE_BYTES: usize = 16 << 20;
/// A hash that matches no password, for users created without one.
const NO_PASSWORD: &str = "*";
/// Prefix of a locked hash.
const LOCKED: &str = "!";

/// Why an account was not read or changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum AccountError {
    #[error("no user '{0}'")]
    NoUser(String),
    #[error("no group '{0}'")]
    NoGroup(String),
    #[error("user '{0}' is not in {SHADOW_PATH}")]
    NoPassword(String),
    #[error("cannot look up '{name}'")]
    LookUp { name: String, source: io::Error },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// An entry of the user database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// 0 for root.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// Absolute path, as in the user database.
    pub home: String,
}

/// Looks a user up; `None` if it does not exist.
///
/// # Errors
/// The user database cannot be read.
pub fn user(root: &Root, name: &str) -> Result<Option<Account>, AccountError> {
    if root.is_machine() {
        let found = User::from_name(name)
            .map_err(|error| AccountError::LookUp { name: name.to_owned(), source: error.into() })?;
        return Ok(found.map(|user| Account {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            home: user.dir.to_string_lossy().into_owned(),
        }));
    }
    let line = database_line(root, PASSWD_PATH, name)?;
    Ok(line.and_then(|fields| {
        let [_, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
        Some(Account { uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: home.clone() })
    }))
}

/// Looks the GID of a group up; `None` if it does not exist.
///
/// # Errors
/// The group database cannot be read.
pub fn group(root: &Root, name: &str) -> Result<Option<u32>, AccountError> {
    if root.is_machine() {
        let found = Group::from_name(name)
            .map_err(|error| AccountError::LookUp { name: name.to_owned(), source: error.into() })?;
        return Ok(found.map(|group| group.gid.as_raw()));
    }
    let line = database_line(root, GROUP_PATH, name)?;
    Ok(line.and_then(|fields| fields.get(2)?.parse().ok()))
}

fn database_line(root: &Root, path: &str, name: &str) -> Result<Option<Vec<String>>, FileError> {
    let Some(content) = files::read(root, path, MAX_DATABASE_BYTES)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&content);
    Ok(text
        .lines()
        .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
        .find(|fields| fields.first().is_some_and(|first| first == name)))
}

/// The listed members of the group.
///
/// # Errors
/// The group database cannot be read.
pub fn members(root: &Root, name: &str) -> Result<Vec<String>, AccountError> {
    if root.is_machine() {
        let found = Group::from_name(name)
            .map_err(|error| AccountError::LookUp { name: name.to_owned(), source: error.into() })?;
        return Ok(found.map(|group| group.mem).unwrap_or_default());
    }
    let line = database_line(root, GROUP_PATH, name)?;
    let members = line.and_then(|fields| fields.get(3).cloned()).unwrap_or_default();
    Ok(members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect())
}

/// # Errors
/// `groupadd` cannot be run or fails.
pub fn create_group(name: &str) -> Result<(), AccountError> {
    Ok(program::run("groupadd", &["--", name], "")?)
}

/// # Errors
/// `gpasswd` cannot be run or fails: the user or group does not exist.
pub fn add_member(group: &str, user: &str) -> Result<(), AccountError> {
    Ok(program::run("gpasswd", &["--add", user, group], "")?)
}

/// Parses an owner as `chown` does: `user`, `user:group`, `:group` or numbers.
///
/// # Errors
/// A name does not exist.
pub fn owner(root: &Root, text: &str) -> Result<Owner, AccountError> {
    let (user_name, group_name) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let mut login_group = None;
    let uid = match user_name {
        "" => None,
        name => match name.parse() {
            Ok(number) => Some(number),
            Err(_) => match user(root, name)? {
                Some(account) => {
                    login_group = Some(account.gid);
                    Some(account.uid)
                }
                None => return Err(AccountError::NoUser(name.to_owned())),
            },
        },
    };
    let gid = match group_name {
        None => None,
        // `user:`
        Some("") => login_group,
        Some(name) => match name.parse() {
            Ok(number) => Some(number),
            Err(_) => match group(root, name)? {
                Some(number) => Some(number),
                None => return Err(AccountError::NoGroup(name.to_owned())),
            },
        },
    };
    Ok(Owner { uid, gid })
}

/// Creates a user without a usable password. `arguments` precede the name.
///
/// # Errors
/// `useradd` cannot be run or fails; its output is part of the message.
pub fn create(name: &str, arguments: &[String]) -> Result<(), AccountError> {
    let mut command_arguments = vec!["--password", NO_PASSWORD];
    command_arguments.extend(arguments.iter().map(String::as_str));
    command_arguments.extend(["--", name]);
    Ok(program::run("useradd", &command_arguments, "")?)
}

/// Sets the password hash, unless it is set already.
///
/// # Errors
/// `chpasswd` cannot be run or fails.
pub fn set_password(root: &Root, name: &str, hash: &str) -> Result<Outcome, AccountError> {
    let fields = database_line(root, SHADOW_PATH, name)?;
    if fields.is_some_and(|fields| fields.get(1).is_some_and(|current| current == hash)) {
        return Ok(Outcome::Unchanged);
    }
    program::run("chpasswd", &["-e"], &format!("{name}:{hash}\n"))?;
    Ok(Outcome::Changed)
}

/// Prefixes the password hash with `!`, as `passwd --lock` does, unless it is unusable already.
///
/// # Errors
/// The user is not in `/etc/shadow`; `chpasswd` cannot be run or fails.
pub fn lock_password(root: &Root, name: &str) -> Result<Outcome, AccountError> {
    let fields = database_line(root, SHADOW_PATH, name)?;
    let hash = fields.and_then(|fields| fields.get(1).cloned());
    let hash = hash.ok_or_else(|| AccountError::NoPassword(name.to_owned()))?;
    if hash.starts_with(LOCKED) || hash.starts_with(NO_PASSWORD) {
        return Ok(Outcome::Unchanged);
    }
    set_password(root, name, &format!("{LOCKED}{hash}"))
}

/// Validates sudo rules with `visudo`. Returns `false` if `visudo` is not installed.
///
/// # Errors
/// `visudo` rejects the rules or cannot be run.
pub fn check_sudoers(rules: &str) -> Result<bool, AccountError> {
    match program::run("visudo", &["-c", "-f", "-"], rules) {
        Err(error) if error.is_missing() => Ok(false),
        checked => Ok(checked.map(|()| true)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_parsed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(
            folder.path().join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\na:x:7:8:A:/home/a:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("etc/group"), "staff:x:50:a\n").unwrap();
        let root = Root::open(folder.path()).unwrap();
        for (text, uid, gid) in [
            ("", None, None),
            ("a", Some(7), None),
            ("a:", Some(7), Some(8)),
            ("a:staff", Some(7), Some(50)),
            (":staff", None, Some(50)),
            ("1:2", Some(1), Some(2)),
        ] {
            assert_eq!(owner(&root, text).unwrap(), Owner { uid, gid }, "{text}");
        }
        assert_eq!(owner(&root, "b").unwrap_err().to_string(), "no user 'b'");
        assert_eq!(owner(&root, "a:b").unwrap_err().to_string(), "no group 'b'");
        let account = user(&root, "a").unwrap().unwrap();
        assert_eq!(account, Account { uid: 7, gid: 8, home: "/home/a".into() });
    }
}
