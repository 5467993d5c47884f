//! The validated configuration of fleetd, with defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use fleet_core::Capacity;
use serde::{Serialize, Serializer};
use unit_file::{parse_cpu, parse_memory};

use crate::limits::{MIN_INTERVAL, MIN_TTL};
use crate::raw_config::{ConfigError, RawConfig};
use crate::value;

/// Contains no secrets in its `Debug` and serialized output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Enables debug logging.
    pub debug: bool,
    /// The connection to etcd.
    pub etcd: Etcd,
    /// The TTL of the engine's lease is five times this interval.
    #[serde(serialize_with = "milliseconds")]
    pub engine_reconcile_interval: Duration,
    /// `None` uses the address of the default route's interface.
    pub public_ip: Option<String>,
    /// Of this machine, for `MachineMetadata=`.
    pub metadata: BTreeMap<String, String>,
    /// TTL of the machine's presence. Its units are moved to other machines when it expires.
    #[serde(serialize_with = "milliseconds")]
    pub agent_ttl: Duration,
    /// Where unit files are written.
    pub units_directory: PathBuf,
    /// Use the user's instance of systemd.
    pub systemd_user: bool,
    /// Items per page of the API; at least one.
    pub token_limit: u16,
    /// Never schedule units; other machines do.
    pub disable_engine: bool,
    /// Poll etcd only.
    pub disable_watches: bool,
    /// Stop and unload all units when fleetd stops.
    pub purge_on_stop: bool,
    /// Published capacity; unset values are unlimited.
    #[serde(serialize_with = "as_stored")]
    pub capacity: Capacity,
    /// UDP port of requests to peers about the store; `None` disables them.
    pub partition_port: Option<u16>,
}

/// Connection to etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Etcd {
    /// Tried in this order.
    pub servers: Vec<String>,
    /// For basic authentication; `None` disables it.
    pub username: Option<String>,
    /// Of `username`.
    pub password: Secret,
    /// Key of the client certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// Client certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// Certificates that sign etcd's, PEM; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Starts and ends with a slash.
    pub key_prefix: String,
    /// Timeout of one request to one server.
    #[serde(serialize_with = "milliseconds")]
    pub request_timeout: Duration,
}

/// A string that `Debug` and serialization redact.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The string itself; never to be logged.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "***" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

/// Validates all values. Adds to the warnings of `raw`.
pub fn check(raw: &mut RawConfig) -> Result<Config, ConfigError> {
    warn_of_ignored_keys(raw)?;
    let metadata = metadata(raw);
    let public_ip = public_ip(raw);
    let max = i64::MAX;
    let units = raw.optional("capacity_units", |text| value::number(text, 0, max).map(i64::unsigned_abs))?;
    let port = raw.value("partition_port", |text| value::u16_at_least(text, 0))?;
    Ok(Config {
        debug: raw.value("verbosity", |text| value::number(text, i64::MIN, max))? > 0,
        etcd: etcd(raw)?,
        engine_reconcile_interval: raw
            .value("engine_reconcile_interval", |text| value::seconds(text, MIN_INTERVAL))?,
        public_ip,
        metadata,
        agent_ttl: raw.value("agent_ttl", |text| value::duration(text, MIN_TTL))?,
        units_directory: raw.text("units_directory").into(),
        systemd_user: raw.value("systemd_user", value::switch)?,
        token_limit: raw.value("token_limit", |text| value::u16_at_least(text, 1))?,
        disable_engine: raw.value("disable_engine", value::switch)?,
        disable_watches: raw.value("disable_watches", value::switch)?,
        purge_on_stop: raw.value("purge_on_stop", value::switch)?,
        capacity: Capacity {
            units,
            memory: raw.optional("capacity_memory", |text| value::amount(text, parse_memory))?,
            cpu: raw.optional("capacity_cpu", |text| value::amount(text, parse_cpu))?,
        },
        partition_port: (port != 0).then_some(port),
    })
}

fn etcd(raw: &RawConfig) -> Result<Etcd, ConfigError> {
    let path = |name| Some(raw.text(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
    let prefix = raw.text("etcd_key_prefix");
    Ok(Etcd {
        servers: raw.value("etcd_servers", value::servers)?,
        username: Some(raw.text("etcd_username")).filter(|name| !name.is_empty()),
        password: Secret(raw.text("etcd_password")),
        key_file: path("etcd_keyfile"),
        cert_file: path("etcd_certfile"),
        ca_file: path("etcd_cafile"),
        key_prefix: match prefix.trim_matches('/') {
            "" => "/".to_owned(),
            inner => format!("/{inner}/"),
        },
        request_timeout: raw
            .value("etcd_request_timeout", |text| value::seconds(text, Duration::from_millis(1)))?,
    })
}

fn metadata(raw: &mut RawConfig) -> BTreeMap<String, String> {
    let text = raw.text("metadata");
    let (metadata, others) = value::metadata(&text);
    let warnings =
        others.into_iter().map(|item| format!("metadata: {item:?} is ignored: it is not `key=value`"));
    raw.warnings.extend(warnings);
    metadata
}

/// Names are accepted with a warning: mostly, they are unreplaced variables of a cloud-config.
fn public_ip(raw: &mut RawConfig) -> Option<String> {
    let text = Some(raw.text("public_ip")).filter(|text| !text.is_empty())?;
    if text.parse::<IpAddr>().is_err() {
        raw.warnings.push(format!("public_ip: {text:?} is no IP address; it is published as it is"));
    }
    Some(text)
}

/// The messages are those of the contract.
fn warn_of_ignored_keys(raw: &mut RawConfig) -> Result<(), ConfigError> {
    for name in ["enable_grpc", "verify_units"] {
        if raw.value(name, value::switch)? {
            raw.warnings.push(no_longer_supported(name));
        }
    }
    if !raw.text("authorized_keys_file").is_empty() {
        raw.warnings.push(no_longer_supported("authorized_keys_file"));
    }
    Ok(())
}

fn no_longer_supported(name: &str) -> String {
    format!("Config option {name} is no longer supported - ignoring")
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn as_stored<S: Serializer>(capacity: &Capacity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&capacity.encode())
}
