//! Certificates: from the flags' paths to what listeners and callers use.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use etcd_config::config::Tls;
use etcd_http::tls::{ClientTls, ServerTls, TlsFiles, Trusted};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// The files of one side; none where it has no certificate.
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
    let named = files.certificate.display().to_string();
    Ok(Some(Arc::new(ServerTls::load(files).with_context(|| format!("TLS with {named}"))?)))
}

/// Towards others of our own cluster: we trust its authority and show our own certificate. Where certificates are
/// made by the members themselves there is no authority, and anybody is taken. It follows its files.
pub fn followed_towards_cluster(tls: &Tls) -> anyhow::Result<Option<Arc<ClientTls>>> {
    let whom = match &tls.trusted_ca_file {
        _ if tls.auto => Trusted::Anybody,
        Some(authority) => Trusted::Authority(authority.clone()),
        None => return Ok(None),
    };
    let named = match &whom {
        Trusted::Authority(path) => format!("TLS with {}", path.display()),
        Trusted::Anybody => "TLS with certificates of our own".to_owned(),
    };
    Ok(Some(Arc::new(ClientTls::towards(whom, files(tls)).context(named)?)))
}

/// The same as it is now.
pub fn towards_cluster(tls: &Tls) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    Ok(followed_towards_cluster(tls)?.map(|followed| followed.config()))
}

/// What peers are connected to with.
pub fn peer_connector(tls: &Tls) -> anyhow::Result<Option<etcd_raft::Connector>> {
    let connector = |followed: Arc<ClientTls>| -> etcd_raft::Connector {
        Arc::new(move || Ok(TlsConnector::from(followed.config())))
    };
    Ok(followed_towards_cluster(tls)?.map(connector))
}

/// The cluster's authority and our own certificate for the client library.
pub fn for_client(tls: &Tls) -> Option<etcd_client::TlsFiles> {
    let path = |path: &Option<std::path::PathBuf>| path.as_deref().map(Path::to_path_buf);
    tls.trusted_ca_file.as_ref()?;
    Some(etcd_client::TlsFiles {
        ca: path(&tls.trusted_ca_file),
        certificate: path(&tls.cert_file),
        key: path(&tls.key_file),
    })
}

/// Towards the world: we trust whom this machine trusts.
pub fn towards_world() -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "an authority of this machine cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
