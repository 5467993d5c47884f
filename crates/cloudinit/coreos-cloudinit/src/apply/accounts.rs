//! Hostname, users and SSH keys.

use cloudinit::plan::Hash;
use host::accounts::{self, Account};
use host::files::Owner;
use host::{Outcome, authorized_keys, hostname};

use super::context::{ApplyContext, StepResult};

const CORE_USER: &str = "core";

impl ApplyContext<'_> {
    pub(super) fn hostname(&self, name: &str) -> StepResult {
        let outcome = hostname::set(self.settings.root, name, || self.systemd().ok())?;
        self.info(format!("Set hostname to {name}"));
        Ok(outcome)
    }

    pub(super) fn user_add(&self, name: &str, arguments: &[String]) -> StepResult {
        if !self.may_run(&format!("creating user '{name}'")) {
            return Ok(Outcome::Unchanged);
        }
        self.info(format!("Creating user '{name}'"));
        accounts::create(name, arguments)?;
        Ok(Outcome::Changed)
    }

    pub(super) fn group_add(&self, name: &str) -> StepResult {
        if !self.may_run(&format!("creating group '{name}'")) {
            return Ok(Outcome::Unchanged);
        }
        self.info(format!("Creating group '{name}'"));
        accounts::create_group(name)?;
        Ok(Outcome::Changed)
    }

    pub(super) fn group_member(&self, group: &str, user: &str) -> StepResult {
        if !self.may_run(&format!("adding '{user}' to group '{group}'")) {
            return Ok(Outcome::Unchanged);
        }
        self.info(format!("Adding user '{user}' to group '{group}'"));
        accounts::add_member(group, user)?;
        Ok(Outcome::Changed)
    }

    pub(super) fn password(&self, name: &str, hash: &Hash) -> StepResult {
        if !self.may_run(&format!("setting the password of '{name}'")) {
            return Ok(Outcome::Unchanged);
        }
        self.info(format!("Setting '{name}' user's password"));
        Ok(accounts::set_password(self.settings.root, name, &hash.0)?)
    }

    pub(super) fn lock_password(&self, name: &str) -> StepResult {
        if !self.may_run(&format!("locking the password of '{name}'")) {
            return Ok(Outcome::Unchanged);
        }
        self.info(format!("Locking '{name}' user's password"));
        Ok(accounts::lock_password(self.settings.root, name)?)
    }

    pub(super) fn ssh_keys(&mut self, user: &str, name: &str, keys: &[String]) -> StepResult {
        let root = self.settings.root;
        let (account, owner) = match accounts::user(root, user)? {
            Some(account) => {
                let owner = Owner { uid: Some(account.uid), gid: Some(account.gid) };
                (account, owner)
            }
            None if root.is_machine() => return Err(accounts::AccountError::NoUser(user.to_owned()).into()),
            None => {
                let home = format!("/home/{user}");
                self.info(format!("User '{user}' is not in the root's passwd, using {home}"));
                (Account { uid: 0, gid: 0, home }, Owner::default())
            }
        };
        let files = authorized_keys::files(&account, name);
        files.iter().for_each(|file| self.remove_leftovers(file));
        let outcome = authorized_keys::install(root, &account, owner, name, keys)?;
        if outcome.changed() {
            self.unflushed.extend(files);
        }
        match user {
            CORE_USER => self.info("Authorized SSH keys for core user"),
            user => self.info(format!("Authorized SSH keys for user '{user}'")),
        }
        Ok(outcome)
    }
}
