//! Every key of the file, with its default: what is read, what `--help` shows.

#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// As it would stand in the file; empty where there is none.
    pub default: &'static str,
    pub standing: Standing,
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The original's.
    Classic,
    /// An addition of ours.
    Ours,
    /// Taken, without effect; the log says so.
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

const fn classic(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default, standing: Standing::Classic, help }
}

const fn ours(name: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, default, standing: Standing::Ours, help }
}

const fn ignored(name: &'static str, default: &'static str) -> Key {
    Key { name, default, standing: Standing::Ignored, help: "Taken, without effect." }
}

pub const KEYS: [Key; 26] = [
    classic("verbosity", "0", "More than 0: the log tells more."),
    classic("etcd_servers", "http://127.0.0.1:2379,http://127.0.0.1:4001", "Servers of the store."),
    classic("etcd_username", "", "Whom the store knows."),
    classic("etcd_password", "", "Of that user; better a variable than a file that others read."),
    classic("etcd_keyfile", "", "Key of our certificate."),
    classic("etcd_certfile", "", "Certificate to show to the store."),
    classic("etcd_cafile", "", "Whose certificates the store must show; else the machine's authorities."),
    classic("etcd_key_prefix", "/_coreos.com/fleet/", "What all our keys begin with."),
    classic("etcd_request_timeout", "1.0", "Seconds for one request to the store."),
    classic(
        "engine_reconcile_interval",
        "2.0",
        "Seconds between two passes of the engine; a fifth of its lease.",
    ),
    classic("public_ip", "", "The address that is published; else the default route's."),
    classic("metadata", "", "Of this machine, like region=eu,disk=ssd."),
    classic("agent_ttl", "30s", "How long this machine is present without saying so again, like 30s or 2m."),
    classic("units_directory", "/run/fleet/units/", "Where unit files are written."),
    classic("systemd_user", "false", "Talk to the user's systemd, not to the system's."),
    classic("token_limit", "100", "Items on a page of the API."),
    classic("disable_engine", "false", "Never decide where units go; other machines do."),
    classic("disable_watches", "false", "Look at the store at intervals only."),
    ours("purge_on_stop", "true", "Stop this machine's units when fleetd is stopped; else they run on."),
    ours("capacity_units", "", "How many units this machine takes."),
    ours("capacity_memory", "", "How much its units may request by MemoryRequest in all, like 512M or 8G."),
    ours("capacity_cpu", "", "The same for CPURequest, like 2, 0.5 or 50%."),
    ours("partition_port", "49154", "Where fleetds ask each other whether they have the store; 0: nowhere."),
    ignored("enable_grpc", "false"),
    ignored("verify_units", "false"),
    ignored("authorized_keys_file", ""),
];
