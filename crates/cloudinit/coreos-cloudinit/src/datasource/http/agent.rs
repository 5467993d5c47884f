//! The HTTP agent: the machine's trusted certificates and the environment's proxy.

use std::sync::Arc;

use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Proxy};

use super::super::error::DatasourceError;
use super::super::url::Url;
use super::resolver::ZoneResolver;
use crate::log::Log;

const CERTIFICATES_ENV: &str = "SSL_CERT_FILE";
const CERTIFICATES_PATH: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Follows no redirects and has no timeout; the client handles both.
///
/// # Errors
/// The certificates cannot be read, or the URL names an unknown network interface.
pub(super) fn agent(url: &Url, log: &Log) -> Result<Agent, DatasourceError> {
    let builder = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("coreos-cloudinit/", env!("CARGO_PKG_VERSION")))
        .proxy(proxy(url, log))
        .tls_config(tls_config(url)?);
    let resolver = ZoneResolver::new(url.zone()).ok_or_else(|| DatasourceError::Url {
        url: url.redacted(),
        reason: "this machine has no such network interface".to_owned(),
    })?;
    Ok(Agent::with_parts(builder.build(), DefaultConnector::default(), resolver))
}

/// The machine's trusted certificates. Also needed for http, which may redirect to https.
fn tls_config(url: &Url) -> Result<TlsConfig, DatasourceError> {
    let path = std::env::var(CERTIFICATES_ENV).unwrap_or_else(|_| CERTIFICATES_PATH.to_owned());
    let pem = match std::fs::read(&path) {
        Ok(pem) => pem,
        Err(_) if !url.is_encrypted() => Vec::new(),
        Err(source) => return Err(DatasourceError::Read { path: path.into(), source }),
    };
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates.collect())))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// The proxy that the environment sets for the URL's scheme.
fn proxy(url: &Url, log: &Log) -> Option<Proxy> {
    let first_set = |names: [&str; 2]| names.iter().find_map(|name| std::env::var(name).ok());
    let names =
        if url.is_encrypted() { ["https_proxy", "HTTPS_PROXY"] } else { ["http_proxy", "HTTP_PROXY"] };
    let address = first_set(names).filter(|address| !address.is_empty())?;
    if bypasses_proxy(url.host(), &first_set(["no_proxy", "NO_PROXY"]).unwrap_or_default()) {
        return None;
    }
    let proxy = Proxy::new(&address);
    if proxy.is_err() {
        log.warning(format!("Warning: ignoring {}, which is no proxy's URL", names[0]));
    }
    proxy.ok()
}

/// Whether `host` is loopback or listed in `no_proxy`.
fn bypasses_proxy(host: &str, no_proxy: &str) -> bool {
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    host == "localhost"
        || is_loopback
        || no_proxy.split(',').map(str::trim).filter(|name| !name.is_empty()).any(|name| {
            let name = name.trim_start_matches('*').trim_start_matches('.');
            name.is_empty()
                || host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_bypasses_the_proxy() {
        for (host, no_proxy, expect) in [
            ("localhost", "", true),
            ("127.0.0.1", "", true),
            ("::1", "", true),
            ("a.example", "", false),
            ("a.example", "b.example, example", true),
            ("a.example", ".example", true),
            ("aexample", "example", false),
            ("10.0.0.1", "*", true),
        ] {
            assert_eq!(bypasses_proxy(host, no_proxy), expect, "{host} {no_proxy}");
        }
    }
}
