//! Listening sockets from URLs.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, bail};
use etcd_config::Url;
use etcd_http::server::Listener;
use etcd_http::tls::ServerTls;

/// One listener per address that the URLs name; https ones with `tls`.
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
        (true, None) => bail!("listening on https://{address}: there is no certificate"),
    };
    Ok(Listener::bind(address, tls)?)
}

/// An empty host means all interfaces, of both families where the kernel has both.
async fn resolve(url: &Url) -> anyhow::Result<Vec<SocketAddr>> {
    if url.host.is_empty() {
        return Ok(vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, url.port))]);
    }
    let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
    let found: Vec<_> = found.with_context(|| format!("the address to listen on, {url}"))?.collect();
    // A name such as localhost: its first address of each family is where clients look.
    let four = found.iter().find(|address| address.is_ipv4());
    let six = found.iter().find(|address| address.is_ipv6());
    Ok(four.into_iter().chain(six).copied().collect())
}
