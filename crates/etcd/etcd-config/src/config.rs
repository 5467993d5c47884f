//! What the server was told, checked: the "high" side of the flags.
//!
//! Everything a program needs is here, typed, with defaults filled in. It holds paths of keys, never keys, so
//! that all of it may be printed.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::url::Url;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    pub name: String,
    /// Holds `member/` or `proxy/`, never both. Mode 0700.
    pub data_dir: PathBuf,
    /// The log's own place, where it is not below `data_dir`.
    pub wal_dir: Option<PathBuf>,
    /// Applied entries between two snapshots.
    pub snapshot_count: u64,
    /// Files kept; 0 = all.
    pub max_snapshots: u64,
    pub max_wals: u64,
    #[serde(serialize_with = "milliseconds", rename = "heartbeat-interval-ms")]
    pub heartbeat_interval: Duration,
    #[serde(serialize_with = "milliseconds", rename = "election-timeout-ms")]
    pub election_timeout: Duration,
    /// Each list is sorted by text (ids are computed from `advertise_peer`) - but see `advertise_client`.
    pub listen_peer: Vec<Url>,
    pub listen_client: Vec<Url>,
    /// Also `listen_metrics_urls` of 3.x: plain `/metrics` and `/health`.
    pub listen_metrics: Vec<Url>,
    pub advertise_peer: Vec<Url>,
    /// In the order in which it is published: on the node the 2379 URL comes first.
    pub advertise_client: Vec<Url>,
    pub client_tls: Tls,
    pub peer_tls: Tls,
    pub cors: Cors,
    pub founding: Founding,
    /// Rewrite the membership to this one member, and keep the data: the way back from a lost majority.
    pub force_new_cluster: bool,
    /// Refuse changes of the membership that would lose the quorum.
    pub strict_reconfig_check: bool,
    pub proxy: Proxy,
    pub log: Log,
    /// Serve profiles below `/debug/pprof`.
    pub enable_pprof: bool,
    /// `etcdserver` in `/version`; Patroni's v3 driver wants 3.x there.
    pub reported_version: String,
    pub v3: V3,
}

/// How a member with an empty data directory comes to its cluster. Ignored when it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Founding {
    /// `-initial-cluster`: all members are named beforehand.
    Static {
        /// As given: a mistake in it is none while the data directory has a member, so it is checked later,
        /// by `initial_cluster::InitialCluster::parse`.
        cluster: String,
        state: ClusterState,
        token: String,
    },
    /// `-peers`: own peer URLs and these are the set S; see `bootstrap::peers`.
    Peers { listed: Vec<Url>, token: String },
    /// `-discovery`: a token URL.
    Discovery {
        /// As given, for the same reason; `discovery::DiscoveryUrl::parse` reads it. It is the token too.
        #[serde(serialize_with = "without_password")]
        url: String,
        #[serde(serialize_with = "without_any_password")]
        proxy: Option<String>,
        fallback: Fallback,
    },
    /// `-discovery-srv`: DNS names the members.
    Srv { domain: String, state: ClusterState, token: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterState {
    New,
    Existing,
}

/// What to do when discovery says that the cluster is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    Proxy,
    Exit,
}

/// TLS of one side. Paths only: the program reads, and reads again when files change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tls {
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// Whoever connects must show a certificate of this authority; for peers it also judges who is connected to.
    pub trusted_ca_file: Option<PathBuf>,
    pub client_cert_auth: bool,
    /// Make a self-signed certificate at start when no files are given (3.x).
    pub auto: bool,
}

impl Tls {
    /// Is there a certificate to serve with?
    pub fn is_set(&self) -> bool {
        self.auto || (self.cert_file.is_some() && self.key_file.is_some())
    }
}

/// Origins that may use the API from a browser.
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
    /// A failed endpoint is left alone for so long.
    #[serde(serialize_with = "milliseconds", rename = "failure-wait-ms")]
    pub failure_wait: Duration,
    #[serde(serialize_with = "milliseconds", rename = "refresh-interval-ms")]
    pub refresh_interval: Duration,
    #[serde(serialize_with = "milliseconds", rename = "dial-timeout-ms")]
    pub dial_timeout: Duration,
    /// Zero = none.
    #[serde(serialize_with = "milliseconds", rename = "write-timeout-ms")]
    pub write_timeout: Duration,
    /// Zero = none: watches would end by any other.
    #[serde(serialize_with = "milliseconds", rename = "read-timeout-ms")]
    pub read_timeout: Duration,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Log {
    pub debug: bool,
    /// `package=LEVEL,...` as given.
    pub package_levels: Option<String>,
}

/// Accepted for v3 and kept here until v3 is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct V3 {
    pub quota_backend_bytes: u64,
    pub max_request_bytes: u64,
    pub max_txn_ops: u64,
    /// 0 = never; hours, a duration or a number of revisions, by the mode.
    pub auto_compaction_retention: String,
    pub auto_compaction_mode: String,
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// `http://user:password@host` must not be printed whole.
fn without_password<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hide_password(url))
}

fn without_any_password<S: Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_deref().map(hide_password).serialize(serializer)
}

/// The URL for people: what stands before an `@` is left out.
pub fn hide_password(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    match url[start..end].rfind('@') {
        Some(at) => format!("{}***{}", &url[..start], &url[start + at..]),
        None => url.to_owned(),
    }
}
