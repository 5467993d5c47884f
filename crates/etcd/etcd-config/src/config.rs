//! The validated configuration of the server, with defaults.
//!
//! It contains paths of keys, never keys, so it may be printed.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::url::Url;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    pub name: String,
    /// Contains either `member/` or `proxy/`. Mode 0700.
    pub data_dir: PathBuf,
    /// Directory of the log, if not below `data_dir`.
    pub wal_dir: Option<PathBuf>,
    /// Number of applied entries between snapshots.
    pub snapshot_count: u64,
    /// Number of files to keep; 0 keeps all.
    pub max_snapshots: u64,
    pub max_wals: u64,
    #[serde(serialize_with = "milliseconds", rename = "heartbeat-interval-ms")]
    pub heartbeat_interval: Duration,
    #[serde(serialize_with = "milliseconds", rename = "election-timeout-ms")]
    pub election_timeout: Duration,
    /// URL lists are sorted by text, since ids are computed from `advertise_peer`; except for `advertise_client`.
    pub listen_peer: Vec<Url>,
    pub listen_client: Vec<Url>,
    /// 3.x's `listen-metrics-urls`: only `/metrics` and `/health`. https URLs have the clients' certificate.
    pub listen_metrics: Vec<Url>,
    pub advertise_peer: Vec<Url>,
    /// In publishing order: on the node, the URL with port 2379 is first.
    pub advertise_client: Vec<Url>,
    pub client_tls: Tls,
    pub peer_tls: Tls,
    pub cors: Cors,
    /// `-host-whitelist`, as configured.
    pub host_whitelist: Vec<String>,
    #[serde(rename = "founding")]
    pub bootstrap_method: BootstrapMethod,
    /// Replace the membership by this member and keep the data, after a permanent loss of quorum.
    pub force_new_cluster: bool,
    /// Reject membership changes that would lose quorum.
    pub strict_reconfig_check: bool,
    pub proxy: Proxy,
    pub log: Log,
    /// `etcdserver` in `/version`; Patroni's v3 driver requires 3.x.
    pub reported_version: String,
    pub v3: V3,
}

/// How a member with an empty data directory gets to its cluster. Ignored otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum BootstrapMethod {
    /// `-initial-cluster`: the list of all members.
    Static {
        /// Not validated: an error in it is ignored if the data directory has a member.
        /// `initial_cluster::InitialCluster::parse` validates it later.
        cluster: String,
        state: ClusterState,
        token: String,
    },
    /// `-peers`: the listed peers; see `bootstrap::peers`.
    Peers { listed: Vec<Url>, token: String },
    /// `-discovery`: a token URL.
    Discovery {
        /// Not validated, for the same reason; `discovery::DiscoveryUrl::parse` parses it. It is also the cluster's
        /// token.
        #[serde(serialize_with = "without_password")]
        url: String,
        #[serde(serialize_with = "without_any_password")]
        proxy: Option<String>,
        fallback: Fallback,
    },
    /// `-discovery-srv`: SRV records of the members.
    Srv { domain: String, state: ClusterState, token: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterState {
    New,
    Existing,
}

/// What to do if the discovered cluster is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    Proxy,
    Exit,
}

/// TLS settings of client or peer traffic. Only paths: files are reloaded when they change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tls {
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// CA to verify client certificates with; for peers also server certificates.
    pub trusted_ca_file: Option<PathBuf>,
    pub client_cert_auth: bool,
    /// Use a self-signed certificate if no files are set (3.x).
    pub auto: bool,
}

impl Tls {
    /// Whether there is a certificate to serve with.
    pub fn is_set(&self) -> bool {
        self.auto || (self.cert_file.is_some() && self.key_file.is_some())
    }
}

/// Allowed CORS origins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cors {
    #[default]
    Off,
    Any,
    Origins(Vec<String>),
}

impl Cors {
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Off => false,
            Self::Any => true,
            Self::Origins(origins) => origins.iter().any(|allowed| allowed == origin),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyMode {
    Off,
    ReadOnly,
    On,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Proxy {
    pub mode: ProxyMode,
    /// Time until a failed endpoint is retried.
    #[serde(serialize_with = "milliseconds", rename = "failure-wait-ms")]
    pub failure_wait: Duration,
    #[serde(serialize_with = "milliseconds", rename = "refresh-interval-ms")]
    pub refresh_interval: Duration,
    #[serde(serialize_with = "milliseconds", rename = "dial-timeout-ms")]
    pub dial_timeout: Duration,
    /// Zero disables the timeout.
    #[serde(serialize_with = "milliseconds", rename = "write-timeout-ms")]
    pub write_timeout: Duration,
    /// Zero disables the timeout, as watches require.
    #[serde(serialize_with = "milliseconds", rename = "read-timeout-ms")]
    pub read_timeout: Duration,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Log {
    pub debug: bool,
    /// `package=LEVEL,...`, not parsed.
    pub package_levels: Option<String>,
}

/// Settings of the v3 API, which are accepted but not used yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct V3 {
    pub quota_backend_bytes: u64,
    pub max_request_bytes: u64,
    pub max_txn_ops: u64,
    /// 0 disables compaction; hours, a duration or a number of revisions, depending on the mode.
    pub auto_compaction_retention: String,
    pub auto_compaction_mode: String,
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// `http://user:password@host` must not be printed in full.
fn without_password<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hide_password(url))
}

fn without_any_password<S: Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_deref().map(hide_password).serialize(serializer)
}

/// The URL with user and password masked.
pub fn hide_password(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    match url[start..end].rfind('@') {
        Some(at) => format!("{}***{}", &url[..start], &url[start + at..]),
        None => url.to_owned(),
    }
}
