//! Plans users, groups, SSH keys and sudo rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::step::{Action, Facts, FileKind, FileWrite, Hash, Plan, Settings};
use crate::check::{Account, Checked};
use crate::key_import::KeyImport;

const CORE_USER: &str = "core";
const SUDOERS_PATH: &str = "/etc/sudoers.d/90-cloud-init-users";
const SUDOERS_MODE: u32 = 0o440;

pub(super) fn plan(checked: &Checked, facts: &Facts, settings: &Settings, plan: &mut Plan) {
    let mut groups = facts.groups.clone();
    for group in &checked.groups {
        if groups.insert(group.name.clone()) {
            plan.push(Action::GroupAdd { name: group.name.clone() }, "named in groups and not there yet");
        }
    }
    let mut known = facts.users.clone();
    for account in &checked.users {
        let is_there = known.contains(&account.name);
        if is_there {
            plan.notes.push(format!("User '{}' exists, ignoring creation-time fields", account.name));
        } else {
            let arguments = useradd_arguments(account, &groups, plan);
            let action = Action::UserAdd { name: account.name.clone(), arguments };
            plan.push(action, "named in users and not there yet");
            known.insert(account.name.clone());
            if !account.no_user_group && account.primary_group.is_none() {
                groups.insert(account.name.clone());
            }
        }
        if let Some(hash) = &account.hash {
            let action = Action::Password { name: account.name.clone(), hash: Hash(hash.clone()) };
            plan.push(action, "passwd of the user");
        } else if account.is_locked && is_there {
            // New users have no password to lock.
            plan.push(Action::LockPassword { name: account.name.clone() }, "lock_passwd of the user");
        }
        keys(&account.name, &account.keys, settings, "ssh_authorized_keys of the user", plan);
        for from in &account.imports {
            let (user, name) = (account.name.clone(), from.name(&account.name));
            let why = match from {
                KeyImport::GitHub(_) => "a user of GitHub that is named in the user",
                KeyImport::Url(_) => "coreos_ssh_import_url of the user",
            };
            plan.push(Action::ImportKeys { user, name, from: from.clone() }, why);
        }
    }
    let mut members = facts.members.clone();
    for group in &checked.groups {
        for user in &group.members {
            if members.insert((group.name.clone(), user.clone())) {
                let action = Action::GroupMember { group: group.name.clone(), user: user.clone() };
                plan.push(action, "named in groups");
            }
        }
    }
    sudoers(&checked.users, plan);
    keys(CORE_USER, &checked.core_keys, settings, "ssh_authorized_keys and the metadata's keys", plan);
}

fn keys(user: &str, keys: &[String], settings: &Settings, why: &str, plan: &mut Plan) {
    if !keys.is_empty() {
        let name = settings.ssh_key_name.clone();
        plan.push(Action::SshKeys { user: user.to_owned(), name, keys: keys.to_vec() }, why);
    }
}

fn useradd_arguments(account: &Account, groups: &BTreeSet<String>, plan: &mut Plan) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut option = |name: &str, value: Option<&String>| {
        if let Some(value) = value {
            arguments.extend([name.to_owned(), value.clone()]);
        }
    };
    option("--comment", account.gecos.as_ref());
    option("--home-dir", account.homedir.as_ref());
    let home = if account.no_create_home { "--no-create-home" } else { "--create-home" };
    arguments.push(home.to_owned());
    let mut option = |name: &str, value: Option<&String>| {
        if let Some(value) = value {
            arguments.extend([name.to_owned(), value.clone()]);
        }
    };
    option("--gid", account.primary_group.as_ref());
    let (there, missing): (Vec<_>, Vec<_>) =
        account.groups.iter().cloned().partition(|group| groups.contains(group));
    for group in missing {
        plan.notes.push(format!("Warning: group '{group}' of user '{}' does not exist", account.name));
    }
    let joined = there.join(",");
    option("--groups", (!joined.is_empty()).then_some(&joined));
    for (name, set) in [
        ("--no-user-group", account.no_user_group),
        ("--system", account.system),
        ("--no-log-init", account.no_log_init),
    ] {
        if set {
            arguments.push(name.to_owned());
        }
    }
    for (name, value) in [("--shell", &account.shell), ("--uid", &account.uid)] {
        if let Some(value) = value {
            arguments.extend([name.to_owned(), value.clone()]);
        }
    }
    arguments
}

fn sudoers(users: &[Account], plan: &mut Plan) {
    let lines: String = users
        .iter()
        .flat_map(|user| user.sudo.iter().map(move |rule| format!("{} {rule}\n", user.name)))
        .collect();
    if lines.is_empty() {
        return;
    }
    let write = FileWrite {
        path: SUDOERS_PATH.to_owned(),
        mode: SUDOERS_MODE,
        owner: String::new(),
        content: Arc::from(lines.into_bytes()),
        kind: FileKind::Sudoers,
    };
    plan.push(Action::Write(write), "sudo of the users");
}
