//! Carries a plan out: the one place of this program that has hands.
//!
//! A step that fails is kept and the next one goes on (contract 3.3). It must never decide what to do.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::time::Duration;

use cloudinit::plan::{Action, FileWrite, Hash, Part, Plan, When};
use host::accounts::{self, Account};
use host::files::{self, DIRECTORY_MODE, Owner, Request, Unmasked};
use host::systemd::Systemd;
use host::{Outcome, Root, authorized_keys, hostname};

use crate::log::Log;
use crate::report::Failure;
use crate::script;

/// How long a unit's job may take before the next command is given.
const COMMAND_LIMIT: Duration = Duration::from_secs(5 * 60);
/// Of a mode, what is kept for a file whose owner is not known.
const OWNER_BITS: u32 = 0o700;
const CORE_USER: &str = "core";
const ENVIRONMENT_PATH: &str = "/etc/environment";

/// What a run did.
#[derive(Debug, Default)]
pub struct Applied {
    pub failed: Vec<Failure>,
    pub changed: u32,
}

/// Why a step failed; its text is the whole chain.
#[derive(Debug)]
struct StepError(String);

impl<E: std::error::Error> From<E> for StepError {
    fn from(error: E) -> Self {
        Self(causes::chain(&error))
    }
}

pub struct Settings<'a> {
    pub root: &'a Root,
    /// Helper programs and systemd may be used.
    pub may_run: bool,
    pub workspace: &'a str,
    pub log: &'a Log,
}

/// Every step in its order.
pub fn apply(plan: &Plan, settings: &Settings) -> Applied {
    let mut hands = Hands {
        settings,
        systemd: OnceCell::new(),
        applied: Applied::default(),
        changed_units: BTreeSet::new(),
        enabled: false,
        network_changed: false,
    };
    for step in &plan.steps {
        match hands.act(&step.action) {
            Ok(Outcome::Changed) => hands.applied.changed += 1,
            Ok(Outcome::Unchanged) => {}
            Err(StepError(error)) => hands.fail(name(&step.action), error),
        }
    }
    hands.applied
}

struct Hands<'a> {
    settings: &'a Settings<'a>,
    systemd: OnceCell<Result<Systemd, String>>,
    applied: Applied,
    /// Units whose files changed.
    changed_units: BTreeSet<String>,
    /// What other units want changed.
    enabled: bool,
    network_changed: bool,
}

type Step = Result<Outcome, StepError>;

impl Hands<'_> {
    fn act(&mut self, action: &Action) -> Step {
        match action {
            Action::Hostname { name } => self.hostname(name),
            Action::UserAdd { name, arguments } => self.user_add(name, arguments),
            Action::Password { name, hash } => self.password(name, hash),
            Action::SshKeys { user, name, keys } => self.ssh_keys(user, name, keys),
            Action::Write(write) => self.write(write),
            Action::Mask { path } => self.mask(path),
            Action::Unmask { path } => self.unmask(path),
            Action::Enable { unit, runtime } => self.enable(unit, *runtime),
            Action::DaemonReload => self.reload(),
            Action::Unit { unit, command, when } => self.command(unit, command, *when),
            Action::Script { content } => self.script(content),
        }
    }

    fn fail(&mut self, step: String, error: String) {
        self.settings.log.error(format!("Failed to apply cloud-config: {step}: {error}"));
        self.applied.failed.push(Failure { step, error });
    }

    fn info(&self, message: impl AsRef<str>) {
        self.settings.log.info(message);
    }

    /// Whether a helper or systemd may be used; said if not.
    fn may_run(&self, what: &str) -> bool {
        if !self.settings.may_run {
            self.info(format!("Skipping {what}: -root is given without -root-run"));
        }
        self.settings.may_run
    }

    /// Connects when it is first needed.
    fn systemd(&self) -> Result<&Systemd, StepError> {
        let connected =
            self.systemd.get_or_init(|| Systemd::connect().map_err(|error| causes::chain(&error)));
        connected.as_ref().map_err(|error| StepError(error.clone()))
    }

    fn hostname(&self, name: &str) -> Step {
        let outcome = hostname::set(self.settings.root, name, || self.systemd().ok())?;
        self.info(format!("Set hostname to {name}"));
        Ok(outcome)
    }

    fn user_add(&self, name: &str, arguments: &[String]) -> Step {
        if !self.may_run(&format!("creating user '{name}'")) {
            return Ok(Outcome::Unchanged);
        }
        self.info(format!("Creating user '{name}'"));
        accounts::create(name, arguments)?;
        Ok(Outcome::Changed)
    }

    fn password(&self, name: &str, hash: &Hash) -> Step {
        if !self.may_run(&format!("setting the password of '{name}'")) {
            return Ok(Outcome::Unchanged);
        }
        self.info(format!("Setting '{name}' user's password"));
        Ok(accounts::set_password(self.settings.root, name, &hash.0)?)
    }

    fn ssh_keys(&self, user: &str, name: &str, keys: &[String]) -> Step {
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
        let outcome = authorized_keys::install(root, &account, owner, name, keys)?;
        match user {
            CORE_USER => self.info("Authorized SSH keys for core user"),
            user => self.info(format!("Authorized SSH keys for user '{user}'")),
        }
        Ok(outcome)
    }

    fn write(&mut self, write: &FileWrite) -> Step {
        let path = &write.path;
        let (kind, unit) = match &write.part {
            Part::File | Part::Sudoers => (None, None),
            Part::Unit { name, network } => (Some(format!("unit {name:?}")), Some((name, *network))),
            Part::DropIn { unit, name, network } => {
                (Some(format!("drop-in unit {name:?}")), Some((unit, *network)))
            }
        };
        if let Some(kind) = &kind {
            self.info(format!("Writing {kind} to filesystem"));
        }
        self.info(format!("Writing file to {path:?}"));
        if write.part == Part::Sudoers {
            self.check_sudoers(&write.content)?;
        }
        let (owner, mode) = self.owner(write);
        let content = &write.content;
        let request = Request { path, mode, owner, content, directory_mode: DIRECTORY_MODE };
        let outcome = files::write(self.settings.root, &request)?;
        self.written(path, kind.as_deref(), outcome);
        match unit {
            Some((_, true)) if outcome.changed() => self.network_changed = true,
            Some((unit, false)) if outcome.changed() => {
                self.changed_units.insert(unit.clone());
            }
            // People also write units and drop-ins as plain files; systemd would not look at them again.
            None if outcome.changed() => self.changed_units.extend(unit_of_file(path)),
            _ => {}
        }
        Ok(outcome)
    }

    fn check_sudoers(&self, rules: &[u8]) -> Result<(), StepError> {
        if self.may_run("the check of the sudo rules")
            && !accounts::check_sudoers(&String::from_utf8_lossy(rules))?
        {
            self.settings.log.warning("Warning: the sudo rules are not checked: there is no visudo");
        }
        Ok(())
    }

    fn written(&self, path: &str, kind: Option<&str>, outcome: Outcome) {
        if !outcome.changed() {
            self.info(format!("File {path:?} is as it should be"));
            return;
        }
        self.info(format!("Wrote file to {path:?}"));
        match kind {
            Some(kind) => self.info(format!("Wrote {kind}")),
            None if path == ENVIRONMENT_PATH => self.info("Updated /etc/environment"),
            None => self.info(format!("Wrote file {path} to filesystem")),
        }
    }

    /// A file whose owner is not known is for root alone.
    fn owner(&mut self, write: &FileWrite) -> (Owner, u32) {
        match accounts::owner(self.settings.root, &write.owner) {
            Ok(owner) => (owner, write.mode),
            Err(error) => {
                self.fail(format!("owner {:?} of {}", write.owner, write.path), causes::chain(&error));
                (Owner::default(), write.mode & OWNER_BITS)
            }
        }
    }

    fn mask(&mut self, path: &str) -> Step {
        self.info(format!("Masking unit file {:?}", file_name(path)));
        let outcome = files::mask(self.settings.root, path)?;
        if outcome.changed() {
            self.changed_units.insert(file_name(path).to_owned());
        }
        Ok(outcome)
    }

    fn unmask(&mut self, path: &str) -> Step {
        self.info(format!("Ensuring runtime unit file {:?} is unmasked", file_name(path)));
        match files::unmask(self.settings.root, path)? {
            Unmasked::Removed => {
                self.changed_units.insert(file_name(path).to_owned());
                Ok(Outcome::Changed)
            }
            Unmasked::NotThere => Ok(Outcome::Unchanged),
            Unmasked::Refused => {
                self.info(format!("{path} is not null or empty, refusing to unmask"));
                Ok(Outcome::Unchanged)
            }
        }
    }

    fn enable(&mut self, unit: &str, runtime: bool) -> Step {
        if !self.may_run(&format!("enabling {unit}")) {
            return Ok(Outcome::Unchanged);
        }
        self.info(format!("Enabling unit file {unit:?}"));
        if self.systemd()?.enable(unit, runtime)? {
            self.enabled = true;
            return Ok(Outcome::Changed);
        }
        Ok(Outcome::Unchanged)
    }

    fn reload(&mut self) -> Step {
        let nothing_changed = !self.enabled && self.changed_units.is_empty();
        if nothing_changed || !self.may_run("daemon-reload") {
            return Ok(Outcome::Unchanged);
        }
        let systemd = self.systemd()?;
        if !self.enabled && !self.changed_units.iter().any(|unit| systemd.needs_reload_for(unit)) {
            self.info("No daemon-reload is needed: systemd has loaded none of the changed units yet");
            return Ok(Outcome::Unchanged);
        }
        self.info("Reloading systemd's units");
        systemd.reload()?;
        Ok(Outcome::Changed)
    }

    fn command(&mut self, unit: &str, command: &str, when: When) -> Step {
        if when == When::NetworkChanged && !self.network_changed {
            return Ok(Outcome::Unchanged);
        }
        if !self.may_run(&format!("{command} of {unit}")) {
            return Ok(Outcome::Unchanged);
        }
        if when == When::NetworkChanged {
            self.info("Restarting systemd-networkd");
        }
        self.info(format!("Calling unit command {command:?} on {unit:?}"));
        let systemd = self.systemd()?;
        let was_active = systemd.is_active(unit);
        if when == When::Implied {
            systemd.queue(unit, command)?;
        } else {
            self.wait(systemd, unit, command)?;
        }
        let outcome = match command {
            "start" if was_active => Outcome::Unchanged,
            "stop" | "try-restart" | "reload-or-try-restart" if !was_active => Outcome::Unchanged,
            _ => Outcome::Changed,
        };
        Ok(outcome)
    }

    fn wait(&self, systemd: &Systemd, unit: &str, command: &str) -> Result<(), StepError> {
        let mut waiting = |so_far: Duration| {
            let message = format!("still waiting for {command:?} on {unit:?} ({} s)", so_far.as_secs());
            self.settings.log.warning(message);
        };
        let result = systemd.run(unit, command, COMMAND_LIMIT, &mut waiting)?;
        self.info(format!("Result of {command:?} on {unit:?}: {result}"));
        match result.as_str() {
            "done" | "skipped" => Ok(()),
            result => Err(StepError(format!("the job's result is {result}"))),
        }
    }

    fn script(&self, content: &[u8]) -> Step {
        let root = self.settings.root;
        let stored = script::store(root, self.settings.workspace, content)?;
        if !self.may_run("the script") {
            return Ok(Outcome::Changed);
        }
        script::start(root, &stored, self.systemd()?)?;
        Ok(Outcome::Changed)
    }
}

/// The unit that a file below systemd's folders belongs to, `a.service` for `.../system/a.service.d/x.conf`.
fn unit_of_file(path: &str) -> Option<String> {
    let below =
        ["/etc/systemd/system/", "/run/systemd/system/"].iter().find_map(|at| path.strip_prefix(at))?;
    let first = below.split('/').next()?;
    Some(first.strip_suffix(".d").unwrap_or(first).to_owned())
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The step in a few words, without secrets.
fn name(action: &Action) -> String {
    match action {
        Action::Hostname { name } => format!("set hostname to {name}"),
        Action::UserAdd { name, .. } => format!("create user '{name}'"),
        Action::Password { name, .. } => format!("set the password of '{name}'"),
        Action::SshKeys { user, .. } => format!("authorize ssh keys of '{user}'"),
        Action::Write(write) => format!("write {}", write.path),
        Action::Mask { path } => format!("mask {path}"),
        Action::Unmask { path } => format!("unmask {path}"),
        Action::Enable { unit, .. } => format!("enable {unit}"),
        Action::DaemonReload => "daemon-reload".to_owned(),
        Action::Unit { unit, command, .. } => format!("{command} {unit}"),
        Action::Script { .. } => "run the script".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_files_in_systemd_s_folders_are_changes_of_units() {
        let check = |path: &str, expected: Option<&str>| assert_eq!(unit_of_file(path).as_deref(), expected);
        check("/etc/systemd/system/docker.service.d/10-proxy.conf", Some("docker.service"));
        check("/run/systemd/system/a.timer", Some("a.timer"));
        check("/etc/systemd/network/a.network", None);
        check("/etc/hosts", None);
    }
}
