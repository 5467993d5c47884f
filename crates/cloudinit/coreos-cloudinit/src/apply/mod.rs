//! Carries a plan out: the one place of this program that has hands.
//!
//! A step that fails is kept and the next one goes on (contract 3.3). It must never decide what to do.

mod accounts;
mod files;
mod hands;
mod imports;
mod limit;
mod network;
mod postponed;
mod scripts;
mod stage;
mod units;

use cloudinit::plan::{Action, Plan};
pub use hands::{Applied, Settings};
use hands::{Hands, Step, StepError};
use host::Outcome;
use host::hostname;
use host::lock::Lock;
pub use limit::commands_end;

/// Every step in its order. Other runs are locked out until the first unit is commanded: such a unit may be another
/// run, as a platform's `oem-cloudinit.service` is, which would wait for this one while this one waits for it. `written` is
/// called once, before that.
pub fn apply(plan: &Plan, settings: &Settings, lock: Lock, written: impl FnOnce()) -> Applied {
    let mut locked = Some((lock, written));
    let mut unlock = || {
        if let Some((lock, written)) = locked.take() {
            written();
            drop(lock);
        }
    };
    let mut hands = Hands::new(settings);
    for (number, step) in plan.steps.iter().enumerate() {
        hands.stage(&plan.steps[number..]);
        if matches!(step.action, Action::Unit { .. }) {
            // A unit may take the power away, as a reboot does.
            hands.flush();
            unlock();
        }
        if let Some(path) = path(&step.action) {
            hands.tidy(path);
        }
        match act(&mut hands, &step.action) {
            Ok(Outcome::Changed) => {
                hands.applied.changed += 1;
                hands.touched.extend(path(&step.action).map(str::to_owned));
            }
            Ok(Outcome::Unchanged) => {}
            Err(StepError(error)) => hands.fail(name(&step.action), error),
        }
    }
    hands.flush();
    unlock();
    hands.settle();
    hands.applied
}

/// What a step puts into a folder, or takes from it, as far as the plan knows.
fn path(action: &Action) -> Option<&str> {
    match action {
        Action::Hostname { .. } => Some(hostname::PATH),
        Action::TimeZone { .. } => Some(files::LOCAL_TIME_PATH),
        Action::Write(write) | Action::Fetch { write, .. } => Some(&write.path),
        Action::Mask { path } | Action::Unmask { path } => Some(path),
        _ => None,
    }
}

fn act(hands: &mut Hands<'_>, action: &Action) -> Step {
    match action {
        Action::Hostname { name } => hands.hostname(name),
        Action::UserAdd { name, arguments } => hands.user_add(name, arguments),
        Action::GroupAdd { name } => hands.group_add(name),
        Action::GroupMember { group, user } => hands.group_member(group, user),
        Action::Password { name, hash } => hands.password(name, hash),
        Action::LockPassword { name } => hands.lock_password(name),
        Action::SshKeys { user, name, keys } => hands.ssh_keys(user, name, keys),
        Action::ImportKeys { user, name, from } => hands.import_keys(user, name, from),
        Action::InterfaceDown { name } => hands.interface_down(name),
        Action::Modprobe { arguments } => hands.modprobe(arguments),
        Action::TimeZone { name } => hands.time_zone(name),
        Action::Write(write) => hands.write(write),
        Action::Fetch { write, from, has_stand_in } => hands.fetch(write, from, *has_stand_in),
        Action::Mask { path } => hands.mask(path),
        Action::Unmask { path } => hands.unmask(path),
        Action::Enable { unit, runtime } => hands.enable(unit, *runtime),
        Action::DaemonReload => hands.reload(),
        Action::Unit { unit, command, when } => hands.command(unit, command, *when),
        Action::Script { content, chained } => hands.script(content, *chained),
    }
}

/// The step in a few words, without secrets.
fn name(action: &Action) -> String {
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
