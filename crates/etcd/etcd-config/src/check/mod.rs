//! Low -> high: what was given, taken together, becomes a [`Config`] or one clear refusal.

mod address;
mod error;
mod founding;
mod security;

use std::path::PathBuf;
use std::time::Duration;

pub use error::CheckError;

use crate::config::{Config, Cors, Log, Proxy, ProxyMode, V3};
use crate::facts::Facts;
use crate::flag::table::{self, DEFAULT_NAME};
use crate::flag::{Group, Standing};
use crate::limits::{HEARTBEATS_PER_ELECTION, MAX_ELECTION_TIMEOUT_MS};
use crate::low::Low;

/// The configuration, and what is worth a warning.
pub fn check(low: &Low, facts: &Facts) -> Result<(Config, Vec<String>), CheckError> {
    let mut warnings = low.warnings.clone();
    founding::check_ways(low)?;
    let name = name(low, facts)?;
    let client_tls = security::tls(low, &security::CLIENT, &mut warnings)?;
    let peer_tls = security::tls(low, &security::PEER, &mut warnings)?;
    let with_tls = (client_tls.is_set(), peer_tls.is_set());
    let found_addresses = address::addresses(low, facts, with_tls)?;
    warnings.extend(security::check_listeners(
        &found_addresses.listen_client,
        &client_tls,
        &security::CLIENT,
    )?);
    warnings.extend(security::check_listeners(&found_addresses.listen_peer, &peer_tls, &security::PEER)?);
    warnings.extend(security::check_public_peers(&found_addresses.advertise_peer));
    let proxy = proxy(low);
    check_advertised(low, &proxy)?;
    let (heartbeat_interval, election_timeout) = timing(low, &mut warnings)?;
    if low.number("snapshot-count") == 0 {
        return Err(CheckError::NoSnapshots);
    }
    let found = founding::founding(low, facts, &name, &found_addresses.advertise_peer, peer_tls.is_set())?;
    warnings.extend(found.warnings);
    let data_dir = data_dir(low, &name, &mut warnings);
    let config = Config {
        name,
        data_dir,
        wal_dir: low.text("wal-dir").map(PathBuf::from),
        snapshot_count: low.number("snapshot-count"),
        max_snapshots: low.number("max-snapshots"),
        max_wals: low.number("max-wals"),
        heartbeat_interval,
        election_timeout,
        listen_peer: found_addresses.listen_peer,
        listen_client: found_addresses.listen_client,
        listen_metrics: low.urls("listen-metrics-urls"),
        advertise_peer: found_addresses.advertise_peer,
        advertise_client: found_addresses.advertise_client,
        client_tls,
        peer_tls,
        cors: cors(low),
        founding: found.founding,
        force_new_cluster: low.switch("force-new-cluster"),
        strict_reconfig_check: low.switch("strict-reconfig-check"),
        proxy,
        log: Log { debug: low.switch("debug"), package_levels: low.text("log-package-levels") },
        enable_pprof: low.switch("enable-pprof"),
        reported_version: low.text("report-version").unwrap_or_default(),
        v3: v3(low),
    };
    Ok((config, warnings))
}

/// 0.4's default was the host's name; 2.x's is `default`. Nodes that are told nothing but a discovery URL
/// could not tell each other apart by the latter.
fn name(low: &Low, facts: &Facts) -> Result<String, CheckError> {
    let given = low.is_set("name");
    let by_host =
        low.switch("node-mode") || only_classic(low) || (low.is_set("discovery") && !address::any_given(low));
    let name = match low.text("name") {
        Some(name) if given => name,
        _ if by_host && !facts.hostname.is_empty() => facts.hostname.clone(),
        _ => DEFAULT_NAME.to_owned(),
    };
    // Names stand in lists of name=url.
    if name.contains(['=', ',', '\n', '\r']) { Err(CheckError::Name(name)) } else { Ok(name) }
}

/// Some flag is 0.4's alone, and none is 2.x's alone.
fn only_classic(low: &Low) -> bool {
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
    let flags = || low.names().filter_map(table::find);
    let classic = |flag: &crate::flag::Flag| {
        flag.group == Group::Classic || matches!(flag.standing, Standing::Deprecated(_))
    };
    flags().any(|flag| flag.group == Group::Classic)
        && flags().all(|flag| classic(flag) || OF_BOTH.contains(&flag.name))
}

fn data_dir(low: &Low, name: &str, warnings: &mut Vec<String>) -> PathBuf {
    if low.is_set("data-dir") {
        return PathBuf::from(low.text("data-dir").unwrap_or_default());
    }
    let made = format!("{name}.etcd");
    warnings.push(format!("no data-dir provided, using default data-dir ./{made}"));
    PathBuf::from(made)
}

/// A member that clients cannot be told of is refused; who may become a proxy need not say.
fn check_advertised(low: &Low, proxy: &Proxy) -> Result<(), CheckError> {
    let may_fall_back = low.is_set("discovery") && low.text("discovery-fallback").as_deref() == Some("proxy");
    let may_be_proxy = proxy.mode != ProxyMode::Off || may_fall_back;
    let told = low.is_set("advertise-client-urls") || low.is_set("addr");
    if !may_be_proxy && low.is_set("listen-client-urls") && !told {
        return Err(CheckError::NotAdvertised);
    }
    Ok(())
}

fn timing(low: &Low, warnings: &mut Vec<String>) -> Result<(Duration, Duration), CheckError> {
    let pick = |today: &'static str, classic: &'static str| {
        if !low.is_set(today) && low.is_set(classic) {
            (low.number(classic), true)
        } else {
            (low.number(today), false)
        }
    };
    let (heartbeat, heartbeat_is_old) = pick("heartbeat-interval", "peer-heartbeat-interval");
    let (mut election, election_is_old) = pick("election-timeout", "peer-election-timeout");
    if heartbeat == 0 {
        return Err(CheckError::NoHeartbeat);
    }
    let least = heartbeat.saturating_mul(HEARTBEATS_PER_ELECTION);
    if election < least {
        if !(heartbeat_is_old || election_is_old) {
            return Err(CheckError::ElectionTooShort { election, heartbeat });
        }
        // 0.4's own defaults were four to one: its users must not be sent away.
        warnings.push(format!("election timeout raised from {election}ms to {least}ms"));
        election = least;
    }
    if election > MAX_ELECTION_TIMEOUT_MS {
        return Err(CheckError::ElectionTooLong(election));
    }
    Ok((Duration::from_millis(heartbeat), Duration::from_millis(election)))
}

fn cors(low: &Low) -> Cors {
    let text = low.text("cors").unwrap_or_default();
    let origins: Vec<_> =
        text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
    if origins.iter().any(|origin| origin == "*") {
        Cors::Any
    } else if origins.is_empty() {
        Cors::Off
    } else {
        Cors::Origins(origins)
    }
}

fn proxy(low: &Low) -> Proxy {
    let duration = |name| Duration::from_millis(low.number(name));
    Proxy {
        mode: match low.text("proxy").as_deref() {
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

fn v3(low: &Low) -> V3 {
    V3 {
        quota_backend_bytes: low.number("quota-backend-bytes"),
        max_request_bytes: low.number("max-request-bytes"),
        max_txn_ops: low.number("max-txn-ops"),
        auto_compaction_retention: low.text("auto-compaction-retention").unwrap_or_default(),
        auto_compaction_mode: low.text("auto-compaction-mode").unwrap_or_default(),
    }
}
