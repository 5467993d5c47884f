//! Runs a member: starts it, serves clients, and shuts down.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use etcd::{MemberBackend, Metrics};
use etcd_config::bootstrap::Start;
use etcd_config::config::{BootstrapMethod, Config, Cors as CorsFlag};
use etcd_config::{Url, ids};
use etcd_http::server::{Listener, Running, serve};
use etcd_http::{Cors, Front, Hosts, SetLogLevel, Settings};
use etcd_raft::{InitialMember, Member, MemberConfig, StopReason, TcpNetwork};
use prometheus::Registry;

use crate::metrics_listeners::MetricsListeners;
use crate::peer_port::PeerPort;
use crate::{data_dir, tls};
use service::{Stop, notify};

/// Time for pending requests at shutdown.
const GRACE: Duration = Duration::from_secs(5);

pub struct Parts<'a> {
    pub config: &'a Config,
    pub start: Start,
    pub set_level: SetLogLevel,
    pub peers: Arc<PeerPort>,
    pub peer_serving: Running,
    pub client_listeners: Vec<Listener>,
    pub metrics_port: MetricsListeners<'a>,
}

pub async fn run(parts: Parts<'_>, connections: usize, stop: Stop) -> anyhow::Result<ExitCode> {
    let config = parts.config;
    let connector = tls::peer_connector(&config.peer_tls)?;
    let metrics = Arc::new(Metrics::new().context("metrics")?);
    let member_config = MemberConfig {
        disk_metrics: metrics.clone(),
        peer_metrics: metrics.clone(),
        ..member_config(config, parts.start)?
    };
    let id = ids::Id(member_config.member_id);
    let member = Member::start(member_config, Arc::new(TcpNetwork::new(connector))).await?;
    let registry = metrics.registry();
    let strict = config.strict_reconfig_check;
    let backend = MemberBackend::new(member.clone(), metrics, &config.name, &token(config), strict);
    let front =
        Arc::new(Front::new(backend, settings(config, parts.set_level, registry)?).context("metrics")?);
    parts.peers.run(front.for_peers(), member.clone());
    // Before it has joined, the member reports that it is unhealthy.
    let metrics_serving = parts.metrics_port.serve(&front)?;
    notify::status("waiting for a majority of the cluster");
    // A resumed member has all state that it served before, so plain reads need no majority. Other members join
    // first: see 7.1.3 of the contract.
    let stopped = tokio::select! {
        biased;
        () = std::future::ready(()), if member.has_resumed() => None,
        () = joined(&member) => None,
        reason = member.stopped() => Some(reason),
        () = stop.clone().wait() => Some(StopReason::Requested),
    };
    let reason = match stopped {
        Some(reason) => reason,
        None => {
            let serving = serve(parts.client_listeners, front, connections)?;
            let addresses: Vec<_> = serving.addresses().iter().map(ToString::to_string).collect();
            tracing::info!(member = %id, name = config.name, "serving clients on {}", addresses.join(", "));
            let ready = async {
                joined(&member).await;
                notify::ready(&format!("member {id} of the cluster"));
                std::future::pending().await
            };
            let reason = tokio::select! {
                reason = ready => reason,
                reason = member.stopped() => reason,
                () = stop.wait() => StopReason::Requested,
            };
            notify::stopping();
            let cut = serving.stop(GRACE).await;
            if cut > 0 {
                tracing::warn!("{cut} connections were cut");
            }
            reason
        }
    };
    member.stop().await;
    metrics_serving.stop(GRACE).await;
    parts.peer_serving.stop(GRACE).await;
    exit_code(reason)
}

fn exit_code(reason: StopReason) -> anyhow::Result<ExitCode> {
    match reason {
        StopReason::Requested => Ok(ExitCode::SUCCESS),
        reason => Err(anyhow!(reason)),
    }
}

/// Returns when this member knows of a leader elected by a majority, and has applied everything before.
async fn joined(member: &Member) {
    while let Err(error) = member.barrier().await {
        if error == etcd_raft::Unavailable::Stopped {
            return std::future::pending().await;
        }
        tracing::info!("still waiting for a majority of the cluster: {error}");
    }
}

fn member_config(config: &Config, start: Start) -> anyhow::Result<MemberConfig> {
    let folder = data_dir::member(&config.data_dir);
    let (cluster_id, member_id, start) = match start {
        Start::Restart => {
            let identity = etcd_raft::read_identity(&folder)?;
            let identity = identity.ok_or_else(|| anyhow!("{} has no identity", folder.display()))?;
            (identity.cluster_id, identity.member_id, etcd_raft::Start::Join(Vec::new()))
        }
        Start::Bootstrap(new) => {
            let members = new
                .members
                .iter()
                .map(|member| initial_member(member.id, member.name.clone(), &member.peer_urls));
            (new.id.0, new.own_id.0, etcd_raft::Start::New(members.collect()))
        }
        Start::Join { own_id, cluster } => {
            let known = cluster
                .members
                .iter()
                .map(|member| initial_member(member.id, member.name.clone(), &member.peer_urls));
            (cluster.id.0, own_id.0, etcd_raft::Start::Join(known.collect()))
        }
        Start::Proxy { .. } => return Err(anyhow!("a proxy is no member")),
    };
    data_dir::create(&folder).with_context(|| format!("{}", folder.display()))?;
    Ok(MemberConfig {
        peer_urls: config.advertise_peer.iter().map(ToString::to_string).collect(),
        client_urls: config.advertise_client.iter().map(ToString::to_string).collect(),
        start,
        force_new_cluster: config.force_new_cluster,
        heartbeat: config.heartbeat_interval,
        election_timeout: config.election_timeout,
        snapshot_count: config.snapshot_count,
        log_dir: config.wal_dir.clone(),
        ..MemberConfig::new(folder, cluster_id, member_id, &config.name)
    })
}

fn initial_member(id: ids::Id, name: String, peer_urls: &[Url]) -> InitialMember {
    InitialMember { id: id.0, name, peer_urls: peer_urls.iter().map(ToString::to_string).collect() }
}

/// The token from which ids are computed.
fn token(config: &Config) -> String {
    match &config.bootstrap_method {
        BootstrapMethod::Static { token, .. }
        | BootstrapMethod::Srv { token, .. }
        | BootstrapMethod::Peers { token, .. } => token.clone(),
        BootstrapMethod::Discovery { url, .. } => url.clone(),
    }
}

fn settings(config: &Config, set_level: SetLogLevel, registry: Registry) -> anyhow::Result<Settings> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow!("random numbers: {error}"))?;
    Ok(Settings {
        server_version: config.reported_version.clone(),
        cors: cors(&config.cors),
        hosts: hosts(config),
        command_line: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        set_log_level: Some(set_level),
        registries: vec![registry],
        secret,
    })
}

/// The configured names, and those in the member's URLs.
pub fn hosts(config: &Config) -> Hosts {
    let urls = config.advertise_client.iter().chain(&config.listen_client).chain(&config.listen_metrics);
    Hosts::new(urls.map(|url| &url.host).chain(&config.host_whitelist))
}

pub fn cors(flag: &CorsFlag) -> Cors {
    match flag {
        CorsFlag::Off => Cors::default(),
        CorsFlag::Any => Cors::new(vec!["*".to_owned()]),
        CorsFlag::Origins(origins) => Cors::new(origins.clone()),
    }
}
