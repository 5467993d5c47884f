//! The table of keys as a JSON schema (draft 7), for completion and validation in editors.
//!
//! The schema is equivalent to the table; rules of the validator on paths or unit contents are not part of
//! it.

use serde_json::{Map, Value, json};

use super::{DOCUMENT, Key, Service, ValueKind};

/// Description of each key by path. Service options are described by their environment variable.
const DESCRIPTIONS: &[(&str, &str)] = &[
    ("coreos", "Configuration of the system's services, units and updates"),
    ("coreos.etcd", "Options of etcd.service, set as environment variables"),
    ("coreos.etcd2", "Options of etcd2.service, set as environment variables"),
    ("coreos.fleet", "Options of fleet.service, set as environment variables"),
    ("coreos.flannel", "Options of flanneld.service, written to /run/flannel/options.env"),
    ("coreos.locksmith", "Options of locksmithd.service, set as environment variables"),
    ("coreos.oem", "Contents of /etc/oem-release; not written without an id"),
    ("coreos.oem.id", "Short name of the platform, lower case"),
    ("coreos.oem.name", "Name of the platform"),
    ("coreos.oem.version_id", "Version of the platform"),
    ("coreos.oem.home_url", "Home page of the platform"),
    ("coreos.oem.bug_report_url", "Where to report bugs of the platform"),
    ("coreos.update", "Update settings, written to /etc/coreos/update.conf"),
    ("coreos.update.reboot_strategy", "Reboot strategy after an update: etcd-lock, reboot or off"),
    ("coreos.update.group", "Update channel: alpha, beta, stable or a custom one"),
    ("coreos.update.server", "URL of the update server"),
    ("coreos.units", "systemd units, which are written, enabled and started in this order"),
    (
        "coreos.units.name",
        "Unit name with its suffix; .network, .netdev and .link files belong to systemd-networkd",
    ),
    ("coreos.units.mask", "Mask the unit: link it to /dev/null, so that it cannot be started"),
    ("coreos.units.enable", "Enable the unit as configured in its [Install] section"),
    ("coreos.units.runtime", "Write the unit below /run instead of /etc, until the next reboot"),
    ("coreos.units.content", "Contents of the unit file; without them an existing unit is kept"),
    ("coreos.units.command", "Command to run on the unit; its job is awaited"),
    ("coreos.units.drop_ins", "Drop-in files, which override parts of the unit"),
    ("coreos.units.drop_ins.name", "File name with the suffix .conf"),
    ("coreos.units.drop_ins.content", "Contents of the drop-in; without them it is not written"),
    ("ssh_authorized_keys", "Public SSH keys authorized for user core"),
    ("hostname", "Hostname, at most 64 characters"),
    ("users", "Users to create; for existing users only password and SSH keys are updated"),
    ("users.name", "Login name"),
    ("users.passwd", "Password hash in the format of crypt(3)"),
    ("users.ssh_authorized_keys", "Public SSH keys authorized for this user"),
    (
        "users.coreos_ssh_import_github",
        "GitHub user whose public keys are authorized, too; fetched at each run",
    ),
    (
        "users.coreos_ssh_import_github_users",
        "GitHub users whose public keys are authorized, too; fetched at each run",
    ),
    (
        "users.coreos_ssh_import_url",
        "URL of a JSON list of objects with a key, which are authorized, too; fetched at each run",
    ),
    ("users.gecos", "Full name"),
    ("users.homedir", "Home directory [default: /home/NAME]"),
    ("users.no_create_home", "Do not create the home directory"),
    ("users.primary_group", "Existing primary group [default: a new group with the user's name]"),
    ("users.groups", "Supplementary groups; groups that do not exist are skipped"),
    ("users.no_user_group", "Do not create a group with the user's name"),
    ("users.system", "Create a system user: UID of the system range, no password expiry"),
    ("users.no_log_init", "Do not add the user to lastlog and faillog"),
    ("users.shell", "Login shell"),
    ("users.uid", "User ID"),
    ("users.lock_passwd", "Lock the password"),
    ("users.sudo", "sudo rules, or false for none"),
    ("write_files", "Files to write, each atomically"),
    ("write_files.path", "Absolute path; missing directories are created"),
    ("write_files.content", "Content of the file [default: empty]"),
    ("write_files.owner", "user or user:group [default: root:root]"),
    ("write_files.permissions", "File mode in octal [default: 0644]"),
    ("write_files.encoding", "Encoding of the content [default: plain text]"),
    ("write_files.append", "Append the content to an existing file"),
    ("write_files.overwrite", "Whether to replace an existing file [default: true]"),
    ("write_files.defer", "Write the file after the units, before their commands"),
    ("write_files.source", "Where to download the content at each run; content is the fallback"),
    ("write_files.source.uri", "https URL"),
    ("write_files.source.headers", "Request headers, for example an access token"),
    ("groups", "Groups to create, with their members"),
    ("runcmd", "Commands to run last, in order"),
    ("timezone", "Time zone, for example Europe/Berlin"),
    ("locale", "System locale, for example C.UTF-8"),
    ("ntp", "Time synchronization"),
    ("ntp.enabled", "Whether to configure time servers [default: true]"),
    ("ntp.servers", "NTP servers"),
    ("ntp.pools", "NTP server pools"),
    ("ca_certs", "Additional trusted certificate authorities"),
    ("ca_certs.trusted", "Certificates in PEM format"),
    ("manage_etc_hosts", "localhost: map the hostname in /etc/hosts"),
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
