//! Validates a config: whatever is known to fail is refused before anything is changed (contract 3.3).
//!
//! Each refusal has two messages: one for the validator, one for a failed run. Values are only normalized
//! (clean paths, numeric modes, decoded contents), never changed otherwise.

mod account;
mod file;
mod join;
mod name;
mod refusal;
mod system;
mod unit;

use std::sync::Arc;

pub use account::{Account, CheckedGroup};
pub use file::{CheckedFile, CheckedSource, WriteMode};
pub use join::join;
pub use name::{clean_path, hostname_problem};
use refusal::require_single_line;
pub use refusal::{Refusal, Stage, keys};
pub use system::System;
pub use unit::{CheckedDropIn, CheckedUnit, UnitDirectory, unit_directory};

use crate::config::{self, CloudConfig, Text, Variable};
use crate::network::Network;
use crate::schema::{Service, is_reboot_strategy};

/// A deprecated reboot strategy that is still accepted.
pub const BEST_EFFORT: &str = "best-effort";

/// A validated config, ready for planning.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    pub hostname: Option<String>,
    pub core_keys: Vec<String>,
    pub users: Vec<Account>,
    pub groups: Vec<CheckedGroup>,
    pub files: Vec<CheckedFile>,
    pub manage_etc_hosts: bool,
    pub units: Vec<CheckedUnit>,
    pub services: Vec<CheckedService>,
    pub update: CheckedUpdate,
    pub oem: Option<CheckedOem>,
    pub system: System,
    /// Comes from the datasource, not from the user-data; set after the check.
    pub network: Network,
    /// Entries that are refused while the rest of the config is applied.
    pub skipped: Vec<Refusal>,
    /// Log lines about ignored or deprecated settings.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct CheckedService {
    pub service: Service,
    pub variables: Vec<(String, Arc<str>)>,
}

#[derive(Debug, Clone, Default)]
pub struct CheckedUpdate {
    pub reboot_strategy: Option<Arc<str>>,
    pub group: Option<Arc<str>>,
    pub server: Option<Arc<str>>,
}

#[derive(Debug, Clone, Default)]
pub struct CheckedOem {
    pub id: Arc<str>,
    pub name: Arc<str>,
    pub version_id: Arc<str>,
    pub home_url: Arc<str>,
    pub bug_report_url: Arc<str>,
}

/// Validates `config`.
///
/// # Errors
/// Every reason why `config` cannot be applied, in the order of the document's sections, followed by the
/// reasons why single entries would be skipped.
pub fn check(config: &CloudConfig) -> Result<Checked, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut checked = Checked { core_keys: keys(&config.ssh_authorized_keys), ..Checked::default() };
    if let Some(hostname) = &config.hostname {
        match hostname_problem(&hostname.text) {
            Some(problem) => refusals.push(Refusal::new(hostname.location, problem)),
            None => checked.hostname = Some(hostname.text.to_string()),
        }
    }
    checked.users = account::check(&config.users, &mut checked.notes, &mut checked.skipped, &mut refusals);
    checked.groups = account::groups(&config.groups, &mut refusals);
    checked.files = file::check(&config.files, &mut checked.skipped, &mut refusals);
    if let Some(value) = &config.manage_etc_hosts {
        checked.manage_etc_hosts = &*value.text == "localhost";
        if !checked.manage_etc_hosts {
            let finding = format!("invalid value {}", value.text);
            refusals.push(
                Refusal::new(value.location, finding).with_failure("Invalid option to manage_etc_hosts"),
            );
        }
    }
    checked.units = unit::check(&config.units, &mut checked.notes, &mut refusals);
    services(config, &mut checked, &mut refusals);
    update(config, &mut checked, &mut refusals);
    oem(config, &mut checked, &mut refusals);
    checked.system = system::check(config, &mut refusals);
    if refusals.is_empty() {
        return Ok(checked);
    }
    refusals.append(&mut checked.skipped);
    Err(refusals)
}

/// The checked form of an empty config, which still makes the services' units startable.
pub fn empty() -> Checked {
    check(&config::read(None)).unwrap_or_default()
}

fn services(config: &CloudConfig, checked: &mut Checked, refusals: &mut Vec<Refusal>) {
    for options in &config.services {
        for Variable { name, value } in &options.variables {
            require_single_line(Some(value), &format!("the value of {name}"), refusals);
        }
        let variables =
            options.variables.iter().map(|variable| (variable.name.clone(), variable.value.text.clone()));
        checked.services.push(CheckedService { service: options.service, variables: variables.collect() });
    }
}

fn update(config: &CloudConfig, checked: &mut Checked, refusals: &mut Vec<Refusal>) {
    let update = &config.update;
    if let Some(strategy) = &update.reboot_strategy
        && !is_reboot_strategy(&strategy.text)
    {
        if &*strategy.text == BEST_EFFORT {
            checked.notes.push(format!(
                "Warning: reboot-strategy {BEST_EFFORT} is deprecated; its meaning is unchanged"
            ));
        } else {
            let failure = format!(
                "invalid value {:?} for option \"RebootStrategy\" (valid options: \"^(etcd-lock|reboot|off)$\")",
                strategy.text
            );
            let finding = format!("invalid value {}", strategy.text);
            refusals.push(Refusal::new(strategy.location, finding).with_failure(failure));
        }
    }
    let value = |field: &Option<Text>| field.as_ref().map(|text| text.text.clone());
    require_single_line(update.group.as_ref(), "group", refusals);
    require_single_line(update.server.as_ref(), "server", refusals);
    checked.update = CheckedUpdate {
        reboot_strategy: value(&update.reboot_strategy),
        group: value(&update.group),
        server: value(&update.server),
    };
}

fn oem(config: &CloudConfig, checked: &mut Checked, refusals: &mut Vec<Refusal>) {
    let oem = &config.oem;
    let fields = [&oem.id, &oem.name, &oem.version_id, &oem.home_url, &oem.bug_report_url];
    for field in fields {
        require_single_line(field.as_ref(), "an oem value", refusals);
    }
    let [Some(id), ..] = fields.map(|field| field.as_ref().map(|text| text.text.clone())) else { return };
    let value = |field: &Option<Text>| field.as_ref().map(|text| text.text.clone()).unwrap_or_default();
    checked.oem = Some(CheckedOem {
        id,
        name: value(&oem.name),
        version_id: value(&oem.version_id),
        home_url: value(&oem.home_url),
        bug_report_url: value(&oem.bug_report_url),
    });
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
