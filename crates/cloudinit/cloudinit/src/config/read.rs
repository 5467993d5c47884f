//! Converts the YAML tree to the typed config.

use std::sync::Arc;

use super::number::float;
use super::{
    CloudConfig, Command, Content, DropIn, File, Group, Header, Import, ImportFrom, Ntp, Oem, ServiceOptions,
    Source, Text, Unit, Update, User, Variable,
};
use crate::schema::{Key, Service, ValueKind};
use crate::yaml::{Item, Location, Mapping, Node, ScalarType};

/// Reads all values that have the expected type. `None` is treated as an empty document: all services are
/// present, without options.
pub fn read(root: Option<&Node>) -> CloudConfig {
    let nothing = Mapping::default();
    let document = root.and_then(Node::mapping).unwrap_or(&nothing);
    let coreos = section(document, "coreos");
    CloudConfig {
        hostname: text(document, "hostname"),
        ssh_authorized_keys: texts(document, "ssh_authorized_keys"),
        users: mapping_list(document, "users", user),
        files: mapping_list(document, "write_files", file),
        manage_etc_hosts: text(document, "manage_etc_hosts"),
        units: coreos.map(|coreos| mapping_list(coreos, "units", unit)).unwrap_or_default(),
        services: Service::ALL.iter().map(|service| options(coreos, *service)).collect(),
        update: coreos.and_then(|coreos| section(coreos, "update")).map(update).unwrap_or_default(),
        oem: coreos.and_then(|coreos| section(coreos, "oem")).map(oem).unwrap_or_default(),
        groups: groups(document),
        commands: list(document, "runcmd").iter().filter_map(command).collect(),
        timezone: text(document, "timezone"),
        locale: text(document, "locale"),
        ntp: section(document, "ntp").map(ntp).unwrap_or_default(),
        certificates: section(document, "ca_certs").map(|certs| texts(certs, "trusted")).unwrap_or_default(),
    }
}

fn section<'a>(mapping: &'a Mapping, key: &str) -> Option<&'a Mapping> {
    mapping.get(key)?.node.mapping()
}

fn scalar_text(node: &Node, location: Location) -> Option<Text> {
    let scalar = node.scalar()?;
    if scalar.resolve() == ScalarType::Null || scalar.text.is_empty() {
        return None;
    }
    Some(Text { text: scalar.text.clone(), location })
}

fn text(mapping: &Mapping, key: &str) -> Option<Text> {
    let entry = mapping.get(key)?;
    scalar_text(&entry.node, entry.location)
}

fn boolean(mapping: &Mapping, key: &str) -> bool {
    is(mapping, key, true)
}

fn is(mapping: &Mapping, key: &str, value: bool) -> bool {
    mapping
        .get(key)
        .and_then(|entry| entry.node.scalar())
        .is_some_and(|scalar| scalar.resolve() == ScalarType::Boolean(value))
}

fn list<'a>(mapping: &'a Mapping, key: &str) -> &'a [Item] {
    mapping.get(key).and_then(|entry| entry.node.list()).unwrap_or_default()
}

fn texts(mapping: &Mapping, key: &str) -> Vec<Text> {
    list(mapping, key).iter().filter_map(|item| scalar_text(&item.node, item.location)).collect()
}

/// A list of texts, or one text with comma-separated values.
fn list_or_comma_separated(mapping: &Mapping, key: &str) -> Vec<Text> {
    let Some(joined) = text(mapping, key) else { return texts(mapping, key) };
    let parts = joined.text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| Text { text: part.into(), location: joined.location }).collect()
}

fn mapping_list<T>(mapping: &Mapping, key: &str, read: fn(&Mapping, Location) -> T) -> Vec<T> {
    list(mapping, key)
        .iter()
        .filter_map(|item| item.node.mapping().map(|mapping| read(mapping, item.location)))
        .collect()
}

fn user(mapping: &Mapping, location: Location) -> User {
    User {
        location,
        name: text(mapping, "name"),
        passwd: text(mapping, "passwd"),
        ssh_authorized_keys: texts(mapping, "ssh_authorized_keys"),
        imports: imports(mapping),
        gecos: text(mapping, "gecos"),
        homedir: text(mapping, "homedir"),
        no_create_home: boolean(mapping, "no_create_home"),
        primary_group: text(mapping, "primary_group"),
        groups: list_or_comma_separated(mapping, "groups"),
        no_user_group: boolean(mapping, "no_user_group"),
        system: boolean(mapping, "system"),
        no_log_init: boolean(mapping, "no_log_init"),
        shell: text(mapping, "shell"),
        uid: text(mapping, "uid"),
        lock_passwd: boolean(mapping, "lock_passwd"),
        sudo: sudo(mapping),
    }
}

/// In the order in which they are fetched.
fn imports(mapping: &Mapping) -> Vec<Import> {
    let (github, users, url) =
        ("coreos_ssh_import_github", "coreos_ssh_import_github_users", "coreos_ssh_import_url");
    let import = |key, from| move |text| Import { key, from, text };
    let mut imports: Vec<_> =
        text(mapping, github).into_iter().map(import(github, ImportFrom::GitHub)).collect();
    imports.extend(texts(mapping, users).into_iter().map(import(users, ImportFrom::GitHub)));
    imports.extend(text(mapping, url).into_iter().map(import(url, ImportFrom::Url)));
    imports
}

fn sudo(mapping: &Mapping) -> Vec<Text> {
    let Some(entry) = mapping.get("sudo") else { return Vec::new() };
    match entry.node.scalar() {
        None => texts(mapping, "sudo"),
        Some(scalar) if matches!(scalar.resolve(), ScalarType::Text) => {
            scalar_text(&entry.node, entry.location).into_iter().collect()
        }
        Some(_) => Vec::new(),
    }
}

fn file(mapping: &Mapping, location: Location) -> File {
    File {
        location,
        path: text(mapping, "path"),
        content: content(mapping),
        permissions: text(mapping, "permissions"),
        owner: text(mapping, "owner"),
        encoding: text(mapping, "encoding"),
        append: boolean(mapping, "append"),
        keep: is(mapping, "overwrite", false),
        defer: boolean(mapping, "defer"),
        source: source(mapping),
    }
}

fn source(mapping: &Mapping) -> Option<Source> {
    let entry = mapping.get("source")?;
    let source = entry.node.mapping()?;
    let headers = section(source, "headers").map(Mapping::entries).unwrap_or_default();
    let headers = headers.iter().filter_map(|entry| {
        let name = Text { text: entry.raw_key.clone(), location: entry.location };
        Some(Header { name, value: scalar_text(&entry.node, entry.location)? })
    });
    Some(Source { location: entry.location, uri: text(source, "uri"), headers: headers.collect() })
}

fn content(mapping: &Mapping) -> Option<Content> {
    let entry = mapping.get("content")?;
    let scalar = entry.node.scalar().filter(|scalar| scalar.resolve() != ScalarType::Null)?;
    let bytes = scalar.binary.clone().unwrap_or_else(|| Arc::from(scalar.text.clone()));
    Some(Content { bytes, location: entry.location })
}

fn unit(mapping: &Mapping, location: Location) -> Unit {
    Unit {
        location,
        name: text(mapping, "name"),
        mask: boolean(mapping, "mask"),
        enable: boolean(mapping, "enable"),
        runtime: boolean(mapping, "runtime"),
        content: text(mapping, "content"),
        command: text(mapping, "command"),
        drop_ins: mapping_list(mapping, "drop_ins", |mapping, location| DropIn {
            location,
            name: text(mapping, "name"),
            content: text(mapping, "content"),
        }),
    }
}

fn options(coreos: Option<&Mapping>, service: Service) -> ServiceOptions {
    let variables = coreos
        .and_then(|coreos| section(coreos, service.block))
        .map(|block| service.keys.iter().filter_map(|key| variable(block, service, key)).collect())
        .unwrap_or_default();
    ServiceOptions { service, variables }
}

/// Zero values count as unset, except for keys where zero has a meaning.
fn variable(block: &Mapping, service: Service, key: &Key) -> Option<Variable> {
    let entry = block.get(key.name)?;
    let value = match key.kind {
        ValueKind::Integer => {
            integer(&entry.node).filter(|value| *value != 0 || key.passes_zero)?.to_string().into()
        }
        ValueKind::Float => float(number(&entry.node).filter(|value| *value != 0.0)?).into(),
        ValueKind::Boolean => boolean_value(&entry.node, key)?.into(),
        _ => scalar_text(&entry.node, entry.location)?.text,
    };
    let name = service.variable(key);
    Some(Variable { name, value: Text { text: value, location: entry.location } })
}

fn boolean_value(node: &Node, key: &Key) -> Option<&'static str> {
    match node.scalar()?.resolve() {
        ScalarType::Boolean(true) => Some("true"),
        ScalarType::Boolean(false) if key.passes_zero => Some("false"),
        _ => None,
    }
}

/// Fractions are truncated.
fn integer(node: &Node) -> Option<i64> {
    match node.scalar()?.resolve() {
        ScalarType::Integer(value) => Some(value),
        ScalarType::Float(value) if value.is_finite() => Some(value as i64),
        _ => None,
    }
}

fn number(node: &Node) -> Option<f64> {
    match node.scalar()?.resolve() {
        ScalarType::Integer(value) => Some(value as f64),
        ScalarType::Float(value) => Some(value),
        _ => None,
    }
}

fn groups(document: &Mapping) -> Vec<Group> {
    let mut groups: Vec<Group> =
        list_or_comma_separated(document, "groups").into_iter().map(group_without_members).collect();
    let Some(entry) = document.get("groups") else { return groups };
    let mappings = entry.node.mapping().into_iter();
    for mapping in mappings.chain(list(document, "groups").iter().filter_map(|item| item.node.mapping())) {
        for entry in mapping.entries() {
            let name = Text { text: entry.raw_key.clone(), location: entry.location };
            groups.push(Group { name, members: list_or_comma_separated(mapping, &entry.key) });
        }
    }
    groups
}

fn group_without_members(name: Text) -> Group {
    Group { name, members: Vec::new() }
}

/// Returns `None` for an empty command or one of another type.
fn command(item: &Item) -> Option<Command> {
    match item.node.list() {
        None => scalar_text(&item.node, item.location).map(Command::Shell),
        Some(arguments) => {
            // Arguments may be empty.
            let argument = |argument: &Item| {
                let scalar = argument.node.scalar()?;
                Some(Text { text: scalar.text.clone(), location: item.location })
            };
            let arguments: Option<Vec<_>> = arguments.iter().map(argument).collect();
            arguments.filter(|arguments| !arguments.is_empty()).map(Command::Exec)
        }
    }
}

fn ntp(mapping: &Mapping) -> Ntp {
    let mut servers = texts(mapping, "pools");
    servers.extend(texts(mapping, "servers"));
    Ntp { disabled: is(mapping, "enabled", false), servers }
}

fn update(mapping: &Mapping) -> Update {
    Update {
        reboot_strategy: text(mapping, "reboot_strategy"),
        group: text(mapping, "group"),
        server: text(mapping, "server"),
    }
}

fn oem(mapping: &Mapping) -> Oem {
    Oem {
        id: text(mapping, "id"),
        name: text(mapping, "name"),
        version_id: text(mapping, "version_id"),
        home_url: text(mapping, "home_url"),
        bug_report_url: text(mapping, "bug_report_url"),
    }
}
