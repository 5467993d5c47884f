//! What of a cloud-config has no counterpart, or not quite: each key with its line and the reason.

use std::fmt;

use super::build::{DROP_IN_SUFFIX, PERMISSION_BITS, is_known, is_volatile};
use crate::check::{Checked, UnitFolder, clean_path, unit_folder};
use crate::config::{CloudConfig, Text, Unit};
use crate::schema::{ETCD, ETCD2, FLEET, mode};
use crate::template::{Addresses, substitute};
use crate::yaml::{Entry, Mapping, Node};

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Without {
    /// In the whole text, from one.
    pub line: u32,
    pub key: String,
    pub why: String,
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.key, self.why)
    }
}

impl Without {
    fn new(line: u32, key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { line, key: key.into(), why: why.into() }
    }

    pub(super) fn script(line: u32, name: String) -> Self {
        Self::new(line, name, "a script is not run: put it in a file, and a unit that runs it")
    }
}

pub(super) fn has_token(text: &str) -> bool {
    !substitute(text.as_bytes(), &Addresses::default()).unknown.is_empty()
}

/// `text` is the config as it came, the others are what was read of it; `checked` is all parts of the user-data.
pub(super) fn of(text: &[u8], root: Option<&Node>, config: &CloudConfig, checked: &Checked) -> Vec<Without> {
    let mut list = Vec::new();
    let Some(document) = root.and_then(Node::mapping) else { return list };
    for (token, line) in substitute(text, &Addresses::default()).unknown {
        list.push(Without::new(line, token, "no addresses are put in there; the text keeps the word"));
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
        list.push(at(entry, "commands are not run: put them in a unit of Type=oneshot"));
    }
    list
}

fn at(entry: &Entry, why: impl Into<String>) -> Without {
    Without::new(entry.place.line, &*entry.key, why)
}

/// The entries of a list that are mappings, as the config has them.
fn items<'a>(mapping: &'a Mapping, key: &str) -> impl Iterator<Item = &'a Mapping> + use<'a> {
    let list = mapping.get(key).and_then(|entry| entry.node.list()).unwrap_or_default();
    list.iter().filter_map(|item| item.node.mapping())
}

fn names(document: &Mapping, config: &CloudConfig, checked: &Checked, list: &mut Vec<Without>) {
    if let Some(name) = config.hostname.as_ref().filter(|name| has_token(&name.text)) {
        let why = "the address in the name is not known before there is a machine; it is left out";
        list.push(Without::new(name.place.line, "hostname", why));
    }
    if let Some(entry) = document.get("manage_etc_hosts").filter(|_| checked.hostname.is_none()) {
        list.push(at(entry, "the machine's name is not known here; /etc/hosts is left out"));
    }
}

fn users(config: &CloudConfig, checked: &Checked, list: &mut Vec<Without>) {
    for import in config.users.iter().flat_map(|user| &user.imports) {
        let why = "keys are not fetched there: name them in ssh_authorized_keys";
        list.push(Without::new(import.text.place.line, import.key, why));
    }
    for Text { text, place } in config.groups.iter().flat_map(|group| &group.members) {
        if !is_known(text, checked) {
            let why = format!("user {text:?} is not in users, and would be made; the membership is left out");
            list.push(Without::new(place.line, "groups", why));
        }
    }
}

fn files(document: &Mapping, config: &CloudConfig, list: &mut Vec<Without>) {
    for (file, mapping) in config.files.iter().zip(items(document, "write_files")) {
        if let Some(path) = &file.path
            && is_volatile(&clean_path(&path.text))
        {
            let why = "what is written there is gone when the machine runs; the file is left out";
            list.push(Without::new(path.place.line, "path", why));
            continue;
        }
        let special = |text: &str| mode(text).is_some_and(|mode| mode & !PERMISSION_BITS != 0);
        if let Some(permissions) = file.permissions.as_ref().filter(|text| special(&text.text)) {
            let why = "set-user-id, set-group-id and sticky bits are not set; the others are";
            list.push(Without::new(permissions.place.line, "permissions", why));
        }
        let is_fetched = file.source.as_ref().is_some_and(|source| source.uri.is_some());
        if let Some(entry) = mapping.get("content").filter(|_| is_fetched) {
            list.push(at(entry, "what cannot be fetched stops the first boot: nothing stands in for it"));
        }
        if let Some(entry) = mapping.get("overwrite").filter(|_| file.keep && !file.append) {
            list.push(at(entry, "a file that is there stops the first boot, unless it has this content"));
        }
    }
}

fn services(coreos: &Mapping, config: &CloudConfig, list: &mut Vec<Without>) {
    for service in [ETCD, ETCD2, FLEET] {
        let options = config.services.iter().find(|options| options.service.block == service.block);
        let is_set = options.is_some_and(|options| !options.variables.is_empty());
        if let (Some(entry), Some(unit), true) = (coreos.get(service.block), service.unit, is_set) {
            list.push(at(entry, format!("Flatcar has no {unit}; its drop-in is written all the same")));
        }
    }
}

fn unit(unit: &Unit, mapping: &Mapping, list: &mut Vec<Without>) {
    let Some(name) = &unit.name else { return };
    if let Some(command) = unit.command.as_ref().filter(|_| unit_folder(&name.text) == UnitFolder::System) {
        let why = "no unit is started or stopped by name; what is enabled starts at each boot";
        list.push(Without::new(command.place.line, "command", why));
    }
    if let Some(entry) = mapping.get("runtime").filter(|_| unit.runtime && is_made(unit)) {
        list.push(at(entry, "no unit is made for one boot only; it is made to stay"));
    }
    for name in unit
        .drop_ins
        .iter()
        .filter(|drop_in| drop_in.content.is_some())
        .filter_map(|drop_in| drop_in.name.as_ref())
    {
        if !name.text.ends_with(DROP_IN_SUFFIX) {
            list.push(Without::new(
                name.place.line,
                "name",
                "a drop-in's name must end in .conf; it is left out",
            ));
        }
    }
}

/// Whether more than a command is asked for.
fn is_made(unit: &Unit) -> bool {
    unit.content.is_some() || unit.mask || unit.enable || !unit.drop_ins.is_empty()
}
