//! Listening sockets of URLs.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, bail};
use etcd_config::Url;
use etcd_http::server::Listener;
use etcd_http::tls::ServerTls;

/// One listener for each address of the URLs; https ones with `tls`.
pub async fn listeners(urls: &[Url], tls: Option<&Arc<ServerTls>>) -> anyhow::Result<Vec<Listener>> {
    let mut addresses: Vec<(SocketAddr, bool)> = Vec::new();
    for url in urls {
        for address in resolve(url).await? {
            if !addresses.iter().any(|(other, _)| *other == address) {
                addresses.push((address, url.scheme.is_tls()));
            }
        }
    }
    addresses.into_iter().map(|(address, secure)| bind(address, secure, tls)).collect()
}

fn bind(address: SocketAddr, secure: bool, tls: Option<&Arc<ServerTls>>) -> anyhow::Result<Listener> {
    let tls = match (secure, tls) {
        (false, _) => None,
        (true, Some(tls)) => Some(Arc::clone(tls)),
        (true, None) => bail!("listening on https://{address}: no certificate is configured"),
    };
    Ok(Listener::bind(address, tls)?)
}

/// An empty host means all interfaces, IPv4 and IPv6.
async fn resolve(url: &Url) -> anyhow::Result<Vec<SocketAddr>> {
    if url.host.is_empty() {
        return Ok(vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, url.port))]);
    }
    let addresses = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
    let addresses: Vec<_> = addresses.with_context(|| format!("the address to listen on, {url}"))?.collect();
    // For a name such as localhost, the first address of each family, which clients use.
    let ipv4 = addresses.iter().find(|address| address.is_ipv4());
    let ipv6 = addresses.iter().find(|address| address.is_ipv6());
    Ok(ipv4.into_iter().chain(ipv6).copied().collect())
}
