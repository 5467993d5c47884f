//! What fleetd was told, checked: everything that it needs, typed, with defaults filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use fleet_core::Capacity;
use serde::{Serialize, Serializer};
use unit_file::{parse_cpu, parse_memory};

use crate::given::{Given, GivenError};
use crate::limits::{SHORTEST_INTERVAL, SHORTEST_TTL};
use crate::value;

/// All of it may be printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// The log tells more.
    pub debug: bool,
    pub etcd: Etcd,
    /// The engine's lease lives five times as long.
    #[serde(serialize_with = "milliseconds")]
    pub engine_reconcile_interval: Duration,
    /// Unset: the address of the default route's interface.
    pub public_ip: Option<String>,
    pub metadata: BTreeMap<String, String>,
    #[serde(serialize_with = "milliseconds")]
    pub agent_ttl: Duration,
    pub units_directory: PathBuf,
    pub systemd_user: bool,
    /// Items on a page of the API; at least one.
    pub token_limit: u16,
    pub disable_engine: bool,
    pub disable_watches: bool,
    /// Whether units are stopped and unloaded when fleetd is stopped.
    pub purge_on_stop: bool,
    /// What is published; what is not set is no limit.
    #[serde(serialize_with = "as_stored")]
    pub capacity: Capacity,
    /// Where fleetds ask each other whether they have the store; `None`: they do not.
    pub partition_port: Option<u16>,
}

/// How the store is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Etcd {
    /// As they were given; the first that answers is used.
    pub servers: Vec<String>,
    pub username: Option<String>,
    pub password: Secret,
    pub key_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    /// Begins and ends with a slash.
    pub key_prefix: String,
    #[serde(serialize_with = "milliseconds")]
    pub request_timeout: Duration,
}

/// A text that is shown nowhere.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
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

/// From what was given; what is to be said of it is added to its warnings.
pub fn check(given: &mut Given) -> Result<Config, GivenError> {
    ignored(given)?;
    let metadata = metadata(given);
    let public_ip = public_ip(given);
    let most = i64::MAX;
    let units = given.some("capacity_units", |text| value::number(text, 0, most).map(i64::unsigned_abs))?;
    let port = given.value("partition_port", |text| value::small(text, 0))?;
    Ok(Config {
        debug: given.value("verbosity", |text| value::number(text, i64::MIN, most))? > 0,
        etcd: etcd(given)?,
        engine_reconcile_interval: given
            .value("engine_reconcile_interval", |text| value::seconds(text, SHORTEST_INTERVAL))?,
        public_ip,
        metadata,
        agent_ttl: given.value("agent_ttl", |text| value::duration(text, SHORTEST_TTL))?,
        units_directory: given.text("units_directory").into(),
        systemd_user: given.value("systemd_user", value::switch)?,
        token_limit: given.value("token_limit", |text| value::small(text, 1))?,
        disable_engine: given.value("disable_engine", value::switch)?,
        disable_watches: given.value("disable_watches", value::switch)?,
        purge_on_stop: given.value("purge_on_stop", value::switch)?,
        capacity: Capacity {
            units,
            memory: given.some("capacity_memory", |text| value::amount(text, parse_memory))?,
            cpu: given.some("capacity_cpu", |text| value::amount(text, parse_cpu))?,
        },
        partition_port: (port != 0).then_some(port),
    })
}

fn etcd(given: &Given) -> Result<Etcd, GivenError> {
    let path = |name| Some(given.text(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
    let prefix = given.text("etcd_key_prefix");
    Ok(Etcd {
        servers: given.value("etcd_servers", value::servers)?,
        username: Some(given.text("etcd_username")).filter(|name| !name.is_empty()),
        password: Secret(given.text("etcd_password")),
        key_file: path("etcd_keyfile"),
        cert_file: path("etcd_certfile"),
        ca_file: path("etcd_cafile"),
        key_prefix: match prefix.trim_matches('/') {
            "" => "/".to_owned(),
            inner => format!("/{inner}/"),
        },
        request_timeout: given
            .value("etcd_request_timeout", |text| value::seconds(text, Duration::from_millis(1)))?,
    })
}

fn metadata(given: &mut Given) -> BTreeMap<String, String> {
    let text = given.text("metadata");
    let (metadata, others) = value::metadata(&text);
    let said = others.into_iter().map(|item| format!("metadata: {item:?} is ignored: it is not `key=value`"));
    given.warnings.extend(said);
    metadata
}

/// Whoever reads it may take names, too; mostly it is a variable that nobody replaced.
fn public_ip(given: &mut Given) -> Option<String> {
    let text = Some(given.text("public_ip")).filter(|text| !text.is_empty())?;
    if text.parse::<IpAddr>().is_err() {
        given.warnings.push(format!("public_ip: {text:?} is no IP address; it is published as it is"));
    }
    Some(text)
}

/// The texts are the contract's.
fn ignored(given: &mut Given) -> Result<(), GivenError> {
    for name in ["enable_grpc", "verify_units"] {
        if given.value(name, value::switch)? {
            given.warnings.push(no_longer(name));
        }
    }
    if !given.text("authorized_keys_file").is_empty() {
        given.warnings.push(no_longer("authorized_keys_file"));
    }
    Ok(())
}

fn no_longer(name: &str) -> String {
    format!("Config option {name} is no longer supported - ignoring")
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn as_stored<S: Serializer>(capacity: &Capacity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&capacity.encode())
}
