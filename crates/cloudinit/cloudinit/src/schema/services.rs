//! Services configured by environment variables (contract 2.5).
//!
//! The order of each table is the order of the variables in the file.

use super::{Key, boolean, float, integer, pattern, text};

/// A block below `coreos`.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    pub block: &'static str,
    /// The unit that reads the variables; flannel reads a file instead.
    pub unit: Option<&'static str>,
    pub prefix: &'static str,
    pub keys: &'static [Key],
}

impl Service {
    /// In the order in which the units are planned.
    pub const ALL: &[Self] = &[ETCD, ETCD2, FLEET, LOCKSMITH, FLANNEL];

    /// Returns the environment variable for `key`.
    pub fn variable(self, key: &Key) -> String {
        match key.variable {
            Some(name) => name.to_owned(),
            None => format!("{}{}", self.prefix, key.name.to_uppercase()),
        }
    }
}

const ETCD2_ONLY: &str = "etcd2 options no longer work for etcd";

const fn new_etcd(key: Key) -> Key {
    key.deprecated(ETCD2_ONLY)
}

pub const ETCD: Service =
    Service { block: "etcd", unit: Some("etcd.service"), prefix: "ETCD_", keys: ETCD_KEYS };
pub const ETCD2: Service =
    Service { block: "etcd2", unit: Some("etcd2.service"), prefix: "ETCD_", keys: ETCD2_KEYS };
pub const FLEET: Service =
    Service { block: "fleet", unit: Some("fleet.service"), prefix: "FLEET_", keys: FLEET_KEYS };
pub const FLANNEL: Service =
    Service { block: "flannel", unit: None, prefix: "FLANNELD_", keys: FLANNEL_KEYS };
pub const LOCKSMITH: Service = Service {
    block: "locksmith",
    unit: Some("locksmithd.service"),
    prefix: "LOCKSMITHD_",
    keys: LOCKSMITH_KEYS,
};

const ETCD_KEYS: &[Key] = &[
    text("addr"),
    new_etcd(text("advertise_client_urls")),
    text("bind_addr"),
    text("ca_file"),
    text("cert_file"),
    integer("cluster_active_size"),
    float("cluster_remove_delay"),
    float("cluster_sync_interval"),
    text("cors"),
    text("data_dir"),
    text("discovery"),
    new_etcd(text("discovery_fallback")),
    new_etcd(text("discovery_srv")),
    new_etcd(text("discovery_proxy")),
    new_etcd(integer("election_timeout")),
    new_etcd(boolean("force_new_cluster")),
    text("graphite_host"),
    new_etcd(integer("heartbeat_interval")),
    float("http_read_timeout"),
    float("http_write_timeout"),
    new_etcd(text("initial_advertise_peer_urls")),
    new_etcd(text("initial_cluster")),
    new_etcd(text("initial_cluster_state")),
    new_etcd(text("initial_cluster_token")),
    text("key_file"),
    new_etcd(text("listen_client_urls")),
    new_etcd(text("listen_peer_urls")),
    integer("max_result_buffer"),
    integer("max_retry_attempts"),
    new_etcd(integer("max_snapshots")),
    new_etcd(integer("max_wals")),
    text("name"),
    text("peer_addr"),
    text("peer_bind_addr"),
    text("peer_ca_file"),
    text("peer_cert_file"),
    integer("peer_election_timeout"),
    integer("peer_heartbeat_interval"),
    text("peer_key_file"),
    text("peers"),
    text("peers_file"),
    new_etcd(text("proxy")),
    float("retry_interval"),
    boolean("snapshot"),
    integer("snapshot_count").variable("ETCD_SNAPSHOTCOUNT"),
    text("trace"),
    boolean("verbose"),
    boolean("very_verbose"),
    boolean("very_very_verbose"),
];

const ETCD2_KEYS: &[Key] = &[
    text("advertise_client_urls"),
    text("ca_file").deprecated("ca_file obsoleted by trusted_ca_file and client_cert_auth"),
    text("cert_file"),
    boolean("client_cert_auth"),
    text("cors"),
    text("data_dir"),
    boolean("debug"),
    text("discovery"),
    text("discovery_fallback"),
    text("discovery_srv"),
    text("discovery_proxy"),
    integer("election_timeout"),
    boolean("enable_pprof"),
    boolean("force_new_cluster"),
    integer("heartbeat_interval"),
    text("initial_advertise_peer_urls"),
    text("initial_cluster"),
    text("initial_cluster_state"),
    text("initial_cluster_token"),
    text("key_file"),
    text("listen_client_urls"),
    text("listen_peer_urls"),
    text("log_package_levels"),
    integer("max_snapshots"),
    integer("max_wals"),
    text("name"),
    text("peer_ca_file").deprecated("peer_ca_file obsoleted peer_trusted_ca_file and peer_client_cert_auth"),
    text("peer_cert_file"),
    text("peer_key_file"),
    boolean("peer_client_cert_auth"),
    text("peer_trusted_ca_file"),
    text("proxy").allowed(pattern::PROXY),
    integer("proxy_dial_timeout"),
    integer("proxy_failure_wait"),
    integer("proxy_read_timeout"),
    integer("proxy_refresh_interval"),
    integer("proxy_write_timeout"),
    integer("snapshot_count"),
    boolean("strict_reconfig_check"),
    text("trusted_ca_file"),
    text("wal_dir"),
];

const FLEET_KEYS: &[Key] = &[
    text("agent_ttl"),
    text("authorized_keys_file"),
    boolean("disable_engine"),
    float("engine_reconcile_interval"),
    text("etcd_cafile"),
    text("etcd_certfile"),
    text("etcd_keyfile"),
    text("etcd_key_prefix"),
    float("etcd_request_timeout"),
    text("etcd_servers"),
    text("etcd_username"),
    text("etcd_password"),
    text("metadata"),
    text("public_ip"),
    integer("token_limit"),
    integer("verbosity"),
    boolean("verify_units"),
    // Options of fleetd, unknown to the original cloud-config.
    text("capacity_cpu"),
    text("capacity_memory"),
    integer("capacity_units").passes_zero(),
    boolean("disable_watches"),
    boolean("enable_grpc"),
    integer("partition_port").passes_zero(),
    boolean("purge_on_stop").passes_zero(),
    boolean("systemd_user"),
    text("units_directory"),
];

const FLANNEL_KEYS: &[Key] = &[
    text("etcd_endpoints"),
    text("etcd_cafile"),
    text("etcd_certfile"),
    text("etcd_keyfile"),
    text("etcd_prefix"),
    text("etcd_username"),
    text("etcd_password"),
    text("ip_masq"),
    text("subnet_file"),
    text("interface").variable("FLANNELD_IFACE"),
    text("public_ip"),
];

const LOCKSMITH_KEYS: &[Key] = &[
    text("endpoint"),
    text("etcd_cafile"),
    text("etcd_certfile"),
    text("etcd_keyfile"),
    text("etcd_username"),
    text("etcd_password"),
    text("group"),
    text("window_start").variable("REBOOT_WINDOW_START").allowed(pattern::WINDOW_START),
    text("window_length").variable("REBOOT_WINDOW_LENGTH").allowed(pattern::WINDOW_LENGTH),
];
