//! The table of keys as a JSON schema (draft 7), for completion and validation in editors.
//!
//! The schema is equivalent to the table; rules of the validator on paths or unit contents are not part of
//! it.

use serde_json::{Map, Value, json};

use super::{DOCUMENT, Key, Service, ValueKind};

/// Description of each key by path. Service options are described by their environment variable.
const DESCRIPTIONS: &[(&str, &str)] = &[
    ("coreos", "What the system's own services are told"),
    ("coreos.etcd", "Options of etcd.service, as its environment"),
    ("coreos.etcd2", "Options of etcd2.service, as its environment"),
    ("coreos.fleet", "Options of fleet.service, as its environment"),
    ("coreos.flannel", "Options of flanneld.service, in /run/flannel/options.env"),
    ("coreos.locksmith", "Options of locksmithd.service, as its environment"),
    ("coreos.oem", "What /etc/oem-release says; nothing without an id"),
    ("coreos.oem.id", "Short name of the platform, lower case"),
    ("coreos.oem.name", "Name of the platform"),
    ("coreos.oem.version_id", "Version of the platform"),
    ("coreos.oem.home_url", "Where the platform is described"),
    ("coreos.oem.bug_report_url", "Where faults of the platform are reported"),
    ("coreos.update", "How the machine updates itself, in /etc/coreos/update.conf"),
    (
        "coreos.update.reboot_strategy",
        "When the machine reboots into a new version: etcd-lock, reboot or off",
    ),
    ("coreos.update.group", "The channel: alpha, beta, stable or one of your own"),
    ("coreos.update.server", "URL of the update server"),
    ("coreos.units", "Units of systemd: written, enabled, started, in this order"),
    ("coreos.units.name", "Name of the unit with its suffix; .network, .netdev and .link are networkd's"),
    ("coreos.units.mask", "Link the unit to /dev/null, so that nothing can start it"),
    ("coreos.units.enable", "Do what its [Install] section says"),
    ("coreos.units.runtime", "Only until the next reboot: below /run instead of /etc"),
    ("coreos.units.content", "The whole unit file; none leaves the unit as it is"),
    ("coreos.units.command", "What systemd is told then, and waited for"),
    ("coreos.units.drop_ins", "Files beside the unit that change parts of it"),
    ("coreos.units.drop_ins.name", "File name that ends in .conf"),
    ("coreos.units.drop_ins.content", "The drop-in; one without content is not written"),
    ("ssh_authorized_keys", "Public keys that may log in as core"),
    ("hostname", "The machine's name, at most 64 characters"),
    ("users", "Users to create; of those that exist only password and keys are set"),
    ("users.name", "Login name"),
    ("users.passwd", "Hash of the password, as crypt(3) has it"),
    ("users.ssh_authorized_keys", "Public keys that may log in as this user"),
    (
        "users.coreos_ssh_import_github",
        "User of GitHub whose public keys may log in, too; asked for at each run",
    ),
    (
        "users.coreos_ssh_import_github_users",
        "Users of GitHub whose public keys may log in, too; asked for at each run",
    ),
    (
        "users.coreos_ssh_import_url",
        "URL of a JSON list of objects with a key; these may log in, too; asked for at each run",
    ),
    ("users.gecos", "Full name"),
    ("users.homedir", "Home directory [default: /home/NAME]"),
    ("users.no_create_home", "Make no home directory"),
    ("users.primary_group", "Group that exists [default: a new one of the user's name]"),
    ("users.groups", "Further groups; those that do not exist are skipped"),
    ("users.no_user_group", "Make no group of the user's name"),
    ("users.system", "A user for a service: no ageing of the password, a small number"),
    ("users.no_log_init", "Leave lastlog and faillog alone"),
    ("users.shell", "Login shell"),
    ("users.uid", "Number of the user"),
    ("users.lock_passwd", "Let nobody log in by password"),
    ("users.sudo", "Rules for sudo, false for none"),
    ("write_files", "Files to write, each whole or not at all"),
    ("write_files.path", "Absolute path; missing directories are made"),
    ("write_files.content", "The content [default: empty]"),
    ("write_files.owner", "user or user:group [default: root:root]"),
    ("write_files.permissions", "Mode in octal [default: 0644]"),
    ("write_files.encoding", "How the content is written down here [default: as it is]"),
    ("write_files.append", "Add the content to the file that is there"),
    ("write_files.overwrite", "false leaves a file that is there as it is [default: true]"),
    ("write_files.defer", "Write it after the units, before their commands"),
    (
        "write_files.source",
        "Where the content is fetched from at each run; the one given here stands in for it",
    ),
    ("write_files.source.uri", "An https URL"),
    ("write_files.source.headers", "Headers of the request, as a token that the server wants"),
    ("groups", "Groups to create, with the users who are in them"),
    ("runcmd", "Commands to run after all else, one after the other"),
    ("timezone", "Time zone, as Europe/Berlin"),
    ("locale", "Language of messages, as C.UTF-8"),
    ("ntp", "Where the machine gets its time from"),
    ("ntp.enabled", "false leaves time servers as they are [default: true]"),
    ("ntp.servers", "Time servers"),
    ("ntp.pools", "Names of several time servers each"),
    ("ca_certs", "Certificate authorities that the machine trusts besides its own"),
    ("ca_certs.trusted", "Certificates in PEM"),
    ("manage_etc_hosts", "localhost: /etc/hosts maps the machine's own name"),
];

/// Spellings of a boolean in YAML 1.1.
const YAML_1_1_BOOLEAN: &str = "^([Yy]|[Yy]es|YES|[Nn]|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF)$";

/// Returns the schema of a cloud-config document.
pub fn json_schema() -> Value {
    let mut schema = mapping(DOCUMENT, "");
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("cloud-config");
    schema["description"] =
        json!("User-data of a Keelson or CoreOS machine; its first line is #cloud-config");
    schema
}

fn mapping(keys: &[Key], parent: &str) -> Value {
    let mut plain = Map::new();
    let mut spelled = Map::new();
    for key in keys {
        let path = if parent.is_empty() { key.name.to_owned() } else { format!("{parent}.{}", key.name) };
        let schema = key_schema(key, &path);
        if key.name.contains('_') {
            spelled.insert(format!("^{}$", key.name.replace('_', "[-_]")), schema.clone());
        }
        plain.insert(key.name.to_owned(), schema);
    }
    let mut schema = json!({ "type": "object", "properties": plain, "additionalProperties": false });
    if !spelled.is_empty() {
        schema["patternProperties"] = Value::Object(spelled);
    }
    schema
}

fn key_schema(key: &Key, path: &str) -> Value {
    let mut schema = value_schema(key.kind, path);
    if let Some(allowed) = key.allowed {
        schema["pattern"] = json!(allowed.pattern);
    }
    if let Some(description) = description(key, path) {
        schema["description"] = json!(description);
    }
    if let Some(reason) = key.deprecated {
        schema["deprecated"] = json!(true);
        schema["deprecationMessage"] = json!(reason);
    }
    schema
}

fn value_schema(kind: ValueKind, path: &str) -> Value {
    // Numbers and booleans are accepted as text, as written.
    let text = || json!({ "type": ["string", "number", "boolean"] });
    let texts = || json!({ "type": "array", "items": text() });
    match kind {
        ValueKind::Text => text(),
        ValueKind::Integer => json!({ "type": "integer" }),
        ValueKind::Float => json!({ "type": "number" }),
        ValueKind::Boolean => {
            json!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": YAML_1_1_BOOLEAN }] })
        }
        ValueKind::TextList => texts(),
        ValueKind::TextListOrCommaSeparated => json!({ "anyOf": [texts(), { "type": "string" }] }),
        ValueKind::Sudo => json!({ "anyOf": [texts(), { "type": "string" }, { "const": false }] }),
        ValueKind::Groups => {
            let members = json!({ "type": "object", "additionalProperties": texts() });
            let item = json!({ "anyOf": [text(), members] });
            json!({ "anyOf": [{ "type": "array", "items": item }, { "type": "string" }, members] })
        }
        ValueKind::Commands => json!({ "type": "array", "items": { "anyOf": [text(), texts()] } }),
        ValueKind::TextMap => json!({ "type": "object", "additionalProperties": text() }),
        ValueKind::Mapping(keys) => mapping(keys, path),
        ValueKind::List(keys) => json!({ "type": "array", "items": mapping(keys, path) }),
    }
}

fn description(key: &Key, path: &str) -> Option<String> {
    if let Some((_, description)) = DESCRIPTIONS.iter().find(|(documented, _)| *documented == path) {
        return Some((*description).to_owned());
    }
    let block = path.strip_prefix("coreos.")?.strip_suffix(key.name)?.strip_suffix('.')?;
    let service = Service::ALL.iter().find(|service| service.block == block)?;
    Some(format!("Sets {} of {}", service.variable(key), service.unit.unwrap_or("flanneld.service")))
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
