//! Validates the flags in combination: `RawConfig` to [`Config`], or an error.

mod address;
mod bootstrap_method;
mod error;
mod security;

use std::path::PathBuf;
use std::time::Duration;

pub use error::CheckError;

use crate::config::{Config, Cors, Log, Proxy, ProxyMode, V3};
use crate::facts::Facts;
use crate::flag::table::{self, DEFAULT_NAME};
use crate::flag::{Group, Status};
use crate::limits::{HEARTBEATS_PER_ELECTION, MAX_ELECTION_TIMEOUT_MS};
use crate::raw_config::RawConfig;

/// Returns the configuration and warnings.
pub fn check(raw: &RawConfig, facts: &Facts) -> Result<(Config, Vec<String>), CheckError> {
    let mut warnings = raw.warnings.clone();
    bootstrap_method::check_single_method(raw)?;
    let name = name(raw, facts)?;
    let client_tls = security::tls(raw, &security::CLIENT, &mut warnings)?;
    let peer_tls = security::tls(raw, &security::PEER, &mut warnings)?;
    let with_tls = (client_tls.is_set(), peer_tls.is_set());
    let addresses = address::addresses(raw, facts, with_tls)?;
    warnings.extend(security::check_listeners(&addresses.listen_client, &client_tls, &security::CLIENT)?);
    warnings.extend(security::check_listeners(&addresses.listen_peer, &peer_tls, &security::PEER)?);
    let listen_metrics = raw.urls("listen-metrics-urls");
    security::check_certificate(&listen_metrics, &client_tls, &security::CLIENT)?;
    warnings.extend(security::check_public_peers(&addresses.advertise_peer));
    if raw.switch("enable-pprof") {
        warnings.push("flag \"-enable-pprof\" has no effect: there is no Go runtime to profile".to_owned());
    }
    let proxy = proxy(raw);
    check_advertised(raw, &proxy)?;
    let (heartbeat_interval, election_timeout) = timing(raw, &mut warnings)?;
    if raw.number("snapshot-count") == 0 {
        return Err(CheckError::NoSnapshots);
    }
    let selection =
        bootstrap_method::select(raw, facts, &name, &addresses.advertise_peer, peer_tls.is_set())?;
    warnings.extend(selection.warnings);
    let data_dir = data_dir(raw, &name, &mut warnings);
    let config = Config {
        name,
        data_dir,
        wal_dir: raw.text("wal-dir").map(PathBuf::from),
        snapshot_count: raw.number("snapshot-count"),
        max_snapshots: raw.number("max-snapshots"),
        max_wals: raw.number("max-wals"),
        heartbeat_interval,
        election_timeout,
        listen_peer: addresses.listen_peer,
        listen_client: addresses.listen_client,
        listen_metrics,
        advertise_peer: addresses.advertise_peer,
        advertise_client: addresses.advertise_client,
        client_tls,
        peer_tls,
        cors: cors(raw),
        host_whitelist: list(raw, "host-whitelist"),
        bootstrap_method: selection.method,
        force_new_cluster: raw.switch("force-new-cluster"),
        strict_reconfig_check: raw.switch("strict-reconfig-check"),
        proxy,
        log: Log { debug: raw.switch("debug"), package_levels: raw.text("log-package-levels") },
        reported_version: raw.text("report-version").unwrap_or_default(),
        v3: v3(raw),
    };
    Ok((config, warnings))
}

/// The default is the host name in 0.4, and `default` in 2.x. With only a discovery URL, the latter would not be
/// unique.
fn name(raw: &RawConfig, facts: &Facts) -> Result<String, CheckError> {
    let configured = raw.is_set("name");
    let by_host =
        raw.switch("node-mode") || only_old_flags(raw) || (raw.is_set("discovery") && !address::any_set(raw));
    let name = match raw.text("name") {
        Some(name) if configured => name,
        _ if by_host && !facts.hostname.is_empty() => facts.hostname.clone(),
        _ => DEFAULT_NAME.to_owned(),
    };
    // Names are parts of name=url lists.
    if name.contains(['=', ',', '\n', '\r']) { Err(CheckError::Name(name)) } else { Ok(name) }
}

/// Whether some flag is only in 0.4, and none only in 2.x.
fn only_old_flags(raw: &RawConfig) -> bool {
    const OF_BOTH: [&str; 10] = [
        "name",
        "data-dir",
        "discovery",
        "cors",
        "snapshot-count",
        "cert-file",
        "key-file",
        "peer-cert-file",
        "peer-key-file",
        "dry-run",
    ];
    let flags = || raw.names().filter_map(table::find);
    let classic = |flag: &crate::flag::Flag| {
        flag.group == Group::Etcd04 || matches!(flag.status, Status::Deprecated(_))
    };
    flags().any(|flag| flag.group == Group::Etcd04)
        && flags().all(|flag| classic(flag) || OF_BOTH.contains(&flag.name))
}

fn data_dir(raw: &RawConfig, name: &str, warnings: &mut Vec<String>) -> PathBuf {
    if raw.is_set("data-dir") {
        return PathBuf::from(raw.text("data-dir").unwrap_or_default());
    }
    let made = format!("{name}.etcd");
    warnings.push(format!("no data-dir provided, using default data-dir ./{made}"));
    PathBuf::from(made)
}

/// A member must advertise its client URLs if it listens on specified ones; a possible proxy need not.
fn check_advertised(raw: &RawConfig, proxy: &Proxy) -> Result<(), CheckError> {
    let may_fall_back = raw.is_set("discovery") && raw.text("discovery-fallback").as_deref() == Some("proxy");
    let may_be_proxy = proxy.mode != ProxyMode::Off || may_fall_back;
    let advertised = raw.is_set("advertise-client-urls") || raw.is_set("addr");
    if !may_be_proxy && raw.is_set("listen-client-urls") && !advertised {
        return Err(CheckError::NotAdvertised);
    }
    Ok(())
}

fn timing(raw: &RawConfig, warnings: &mut Vec<String>) -> Result<(Duration, Duration), CheckError> {
    let pick = |current: &'static str, classic: &'static str| {
        if !raw.is_set(current) && raw.is_set(classic) {
            (raw.number(classic), true)
        } else {
            (raw.number(current), false)
        }
    };
    let (heartbeat, heartbeat_is_old) = pick("heartbeat-interval", "peer-heartbeat-interval");
    let (mut election, election_is_old) = pick("election-timeout", "peer-election-timeout");
    if heartbeat == 0 {
        return Err(CheckError::NoHeartbeat);
    }
    let minimum = heartbeat.saturating_mul(HEARTBEATS_PER_ELECTION);
    if election < minimum {
        if !(heartbeat_is_old || election_is_old) {
            return Err(CheckError::ElectionTooShort { election, heartbeat });
        }
        // 0.4's own defaults have the ratio 4; they must remain valid.
        warnings.push(format!("election timeout raised from {election}ms to {minimum}ms"));
        election = minimum;
    }
    if election > MAX_ELECTION_TIMEOUT_MS {
        return Err(CheckError::ElectionTooLong(election));
    }
    Ok((Duration::from_millis(heartbeat), Duration::from_millis(election)))
}

/// The elements of a comma-separated value.
fn list(raw: &RawConfig, name: &str) -> Vec<String> {
    let text = raw.text(name).unwrap_or_default();
    text.split(',').map(str::trim).filter(|element| !element.is_empty()).map(str::to_owned).collect()
}

fn cors(raw: &RawConfig) -> Cors {
    let origins = list(raw, "cors");
    if origins.iter().any(|origin| origin == "*") {
        Cors::Any
    } else if origins.is_empty() {
        Cors::Off
    } else {
        Cors::Origins(origins)
    }
}

fn proxy(raw: &RawConfig) -> Proxy {
    let duration = |name| Duration::from_millis(raw.number(name));
    Proxy {
        mode: match raw.text("proxy").as_deref() {
            Some("on") => ProxyMode::On,
            Some("readonly") => ProxyMode::ReadOnly,
            _ => ProxyMode::Off,
        },
        failure_wait: duration("proxy-failure-wait"),
        refresh_interval: duration("proxy-refresh-interval"),
        dial_timeout: duration("proxy-dial-timeout"),
        write_timeout: duration("proxy-write-timeout"),
        read_timeout: duration("proxy-read-timeout"),
    }
}

fn v3(raw: &RawConfig) -> V3 {
    V3 {
        quota_backend_bytes: raw.number("quota-backend-bytes"),
        max_request_bytes: raw.number("max-request-bytes"),
        max_txn_ops: raw.number("max-txn-ops"),
        auto_compaction_retention: raw.text("auto-compaction-retention").unwrap_or_default(),
        auto_compaction_mode: raw.text("auto-compaction-mode").unwrap_or_default(),
    }
}
