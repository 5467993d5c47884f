//! The API over TCP and TLS, and unresponsive servers.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::model::Model;
use crate::program::Program;
use crate::server::Server;

const LIST: &str = "out| 113f16a7...\nout| 20fd3ecb...\nout| 8145ebb7...\n";
const ARGUMENTS: [&str; 3] = ["list-machines", "--no-legend", "--fields=machine"];

#[test]
fn over_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Model::with_three_machines());
    let program = Program::in_folder(folder.path());
    let endpoint = format!("http://{}", server.address);
    assert_eq!(program.clone().with("FLEETCTL_ENDPOINT", &endpoint).run(&ARGUMENTS, ""), LIST);
    let traced =
        program.with("FLEETCTL_ENDPOINT", &endpoint).with("FLEETCTL_DEBUG", "true").run(&ARGUMENTS, "");
    assert_eq!(traced, format!("{LIST}err| DEBUG: HTTP GET {endpoint}/fleet/v1/machines?alt=json\n"));
}

#[test]
fn an_unresponsive_server_times_out() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let started = Instant::now();
    let got = Program::in_folder(folder.path())
        .run(&["--endpoint", &url, "--request-timeout=0.3", "list-units"], "");
    assert!(started.elapsed() < Duration::from_secs(20));
    let expect = format!(
        "err| Error retrieving list of units from repository: Get {url}/fleet/v1/state?alt=json: \
         net/http: request canceled (Client.Timeout exceeded while awaiting headers)\nexit 1\n"
    );
    assert_eq!(got, expect);
}

#[test]
fn a_server_that_closes_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 16];
        stream.read_exact(&mut buffer).unwrap();
    });
    let got = Program::in_folder(folder.path()).run(&["--endpoint", &url, "list-units"], "");
    assert!(got.starts_with("err| Error retrieving list of units from repository: Get http://"), "{got}");
    assert!(got.ends_with("exit 1\n"), "{got}");
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Returns a certificate and its key.
    fn issue(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// Serves a list over TLS that depends on whether the client has a certificate issued by `clients`.
fn serve(authority: &Authority, clients: &Authority) -> String {
    let (certificate, key) = authority.issue();
    let mut roots = RootCertStore::empty();
    roots.add(clients.issuer.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).is_ok_and(|length| length > 0) {
                let has_certificate = stream.conn.peer_certificates().is_some();
                let body = format!(
                    "{{\"machines\":[{{\"id\":\"{}\"}}]}}",
                    if has_certificate { "known" } else { "unknown" }
                );
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    url
}

#[test]
fn tls_always_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let (trusted, other) = (Authority::new(), Authority::new());
    let url = serve(&trusted, &trusted);
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca = file("ca.pem", &trusted.issuer.pem());
    let other_ca = file("other.pem", &other.issuer.pem());
    let (certificate, key) = trusted.issue();
    let (certificate, key) = (file("me.pem", &certificate.pem()), file("me.key", &key.serialize_pem()));
    let program = Program::in_folder(folder.path());
    let run = |flags: &[&str]| {
        let arguments: Vec<&str> = [&["--endpoint", &url], flags, &ARGUMENTS].concat();
        program.run(&arguments, "")
    };
    assert_eq!(run(&["--ca-file", &ca]), "out| unknown...\n");
    assert_eq!(
        run(&["--etcd-cafile", &ca, "--cert-file", &certificate, "--key-file", &key]),
        "out| known...\n"
    );
    // The original verifies nothing if the client has no certificate.
    let refused = run(&["--ca-file", &other_ca]);
    assert!(refused.contains("tls: ") && refused.ends_with("exit 1\n"), "{refused}");
    let certificate_only = run(&["--ca-file", &ca, "--cert-file", &certificate]);
    assert!(
        certificate_only
            .starts_with("err| Unable to initialize client: KeyFile and CertFile must both be present"),
        "{certificate_only}"
    );
}
