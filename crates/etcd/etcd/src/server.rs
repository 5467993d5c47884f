//! Runs the server: opens resources, bootstraps, and runs a member or proxy.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use etcd_config::Config;
use etcd_config::bootstrap::Start;
use etcd_http::server::{connection_limit, serve};

use crate::bootstrap::{self, BootstrapTls};
use crate::metrics_listeners::MetricsListeners;
use crate::peer_port::PeerPort;
use crate::{auto_tls, data_dir, listen, logging, run_member, run_proxy, tls};
use service::{Stop, notify};

/// Maximum number of connections to the peer port.
const PEER_CONNECTIONS: usize = 1024;

pub fn run(config: &Config, warnings: &[String]) -> anyhow::Result<ExitCode> {
    let set_level = logging::start(&config.log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads")?;
    runtime.block_on(async {
        tokio::select! {
            done = bootstrap_and_run(config, set_level) => done,
            () = notify::run_watchdog() => Ok(ExitCode::SUCCESS),
        }
    })
}

async fn bootstrap_and_run(config: &Config, set_level: etcd_http::SetLogLevel) -> anyhow::Result<ExitCode> {
    data_dir::create(&config.data_dir)
        .with_context(|| format!("data directory {}", config.data_dir.display()))?;
    let config = &auto_tls::with_certificates(config)?;
    let bootstrap_tls = BootstrapTls {
        public: tls::system_client_config()?,
        peers: tls::cluster_client_config(&config.peer_tls)?,
        clients: tls::for_client(&config.client_tls),
    };
    let stop = Stop::by_signal()?;
    let peers = Arc::new(PeerPort::default());
    let peer_tls = tls::server(&config.peer_tls)?;
    // Opened before the bootstrap: other bootstrapping members query the peer port, and clients' connections wait.
    let peer_listeners = listen::listeners(&config.listen_peer, peer_tls.as_ref()).await?;
    let client_tls = tls::server(&config.client_tls)?;
    let client_listeners = listen::listeners(&config.listen_client, client_tls.as_ref()).await?;
    let metrics_listeners = listen::listeners(&config.listen_metrics, client_tls.as_ref()).await?;
    let metrics_port = MetricsListeners { urls: &config.listen_metrics, listeners: metrics_listeners };
    let peer_serving = serve(peer_listeners, Arc::clone(&peers), PEER_CONNECTIONS)?;
    notify::status("looking for the cluster");
    let start = tokio::select! {
        start = bootstrap::run(config, &bootstrap_tls, &peers) => match start {
            Ok(start) => start,
            Err(failed) => {
                for line in &failed.0 {
                    tracing::error!("{line}");
                }
                anyhow::bail!(failed);
            }
        },
        () = stop.clone().wait() => return Ok(ExitCode::SUCCESS),
    };
    if let Start::Proxy { peers } = start {
        drop(peer_serving);
        return run_proxy::run(config, &peers, client_listeners, metrics_port, stop).await;
    }
    let parts =
        run_member::Parts { config, start, set_level, peers, peer_serving, client_listeners, metrics_port };
    run_member::run(parts, connection_limit(), stop).await
}
