//! TLS configurations of listeners and clients from the flags' paths.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use etcd_config::config::Tls;
use etcd_http::tls::{ClientTls, ServerTls, ServerVerification, TlsFiles};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// The files of client or peer traffic; `None` without a certificate.
fn files(tls: &Tls) -> Option<TlsFiles> {
    Some(TlsFiles {
        certificate: tls.cert_file.clone()?,
        key: tls.key_file.clone()?,
        authority: tls.trusted_ca_file.clone(),
        client_certificates: tls.client_cert_auth,
    })
}

pub fn server(tls: &Tls) -> anyhow::Result<Option<Arc<ServerTls>>> {
    let Some(files) = files(tls) else { return Ok(None) };
    let context = files.certificate.display().to_string();
    Ok(Some(Arc::new(ServerTls::load(files).with_context(|| format!("TLS with {context}"))?)))
}

/// Client configuration for members of the cluster: verifies with its CA and presents this member's certificate. With
/// auto TLS there is no CA, and any certificate is accepted. Replaced files are reloaded.
pub fn reloading_cluster_client(tls: &Tls) -> anyhow::Result<Option<Arc<ClientTls>>> {
    let verification = match &tls.trusted_ca_file {
        _ if tls.auto => ServerVerification::Disabled,
        Some(authority) => ServerVerification::Authority(authority.clone()),
        None => return Ok(None),
    };
    let context = match &verification {
        ServerVerification::Authority(path) => format!("TLS with {}", path.display()),
        ServerVerification::Disabled => "TLS with certificates of our own".to_owned(),
    };
    Ok(Some(Arc::new(ClientTls::verifying(verification, files(tls)).context(context)?)))
}

/// The current configuration, without reloading.
pub fn cluster_client_config(tls: &Tls) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    Ok(reloading_cluster_client(tls)?.map(|client| client.config()))
}

/// The connector of the peer protocol.
pub fn peer_connector(tls: &Tls) -> anyhow::Result<Option<etcd_raft::Connector>> {
    let connector = |client: Arc<ClientTls>| -> etcd_raft::Connector {
        Arc::new(move || Ok(TlsConnector::from(client.config())))
    };
    Ok(reloading_cluster_client(tls)?.map(connector))
}

/// The cluster's CA and this member's certificate, for the client library.
pub fn for_client(tls: &Tls) -> Option<etcd_client::TlsFiles> {
    let path = |path: &Option<std::path::PathBuf>| path.as_deref().map(Path::to_path_buf);
    tls.trusted_ca_file.as_ref()?;
    Some(etcd_client::TlsFiles {
        ca: path(&tls.trusted_ca_file),
        certificate: path(&tls.cert_file),
        key: path(&tls.key_file),
    })
}

/// Client configuration with the system's CA bundle.
pub fn system_client_config() -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "an authority of this machine cannot be read");
    }
    roots.add_parsable_certificates(system.certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
