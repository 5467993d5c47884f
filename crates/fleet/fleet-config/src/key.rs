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
    Key { name, default, kind: KeyKind::Ignored, help: "Ignored." }
}

pub const KEYS: [Key; 26] = [
    original("verbosity", "0", "Log level; values above 0 enable debug logging."),
    original("etcd_servers", "http://127.0.0.1:2379,http://127.0.0.1:4001", "Comma-separated URLs of etcd."),
    original("etcd_username", "", "User name for etcd."),
    original("etcd_password", "", "Password for etcd. Prefer the variable if others can read the file."),
    original("etcd_keyfile", "", "Private key of the client certificate."),
    original("etcd_certfile", "", "Client certificate for etcd."),
    original("etcd_cafile", "", "CA bundle to verify etcd with; default: the system's CA certificates."),
    original("etcd_key_prefix", "/_coreos.com/fleet/", "Prefix of all keys in etcd."),
    original("etcd_request_timeout", "1.0", "Timeout of a request to etcd, in seconds."),
    original(
        "engine_reconcile_interval",
        "2.0",
        "Interval of engine reconciliations, in seconds; its lease lasts five intervals.",
    ),
    original("public_ip", "", "IP address to publish; default: that of the default route."),
    original("metadata", "", "Metadata of this machine, such as region=eu,disk=ssd."),
    original("agent_ttl", "30s", "TTL of the presence of this machine, such as 30s or 2m."),
    original("units_directory", "/run/fleet/units/", "Directory for unit files."),
    original("systemd_user", "false", "Use the systemd user instance."),
    original("token_limit", "100", "Maximum number of items per page of the API."),
    original("disable_engine", "false", "Never become the engine leader, which schedules units."),
    original("disable_watches", "false", "Poll etcd instead of watching it."),
    extension("purge_on_stop", "true", "Stop the units of this machine when fleetd is stopped."),
    extension("capacity_units", "", "Maximum number of units on this machine."),
    extension("capacity_memory", "", "Total MemoryRequest of the units on this machine, such as 512M or 8G."),
    extension("capacity_cpu", "", "Total CPURequest of the units on this machine, such as 2, 0.5 or 50%."),
    extension(
        "partition_port",
        "49154",
        "UDP port to query peers about their connection to etcd; 0 disables it.",
    ),
    ignored("enable_grpc", "false"),
    ignored("verify_units", "false"),
    ignored("authorized_keys_file", ""),
];
