//! The table of cloud-config keys: structure, types, constraints and deprecations.
//!
//! The validator and the config reader share this table, so that they cannot disagree. Its only behaviour is
//! to check whether a text is allowed.

mod json;
mod pattern;
mod services;

pub use json::json_schema;
pub use pattern::Allowed;
pub use services::{ETCD, ETCD2, FLANNEL, FLEET, LOCKSMITH, Service};

/// The type of a key's value.
#[derive(Debug, Clone, Copy)]
pub enum ValueKind {
    Text,
    Integer,
    Boolean,
    Float,
    TextList,
    /// A list of texts, or one text with comma-separated values.
    TextListOrCommaSeparated,
    /// A text, a list of texts, or `false`.
    Sudo,
    /// Group names as a list or comma-separated; a list entry may also map names to members.
    Groups,
    /// A list of commands, each a text or a list of arguments.
    Commands,
    /// A mapping of arbitrary names to texts.
    TextMap,
    Mapping(&'static [Key]),
    List(&'static [Key]),
}

impl ValueKind {
    /// The type name in `incorrect type` messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text | Self::Sudo => "string",
            Self::Integer => "int",
            Self::Boolean => "bool",
            Self::Float => "float64",
            Self::TextList | Self::TextListOrCommaSeparated => "[]string",
            Self::Mapping(_) => "struct",
            Self::TextMap => "map[string]string",
            Self::List(_) => "[]struct",
            Self::Groups => "[]string or []struct",
            Self::Commands => "[]string or [][]string",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub kind: ValueKind,
    pub deprecated: Option<&'static str>,
    /// Deprecation reason of the original validator, for services that this system ships.
    pub not_shipped: Option<&'static str>,
    /// Constraint on non-empty texts.
    pub allowed: Option<Allowed>,
    /// Name of the environment variable, unless it is the service's prefix with the upper-case key.
    pub variable: Option<&'static str>,
    /// Whether `false` and 0 are passed to the service; for other keys they count as unset.
    pub passes_zero: bool,
}

impl Key {
    const fn new(name: &'static str, kind: ValueKind) -> Self {
        Self {
            name,
            kind,
            deprecated: None,
            not_shipped: None,
            allowed: None,
            variable: None,
            passes_zero: false,
        }
    }

    const fn deprecated(mut self, reason: &'static str) -> Self {
        self.deprecated = Some(reason);
        self
    }

    const fn not_shipped(mut self, reason: &'static str) -> Self {
        self.not_shipped = Some(reason);
        self
    }

    const fn allowed(mut self, allowed: Allowed) -> Self {
        self.allowed = Some(allowed);
        self
    }

    const fn variable(mut self, name: &'static str) -> Self {
        self.variable = Some(name);
        self
    }

    const fn passes_zero(mut self) -> Self {
        self.passes_zero = true;
        self
    }
}

const fn text(name: &'static str) -> Key {
    Key::new(name, ValueKind::Text)
}

const fn boolean(name: &'static str) -> Key {
    Key::new(name, ValueKind::Boolean)
}

const fn integer(name: &'static str) -> Key {
    Key::new(name, ValueKind::Integer)
}

const fn float(name: &'static str) -> Key {
    Key::new(name, ValueKind::Float)
}

const NOT_SHIPPED_ETCD: &str = "etcd is no longer shipped in Container Linux";
const NOT_SHIPPED_ETCD2: &str = "etcd2 is no longer shipped in Container Linux";
const NOT_SHIPPED_FLEET: &str = "fleet is no longer shipped in Container Linux";
const IMPORT_DEPRECATED: &str = "keys are imported at each boot from a place that may be gone or taken over";

pub const DOCUMENT: &[Key] = &[
    Key::new("coreos", ValueKind::Mapping(COREOS)),
    Key::new("ssh_authorized_keys", ValueKind::TextList),
    text("hostname"),
    Key::new("users", ValueKind::List(USER)),
    Key::new("write_files", ValueKind::List(FILE)),
    text("manage_etc_hosts"),
    // Keys of cloud-init, unknown to the original.
    Key::new("groups", ValueKind::Groups),
    Key::new("runcmd", ValueKind::Commands),
    text("timezone"),
    text("locale"),
    Key::new("ntp", ValueKind::Mapping(NTP)),
    Key::new("ca_certs", ValueKind::Mapping(CA_CERTS)),
];

const NTP: &[Key] =
    &[boolean("enabled"), Key::new("servers", ValueKind::TextList), Key::new("pools", ValueKind::TextList)];

const CA_CERTS: &[Key] = &[Key::new("trusted", ValueKind::TextList)];

pub const COREOS: &[Key] = &[
    Key::new("etcd", ValueKind::Mapping(ETCD.keys)).not_shipped(NOT_SHIPPED_ETCD),
    Key::new("etcd2", ValueKind::Mapping(ETCD2.keys)).not_shipped(NOT_SHIPPED_ETCD2),
    Key::new("flannel", ValueKind::Mapping(FLANNEL.keys)),
    Key::new("fleet", ValueKind::Mapping(FLEET.keys)).not_shipped(NOT_SHIPPED_FLEET),
    Key::new("locksmith", ValueKind::Mapping(LOCKSMITH.keys)),
    Key::new("oem", ValueKind::Mapping(OEM)),
    Key::new("update", ValueKind::Mapping(UPDATE)),
    Key::new("units", ValueKind::List(UNIT)),
];

const USER: &[Key] = &[
    text("name"),
    text("passwd"),
    Key::new("ssh_authorized_keys", ValueKind::TextList),
    text("coreos_ssh_import_github").deprecated(IMPORT_DEPRECATED),
    Key::new("coreos_ssh_import_github_users", ValueKind::TextList).deprecated(IMPORT_DEPRECATED),
    text("coreos_ssh_import_url").deprecated(IMPORT_DEPRECATED),
    text("gecos"),
    text("homedir"),
    boolean("no_create_home"),
    text("primary_group"),
    Key::new("groups", ValueKind::TextListOrCommaSeparated),
    boolean("no_user_group"),
    boolean("system"),
    boolean("no_log_init"),
    text("shell"),
    text("uid"),
    boolean("lock_passwd"),
    Key::new("sudo", ValueKind::Sudo),
];

const FILE: &[Key] = &[
    text("encoding").allowed(pattern::ENCODING),
    text("content"),
    text("owner"),
    text("path"),
    text("permissions").allowed(pattern::PERMISSIONS),
    // Keys of cloud-init, unknown to the original.
    boolean("append"),
    boolean("overwrite"),
    boolean("defer"),
    Key::new("source", ValueKind::Mapping(SOURCE)),
];

const SOURCE: &[Key] = &[text("uri"), Key::new("headers", ValueKind::TextMap)];

const UNIT: &[Key] = &[
    text("name"),
    boolean("mask"),
    boolean("enable"),
    boolean("runtime"),
    text("content"),
    text("command").allowed(pattern::COMMAND),
    Key::new("drop_ins", ValueKind::List(DROP_IN)),
];

const DROP_IN: &[Key] = &[text("name"), text("content")];

const OEM: &[Key] = &[text("id"), text("name"), text("version_id"), text("home_url"), text("bug_report_url")];

const UPDATE: &[Key] =
    &[text("reboot_strategy").allowed(pattern::REBOOT_STRATEGY), text("group"), text("server")];

pub use pattern::{command as is_command, mode, reboot_strategy as is_reboot_strategy};
