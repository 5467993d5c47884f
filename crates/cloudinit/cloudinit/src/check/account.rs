//! Validates users: names and values must be safe as arguments of `useradd` and `chpasswd`.

use super::name::account_problem;
use super::refusal::{Refusal, keys};
use crate::config::{Group, Import, ImportFrom, Text, User};
use crate::key_import::KeyImport;
use crate::limits::MAX_GITHUB_NAME_BYTES;

/// A validated user to create or update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    /// Prefixed with `!` if the password is locked. Must never be logged.
    pub hash: Option<String>,
    /// Whether to lock the password of an existing user, too.
    pub is_locked: bool,
    pub keys: Vec<String>,
    pub imports: Vec<KeyImport>,
    pub gecos: Option<String>,
    pub homedir: Option<String>,
    pub no_create_home: bool,
    pub primary_group: Option<String>,
    pub groups: Vec<String>,
    pub no_user_group: bool,
    pub system: bool,
    pub no_log_init: bool,
    pub shell: Option<String>,
    pub uid: Option<String>,
    pub sudo: Vec<String>,
}

pub(super) fn check(
    users: &[User],
    notes: &mut Vec<String>,
    skipped: &mut Vec<Refusal>,
    refusals: &mut Vec<Refusal>,
) -> Vec<Account> {
    let mut checked = Vec::new();
    for user in users {
        let Some(name) = &user.name else {
            notes.push("User object has no 'name' field, skipping".to_owned());
            continue;
        };
        let before = refusals.len();
        values(user, name, refusals);
        let imports = imports(&user.imports, skipped);
        if refusals.len() == before {
            checked.push(account(user, name, imports));
        }
    }
    checked
}

/// An invalid import is skipped; the user is still created.
fn imports(imports: &[Import], skipped: &mut Vec<Refusal>) -> Vec<KeyImport> {
    let mut checked = Vec::new();
    for Import { key, from, text } in imports {
        let name = &*text.text;
        let (import, problem) = match from {
            ImportFrom::GitHub => {
                let problem = format!("{key} {name:?} is no name of a GitHub user");
                (KeyImport::GitHub(name.to_owned()), (!is_github_name(name)).then_some(problem))
            }
            ImportFrom::Url => {
                // The URL is not printed: it may contain a password.
                let problem = format!("{key} is no http or https URL");
                (KeyImport::Url(name.to_owned()), (!is_web_url(name)).then_some(problem))
            }
        };
        match problem {
            Some(problem) => skipped.push(Refusal::new(text.location, problem)),
            None => checked.push(import),
        }
    }
    checked
}

/// The name becomes part of a URL path and of a file name.
fn is_github_name(name: &str) -> bool {
    name.len() <= MAX_GITHUB_NAME_BYTES
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn is_web_url(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https")) && !url.contains(char::is_control)
}

/// A group to create, and the users to add to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedGroup {
    pub name: String,
    pub members: Vec<String>,
}

pub(super) fn groups(groups: &[Group], refusals: &mut Vec<Refusal>) -> Vec<CheckedGroup> {
    let mut checked: Vec<CheckedGroup> = Vec::new();
    for group in groups {
        let problems = std::iter::once(("group", &group.name))
            .chain(group.members.iter().map(|member| ("user name", member)))
            .filter_map(|(what, name)| Some(Refusal::new(name.location, account_problem(what, &name.text)?)));
        refusals.extend(problems);
        let members = group.members.iter().map(|member| member.text.to_string()).collect();
        checked.push(CheckedGroup { name: group.name.text.to_string(), members });
    }
    checked
}

fn values(user: &User, name: &Text, refusals: &mut Vec<Refusal>) {
    let mut refuse = |text: &Text, problem: Option<String>| {
        refusals.extend(problem.map(|problem| Refusal::new(text.location, problem)));
    };
    refuse(name, account_problem("user name", &name.text));
    for group in user.groups.iter().chain(&user.primary_group) {
        refuse(group, account_problem("group", &group.text));
    }
    for (what, field) in [("gecos", &user.gecos), ("homedir", &user.homedir), ("shell", &user.shell)] {
        if let Some(text) = field {
            let bad = text.text.contains([':', '\n', '\r', '\0']);
            refuse(text, bad.then(|| format!("{what} must not hold ':', a line break or NUL")));
        }
    }
    if let Some(home) = &user.homedir {
        let bad = !home.text.starts_with('/') || home.text.split('/').any(|part| part == "..");
        let problem = || format!("homedir {:?} must be an absolute path without '..'", home.text);
        refuse(home, bad.then(problem));
    }
    if let Some(hash) = &user.passwd {
        let bad = hash.text.contains([':', '\n', '\r', '\0']);
        refuse(hash, bad.then(|| "passwd must be a hash: no ':', line break or NUL".to_owned()));
    }
    if let Some(uid) = &user.uid {
        refuse(uid, uid.text.parse::<u32>().err().map(|_| format!("invalid value {}", uid.text)));
    }
    for rule in &user.sudo {
        refuse(rule, (!rule.text.contains('=')).then(|| format!("sudo rule {:?} has no '='", rule.text)));
        let broken = rule.text.contains(['\n', '\r', '\0']);
        refuse(rule, broken.then(|| "a sudo rule must not hold a line break or NUL".to_owned()));
    }
}

fn account(user: &User, name: &Text, imports: Vec<KeyImport>) -> Account {
    let owned = |field: &Option<Text>| field.as_ref().map(|text| text.text.to_string());
    let list = |field: &[Text]| field.iter().map(|text| text.text.to_string()).collect();
    let hash = owned(&user.passwd).map(|hash| if user.lock_passwd { format!("!{hash}") } else { hash });
    Account {
        name: name.text.to_string(),
        hash,
        is_locked: user.lock_passwd,
        keys: keys(&user.ssh_authorized_keys),
        imports,
        gecos: owned(&user.gecos),
        homedir: owned(&user.homedir),
        no_create_home: user.no_create_home,
        primary_group: owned(&user.primary_group),
        groups: list(&user.groups),
        no_user_group: user.no_user_group,
        system: user.system,
        no_log_init: user.no_log_init,
        shell: owned(&user.shell),
        uid: owned(&user.uid),
        sudo: list(&user.sudo),
    }
}
