//! The table of all keys, with defaults and help texts.

#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// In the syntax of the file; empty for none.
    pub default: &'static str,
    pub kind: KeyKind,
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A key of the original.
    Original,
    /// Not in the original.
    Extension,
    /// Accepted without effect, with a warning.
    Ignored,
}

impl Key {
    pub fn variable(&self) -> String {
        format!("FLEET_{}", self.name.to_ascii_uppercase())
    }
}

pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

const fn original(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default, kind: KeyKind::Original, help }
}

const fn extension(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default, kind: KeyKind::Extension, help }
}

const fn ignored(name: &'static str, default: &'static str) -> Key {
    Key { name, default, kind: KeyKind::Ignored, help: "Taken, without effect." }
}

pub const KEYS: [Key; 26] = [
    original("verbosity", "0", "More than 0: the log tells more."),
    original("etcd_servers", "http://127.0.0.1:2379,http://127.0.0.1:4001", "Servers of the store."),
    original("etcd_username", "", "Whom the store knows."),
    original("etcd_password", "", "Of that user; better a variable than a file that others read."),
    original("etcd_keyfile", "", "Key of our certificate."),
    original("etcd_certfile", "", "Certificate to show to the store."),
    original("etcd_cafile", "", "Whose certificates the store must show; else the machine's authorities."),
    original("etcd_key_prefix", "/_coreos.com/fleet/", "What all our keys begin with."),
    original("etcd_request_timeout", "1.0", "Seconds for one request to the store."),
    original(
        "engine_reconcile_interval",
        "2.0",
        "Seconds between two passes of the engine; a fifth of its lease.",
    ),
    original("public_ip", "", "The address that is published; else the default route's."),
    original("metadata", "", "Of this machine, like region=eu,disk=ssd."),
    original("agent_ttl", "30s", "How long this machine is present without saying so again, like 30s or 2m."),
    original("units_directory", "/run/fleet/units/", "Where unit files are written."),
    original("systemd_user", "false", "Talk to the user's systemd, not to the system's."),
    original("token_limit", "100", "Items on a page of the API."),
    original("disable_engine", "false", "Never decide where units go; other machines do."),
    original("disable_watches", "false", "Look at the store at intervals only."),
    extension("purge_on_stop", "true", "Stop this machine's units when fleetd is stopped; else they run on."),
    extension("capacity_units", "", "How many units this machine takes."),
    extension(
        "capacity_memory",
        "",
        "How much its units may request by MemoryRequest in all, like 512M or 8G.",
    ),
    extension("capacity_cpu", "", "The same for CPURequest, like 2, 0.5 or 50%."),
    extension(
        "partition_port",
        "49154",
        "Where fleetds ask each other whether they have the store; 0: nowhere.",
    ),
    ignored("enable_grpc", "false"),
    ignored("verify_units", "false"),
    ignored("authorized_keys_file", ""),
];
