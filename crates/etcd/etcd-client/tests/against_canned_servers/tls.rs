//! Tests of TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcd_client::{Client, Config, Endpoint, Error, TlsError, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(folder: &Path, name: &str) -> (Issuer, PathBuf) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let path = folder.join(format!("{name}.pem"));
    std::fs::write(&path, issuer.pem()).unwrap();
    (issuer, path)
}

/// Certificate and key files for 127.0.0.1.
fn issue(issuer: &Issuer, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let (certificate_path, key_path) =
        (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    std::fs::write(&certificate_path, certificate.pem()).unwrap();
    std::fs::write(&key_path, key.serialize_pem()).unwrap();
    (certificate_path, key_path)
}

/// Responds to requests of clients with a certificate of `ca`.
async fn serve(certificate: &Path, key: &Path, ca: &Path) -> Endpoint {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificate).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok_and(|count| count > 0) {
                let body = "{\"etcdserver\":\"2.3.8\",\"etcdcluster\":\"2.3.0\"}";
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all((head + body).as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    });
    endpoint
}

async fn version(endpoint: &Endpoint, tls: TlsFiles) -> Result<String, Error> {
    let mut config = Config::new(vec![endpoint.clone()]);
    config.tls = tls;
    Client::new(config).unwrap().version().await.map(|version| version.server)
}

#[tokio::test]
async fn mutual_tls() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (ours, ca) = authority(folder, "ca");
    let (untrusted, strange_ca) = authority(folder, "strange");
    let (certificate, key) = issue(&ours, folder, "server");
    let endpoint = serve(&certificate, &key, &ca).await;
    let (certificate, key) = issue(&ours, folder, "client");
    let (false_certificate, false_key) = issue(&untrusted, folder, "false");

    let valid = TlsFiles { ca: Some(ca.clone()), certificate: Some(certificate.clone()), key: Some(key) };
    assert_eq!(version(&endpoint, valid.clone()).await.unwrap(), "2.3.8");
    let wrong = [
        ("another authority", TlsFiles { ca: Some(strange_ca), ..valid.clone() }),
        ("no certificate of ours", TlsFiles { certificate: None, key: None, ..valid.clone() }),
        (
            "a certificate of another authority",
            TlsFiles { certificate: Some(false_certificate), key: Some(false_key), ..valid.clone() },
        ),
    ];
    for (what, tls) in wrong {
        let error = version(&endpoint, tls).await.unwrap_err();
        let shown = error.attempts().first().map_or_else(|| error.to_string(), ToString::to_string);
        // Either side may abort the handshake.
        let as_expected = match &error {
            Error::Unavailable { .. } => shown.starts_with("tls: "),
            Error::Alert { .. } => what != "another authority" && shown.starts_with("remote error: tls: "),
            _ => false,
        };
        assert!(as_expected, "{what}: {error:?}");
    }
}

/// A daemon's certificates are rotated while it runs: new connections use the new files.
#[tokio::test]
async fn rotated_files_are_used_for_new_connections() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    for folder in [&old, &new] {
        std::fs::create_dir(folder).unwrap();
    }
    let (old_issuer, ca) = authority(&old, "ca");
    let (certificate, key) = issue(&old_issuer, &old, "client");
    let (new_issuer, new_ca) = authority(&new, "ca");
    let (server_certificate, server_key) = issue(&new_issuer, &new, "server");
    let (new_certificate, new_key) = issue(&new_issuer, &new, "client");
    let endpoint = serve(&server_certificate, &server_key, &new_ca).await;

    let mut config = Config::new(vec![endpoint]);
    config.tls =
        TlsFiles { ca: Some(ca.clone()), certificate: Some(certificate.clone()), key: Some(key.clone()) };
    let client = Client::new(config).unwrap();
    client.version().await.unwrap_err();
    std::fs::write(&ca, "half a certifi").unwrap();
    tokio::time::sleep(service::reload::CHECK_INTERVAL).await;
    client.version().await.unwrap_err();
    for (from, to) in [(&new_ca, &ca), (&new_certificate, &certificate), (&new_key, &key)] {
        std::fs::copy(from, to).unwrap();
    }
    tokio::time::sleep(service::reload::CHECK_INTERVAL).await;
    assert_eq!(client.version().await.unwrap().server, "2.3.8");
}

#[test]
fn invalid_tls_files() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (issuer, ca) = authority(folder, "ca");
    let (certificate, key) = issue(&issuer, folder, "client");
    let (missing, empty) = (folder.join("missing"), folder.join("empty"));
    std::fs::write(&empty, "").unwrap();
    let new = |tls: TlsFiles| {
        let mut config = Config::new(vec!["https://127.0.0.1:1".parse().unwrap()]);
        config.tls = tls;
        Client::new(config).map(|_| ()).unwrap_err()
    };
    let only_ca = |path: &Path| TlsFiles { ca: Some(path.to_owned()), ..TlsFiles::default() };
    let error = new(only_ca(&missing));
    assert_eq!(error.to_string(), format!("open {}: no such file or directory", missing.display()));
    assert!(matches!(new(only_ca(&empty)), TlsError::NoCertificate { .. }));
    let half = TlsFiles { certificate: Some(certificate.clone()), ..only_ca(&ca) };
    assert!(matches!(new(half), TlsError::Half { .. }));
    let swapped = TlsFiles { certificate: Some(key), key: Some(certificate), ..only_ca(&ca) };
    assert!(matches!(new(swapped), TlsError::NoCertificate { .. } | TlsError::Pem { .. }));
}
