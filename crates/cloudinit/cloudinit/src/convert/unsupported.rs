//! Reports the keys of a cloud-config that have no full counterpart in Ignition, with line and reason.

use std::fmt;

use super::build::{DROP_IN_SUFFIX, PERMISSION_BITS, is_known, is_volatile};
use crate::check::{Checked, UnitDirectory, clean_path, unit_directory};
use crate::config::{CloudConfig, Text, Unit};
use crate::schema::{ETCD, ETCD2, FLEET, mode};
use crate::template::{Addresses, substitute};
use crate::yaml::{Entry, Mapping, Node};

/// A key without a full counterpart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// Line in the user-data, starting at 1.
    pub line: u32,
    pub key: String,
    pub why: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.key, self.why)
    }
}

impl Unsupported {
    fn new(line: u32, key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { line, key: key.into(), why: why.into() }
    }

    pub(super) fn script(line: u32, name: String) -> Self {
        Self::new(line, name, "scripts are not run: put it into a file, and a unit that runs it")
    }
}

pub(super) fn has_token(text: &str) -> bool {
    !substitute(text.as_bytes(), &Addresses::default()).unknown.is_empty()
}

/// `text` is the config before substitution, `root` and `config` are parsed from it; `checked` joins all
/// parts of the user-data.
pub(super) fn collect(
    text: &[u8],
    root: Option<&Node>,
    config: &CloudConfig,
    checked: &Checked,
) -> Vec<Unsupported> {
    let mut list = Vec::new();
    let Some(document) = root.and_then(Node::mapping) else { return list };
    for (token, line) in substitute(text, &Addresses::default()).unknown {
        list.push(Unsupported::new(
            line,
            token,
            "no addresses are substituted; the variable remains in the text",
        ));
    }
    names(document, config, checked, &mut list);
    users(config, checked, &mut list);
    files(document, config, &mut list);
    let coreos = document.get("coreos").and_then(|entry| entry.node.mapping());
    if let Some(coreos) = coreos {
        services(coreos, config, &mut list);
        for (unit, mapping) in config.units.iter().zip(items(coreos, "units")) {
            self::unit(unit, mapping, &mut list);
        }
    }
    if let Some(entry) = document.get("runcmd").filter(|_| !config.commands.is_empty()) {
        list.push(unsupported_entry(entry, "commands are not run: put them in a unit of Type=oneshot"));
    }
    list
}

fn unsupported_entry(entry: &Entry, why: impl Into<String>) -> Unsupported {
    Unsupported::new(entry.location.line, &*entry.key, why)
}

/// The mappings in a list, in the same order as the config's entries.
fn items<'a>(mapping: &'a Mapping, key: &str) -> impl Iterator<Item = &'a Mapping> + use<'a> {
    let list = mapping.get(key).and_then(|entry| entry.node.list()).unwrap_or_default();
    list.iter().filter_map(|item| item.node.mapping())
}

fn names(document: &Mapping, config: &CloudConfig, checked: &Checked, list: &mut Vec<Unsupported>) {
    if let Some(name) = config.hostname.as_ref().filter(|name| has_token(&name.text)) {
        let why = "the address in the name is unknown before the machine exists; omitted";
        list.push(Unsupported::new(name.location.line, "hostname", why));
    }
    if let Some(entry) = document.get("manage_etc_hosts").filter(|_| checked.hostname.is_none()) {
        list.push(unsupported_entry(entry, "the machine's name is unknown; /etc/hosts is omitted"));
    }
}

fn users(config: &CloudConfig, checked: &Checked, list: &mut Vec<Unsupported>) {
    for import in config.users.iter().flat_map(|user| &user.imports) {
        let why = "keys are not downloaded: list them in ssh_authorized_keys";
        list.push(Unsupported::new(import.text.location.line, import.key, why));
    }
    for Text { text, location } in config.groups.iter().flat_map(|group| &group.members) {
        if !is_known(text, checked) {
            let why =
                format!("user {text:?} is not in users and would be created; the membership is omitted");
            list.push(Unsupported::new(location.line, "groups", why));
        }
    }
}

fn files(document: &Mapping, config: &CloudConfig, list: &mut Vec<Unsupported>) {
    for (file, mapping) in config.files.iter().zip(items(document, "write_files")) {
        if let Some(path) = &file.path
            && is_volatile(&clean_path(&path.text))
        {
            let why = "files there do not exist on the running machine; the file is omitted";
            list.push(Unsupported::new(path.location.line, "path", why));
            continue;
        }
        let special = |text: &str| mode(text).is_some_and(|mode| mode & !PERMISSION_BITS != 0);
        if let Some(permissions) = file.permissions.as_ref().filter(|text| special(&text.text)) {
            let why = "set-user-id, set-group-id and sticky bits are not set; the others are";
            list.push(Unsupported::new(permissions.location.line, "permissions", why));
        }
        let is_fetched = file.source.as_ref().is_some_and(|source| source.uri.is_some());
        if let Some(entry) = mapping.get("content").filter(|_| is_fetched) {
            list.push(unsupported_entry(
                entry,
                "a failed download stops the first boot; there is no equivalent",
            ));
        }
        if let Some(entry) = mapping.get("overwrite").filter(|_| file.keep && !file.append) {
            list.push(unsupported_entry(entry, "an existing file with other content stops the first boot"));
        }
    }
}

fn services(coreos: &Mapping, config: &CloudConfig, list: &mut Vec<Unsupported>) {
    for service in [ETCD, ETCD2, FLEET] {
        let options = config.services.iter().find(|options| options.service.block == service.block);
        let is_set = options.is_some_and(|options| !options.variables.is_empty());
        if let (Some(entry), Some(unit), true) = (coreos.get(service.block), service.unit, is_set) {
            list.push(unsupported_entry(
                entry,
                format!("Flatcar has no {unit}; its drop-in is written regardless"),
            ));
        }
    }
}

fn unit(unit: &Unit, mapping: &Mapping, list: &mut Vec<Unsupported>) {
    let Some(name) = &unit.name else { return };
    if let Some(command) =
        unit.command.as_ref().filter(|_| unit_directory(&name.text) == UnitDirectory::System)
    {
        let why = "unit commands are not run; enabled units start at each boot";
        list.push(Unsupported::new(command.location.line, "command", why));
    }
    if let Some(entry) = mapping.get("runtime").filter(|_| unit.runtime && defines_unit(unit)) {
        list.push(unsupported_entry(
            entry,
            "units for a single boot are not supported; the unit is permanent",
        ));
    }
    for name in unit
        .drop_ins
        .iter()
        .filter(|drop_in| drop_in.content.is_some())
        .filter_map(|drop_in| drop_in.name.as_ref())
    {
        if !name.text.ends_with(DROP_IN_SUFFIX) {
            list.push(Unsupported::new(
                name.location.line,
                "name",
                "a drop-in's name must end in .conf; it is left out",
            ));
        }
    }
}

/// Whether the entry defines a unit, and not only a command.
fn defines_unit(unit: &Unit) -> bool {
    unit.content.is_some() || unit.mask || unit.enable || !unit.drop_ins.is_empty()
}
