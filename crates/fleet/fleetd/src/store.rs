//! The connection to etcd.

use anyhow::Context as _;
use etcd_client::{Client, Config as ClientConfig, Credentials, Endpoint, Order, TlsFiles};
use fleet_config::Etcd;
use fleet_node::EtcdStore;

/// Does not connect yet. A request fails after `etcd_request_timeout`; the next one uses another endpoint.
pub fn open(etcd: &Etcd) -> anyhow::Result<EtcdStore> {
    let endpoints: Vec<Endpoint> = etcd
        .servers
        .iter()
        .map(|server| server.parse().with_context(|| format!("etcd_servers: {server}")))
        .collect::<anyhow::Result<_>>()?;
    let mut config = ClientConfig::new(endpoints);
    // The first endpoint is usually the local member.
    config.order = Order::Configured;
    config.credentials =
        etcd.username.clone().map(|user| Credentials { user, password: etcd.password.reveal().to_owned() });
    config.tls = TlsFiles {
        ca: etcd.ca_file.clone(),
        certificate: etcd.cert_file.clone(),
        key: etcd.key_file.clone(),
    };
    config.request_timeout = etcd.request_timeout;
    config.retry_after_timeout = false;
    let client = Client::new(config).context("TLS towards etcd")?;
    Ok(EtcdStore::new(client, &etcd.key_prefix, etcd.request_timeout))
}
