//! Runs a proxy: forwards client requests to the members until shutdown.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use etcd_config::config::ProxyMode;
use etcd_config::{Config, Url};
use etcd_http::proxy::{Dial, Proxy, ProxySettings};
use etcd_http::server::{Listener, connection_limit, serve};

use crate::metrics_listeners::MetricsListeners;
use crate::run_member::{cors, hosts};
use crate::{data_dir, tls};
use service::{Stop, notify};

/// Time for pending requests at shutdown.
const GRACE: Duration = Duration::from_secs(5);

pub async fn run(
    config: &Config,
    peers: &[Url],
    listeners: Vec<Listener>,
    metrics_port: MetricsListeners<'_>,
    stop: Stop,
) -> anyhow::Result<ExitCode> {
    let saved = data_dir::proxy_file(&config.data_dir);
    let folder = saved.parent().unwrap_or(&config.data_dir);
    data_dir::create(folder).with_context(|| format!("{}", folder.display()))?;
    let clients = tls::reloading_cluster_client(&config.client_tls)?;
    let peers_tls = tls::reloading_cluster_client(&config.peer_tls)?;
    let proxy = Proxy::start(ProxySettings {
        read_only: config.proxy.mode == ProxyMode::ReadOnly,
        peer_urls: peers.iter().map(Url::to_string).collect(),
        failure_wait: config.proxy.failure_wait,
        refresh_interval: config.proxy.refresh_interval,
        dial: Dial {
            dial_timeout: config.proxy.dial_timeout,
            write_timeout: config.proxy.write_timeout,
            read_timeout: config.proxy.read_timeout,
            // Client and peer traffic of a cluster have the same CA; peers are queried with this configuration, too.
            tls: clients.or(peers_tls),
        },
        saved: Some(saved),
        cors: cors(&config.cors),
        hosts: hosts(config),
    })?;
    let metrics_serving = metrics_port.serve(&proxy)?;
    let serving = serve(listeners, proxy, connection_limit())?;
    let addresses: Vec<_> = serving.addresses().iter().map(ToString::to_string).collect();
    tracing::info!("proxy: passing requests from {} on to the members", addresses.join(", "));
    notify::ready("proxy of the cluster");
    stop.wait().await;
    notify::stopping();
    serving.stop(GRACE).await;
    metrics_serving.stop(GRACE).await;
    Ok(ExitCode::SUCCESS)
}
