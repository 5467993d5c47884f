//! Applies a plan: the only module that changes the machine.
//!
//! A failed step is recorded and the next one runs (contract 3.3). This module makes no decisions.

mod accounts;
mod context;
mod deadline;
mod files;
mod imports;
mod network;
mod pending_job;
mod scripts;
mod staging;
mod units;

use cloudinit::plan::{Action, Plan};
pub use context::{Applied, Settings};
use context::{ApplyContext, StepError, StepResult};
pub use deadline::commands_deadline;
use host::Outcome;
use host::hostname;
use host::lock::Lock;

/// Runs the steps in order. Holds the lock until the first unit command: that unit may start another run, as a
/// platform's `oem-cloudinit.service` does, and the two would wait for each other. Calls `written` once, before
/// releasing the lock.
pub fn apply(plan: &Plan, settings: &Settings, lock: Lock, written: impl FnOnce()) -> Applied {
    let mut locked = Some((lock, written));
    let mut unlock = || {
        if let Some((lock, written)) = locked.take() {
            written();
            drop(lock);
        }
    };
    let mut context = ApplyContext::new(settings);
    for (number, step) in plan.steps.iter().enumerate() {
        context.stage(&plan.steps[number..]);
        if matches!(step.action, Action::Unit { .. }) {
            // The unit may reboot the machine.
            context.flush();
            unlock();
        }
        if let Some(path) = affected_path(&step.action) {
            context.remove_leftovers(path);
        }
        match execute(&mut context, &step.action) {
            Ok(Outcome::Changed) => {
                context.applied.changed += 1;
                context.unflushed.extend(affected_path(&step.action).map(str::to_owned));
            }
            Ok(Outcome::Unchanged) => {}
            Err(StepError(error)) => context.record_failure(describe(&step.action), error),
        }
    }
    context.flush();
    unlock();
    context.wait_for_pending_jobs();
    context.applied
}

/// The path that the step creates or removes, as far as the plan tells.
fn affected_path(action: &Action) -> Option<&str> {
    match action {
        Action::Hostname { .. } => Some(hostname::PATH),
        Action::TimeZone { .. } => Some(files::LOCAL_TIME_PATH),
        Action::Write(write) | Action::Fetch { write, .. } => Some(&write.path),
        Action::Mask { path } | Action::Unmask { path } => Some(path),
        _ => None,
    }
}

fn execute(context: &mut ApplyContext<'_>, action: &Action) -> StepResult {
    match action {
        Action::Hostname { name } => context.hostname(name),
        Action::UserAdd { name, arguments } => context.user_add(name, arguments),
        Action::GroupAdd { name } => context.group_add(name),
        Action::GroupMember { group, user } => context.group_member(group, user),
        Action::Password { name, hash } => context.password(name, hash),
        Action::LockPassword { name } => context.lock_password(name),
        Action::SshKeys { user, name, keys } => context.ssh_keys(user, name, keys),
        Action::ImportKeys { user, name, from } => context.import_keys(user, name, from),
        Action::InterfaceDown { name } => context.interface_down(name),
        Action::Modprobe { arguments } => context.modprobe(arguments),
        Action::TimeZone { name } => context.time_zone(name),
        Action::Write(write) => context.write(write),
        Action::Fetch { write, from, has_fallback } => context.fetch(write, from, *has_fallback),
        Action::Mask { path } => context.mask(path),
        Action::Unmask { path } => context.unmask(path),
        Action::Enable { unit, runtime } => context.enable(unit, *runtime),
        Action::DaemonReload => context.reload(),
        Action::Unit { unit, command, when } => context.command(unit, command, *when),
        Action::Script { content, chained } => context.script(content, *chained),
    }
}

/// A short description of the step, without secrets.
fn describe(action: &Action) -> String {
    match action {
        Action::Hostname { name } => format!("set hostname to {name}"),
        Action::UserAdd { name, .. } => format!("create user '{name}'"),
        Action::GroupAdd { name } => format!("create group '{name}'"),
        Action::GroupMember { group, user } => format!("add user '{user}' to group '{group}'"),
        Action::Password { name, .. } => format!("set the password of '{name}'"),
        Action::LockPassword { name } => format!("lock the password of '{name}'"),
        Action::SshKeys { user, .. } => format!("authorize ssh keys of '{user}'"),
        Action::ImportKeys { user, name, .. } => format!("import ssh keys as {name:?} of user '{user}'"),
        Action::InterfaceDown { name } => format!("set {name} down"),
        Action::Modprobe { arguments } => format!("modprobe {}", arguments.join(" ")),
        Action::TimeZone { name } => format!("set the time zone to {name}"),
        Action::Write(write) => format!("write {}", write.path),
        Action::Fetch { write, .. } => format!("fetch {}", write.path),
        Action::Mask { path } => format!("mask {path}"),
        Action::Unmask { path } => format!("unmask {path}"),
        Action::Enable { unit, .. } => format!("enable {unit}"),
        Action::DaemonReload => "daemon-reload".to_owned(),
        Action::Unit { unit, command, .. } => format!("{command} {unit}"),
        Action::Script { .. } => "run the script".to_owned(),
    }
}
