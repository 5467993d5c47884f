//! From the configuration to a running member or proxy, and to its end.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use etcd_config::Config;
use etcd_config::bootstrap::Start;
use etcd_http::server::{connection_limit, serve};

use crate::bootstrap::{self, Trust};
use crate::peer_port::PeerPort;
use crate::{auto_tls, data_dir, listen, logging, run_member, run_proxy, tls};
use service::{Stop, notify};

/// Connections of peers and of those who ask the peers' port.
const PEER_CONNECTIONS: usize = 1024;

pub fn run(config: &Config, warnings: &[String]) -> anyhow::Result<ExitCode> {
    let set_level = logging::start(&config.log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads")?;
    runtime.block_on(async {
        tokio::select! {
            done = whole(config, set_level) => done,
            () = notify::run_watchdog() => Ok(ExitCode::SUCCESS),
        }
    })
}

async fn whole(config: &Config, set_level: etcd_http::SetLogLevel) -> anyhow::Result<ExitCode> {
    data_dir::make(&config.data_dir)
        .with_context(|| format!("data directory {}", config.data_dir.display()))?;
    let config = &auto_tls::with_certificates(config)?;
    let trust = Trust {
        public: tls::towards_world()?,
        peers: tls::towards_cluster(&config.peer_tls)?,
        clients: tls::for_client(&config.client_tls),
    };
    let stop = Stop::by_signal()?;
    let peers = Arc::new(PeerPort::default());
    let peer_tls = tls::server(&config.peer_tls)?;
    // Before the bootstrap: members that look for each other ask here. Clients' ports are open too, and wait.
    let peer_listeners = listen::listeners(&config.listen_peer, peer_tls.as_ref()).await?;
    let client_tls = tls::server(&config.client_tls)?;
    let client_listeners = listen::listeners(&config.listen_client, client_tls.as_ref()).await?;
    let peer_serving = serve(peer_listeners, Arc::clone(&peers), PEER_CONNECTIONS)?;
    notify::status("looking for the cluster");
    let start = tokio::select! {
        start = bootstrap::run(config, &trust, &peers) => match start {
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
        return run_proxy::run(config, &peers, client_listeners, stop).await;
    }
    let parts = run_member::Parts { config, start, set_level, peers, peer_serving, client_listeners };
    run_member::run(parts, connection_limit(), stop).await
}
