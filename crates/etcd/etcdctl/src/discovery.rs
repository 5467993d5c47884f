//! `--discovery-srv`: the endpoints that the SRV records of a domain name.

use std::error::Error as _;

use etcd_client::Endpoint;
use srv_lookup::{LookupError, Resolver, Service};

use crate::failure::Failure;

/// Those for https first. One of the two lists is enough.
pub async fn endpoints(domain: &str) -> Result<Vec<Endpoint>, Failure> {
    let resolver = Resolver::of_this_machine().map_err(|error| Failure::usage(said(&error)))?;
    let secured = resolver.services("etcd-client-ssl", domain).await;
    let plain = resolver.services("etcd-client", domain).await;
    if let (Err(secured), Err(plain)) = (&secured, &plain) {
        let text = format!("dns lookup errors: {} and {}", said(secured), said(plain));
        return Err(Failure::usage(text));
    }
    let secured = secured.unwrap_or_default();
    let plain = plain.unwrap_or_default();
    let all = secured.iter().map(|one| ("https", one)).chain(plain.iter().map(|one| ("http", one)));
    all.map(|(scheme, one)| endpoint(scheme, one)).collect()
}

fn endpoint(scheme: &str, service: &Service) -> Result<Endpoint, Failure> {
    let text = format!("{scheme}://{}:{}", service.host, service.port);
    text.parse().map_err(|error: etcd_client::EndpointError| Failure::usage(error.to_string()))
}

/// With its cause, where it has one.
fn said(error: &LookupError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
