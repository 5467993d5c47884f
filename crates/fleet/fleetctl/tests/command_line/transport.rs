//! Other ways to the API than a unix socket: TCP, TLS; and servers that do not answer.

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
const WORDS: [&str; 3] = ["list-machines", "--no-legend", "--fields=machine"];

#[test]
fn over_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Model::of_three());
    let program = Program::in_folder(folder.path());
    let endpoint = format!("http://{}", server.address);
    assert_eq!(program.clone().with("FLEETCTL_ENDPOINT", &endpoint).run(&WORDS, ""), LIST);
    let traced = program.with("FLEETCTL_ENDPOINT", &endpoint).with("FLEETCTL_DEBUG", "true").run(&WORDS, "");
    assert_eq!(traced, format!("{LIST}err| DEBUG: HTTP GET {endpoint}/fleet/v1/machines?alt=json\n"));
}

#[test]
fn a_silent_server_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let begin = Instant::now();
    let got = Program::in_folder(folder.path())
        .run(&["--endpoint", &url, "--request-timeout=0.3", "list-units"], "");
    assert!(begin.elapsed() < Duration::from_secs(20));
    let expect = format!(
        "err| Error retrieving list of units from repository: Get {url}/fleet/v1/state?alt=json: \
         net/http: request canceled (Client.Timeout exceeded while awaiting headers)\nexit 1\n"
    );
    assert_eq!(got, expect);
}

#[test]
fn a_server_that_hangs_up() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut some = [0; 16];
        stream.read_exact(&mut some).unwrap();
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

    /// A certificate and its key, PEM.
    fn issue(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// Answers one request over TLS with an empty list; clients must show a certificate of `clients`.
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
            let mut some = [0; 4096];
            if stream.read(&mut some).is_ok_and(|length| length > 0) {
                let shown = stream.conn.peer_certificates().is_some();
                let body =
                    format!("{{\"machines\":[{{\"id\":\"{}\"}}]}}", if shown { "known" } else { "unknown" });
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
    let (good, other) = (Authority::new(), Authority::new());
    let url = serve(&good, &good);
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca = file("ca.pem", &good.issuer.pem());
    let wrong = file("other.pem", &other.issuer.pem());
    let (certificate, key) = good.issue();
    let (certificate, key) = (file("me.pem", &certificate.pem()), file("me.key", &key.serialize_pem()));
    let program = Program::in_folder(folder.path());
    let run = |flags: &[&str]| {
        let words: Vec<&str> = [&["--endpoint", &url], flags, &WORDS].concat();
        program.run(&words, "")
    };
    assert_eq!(run(&["--ca-file", &ca]), "out| unknown...\n");
    assert_eq!(
        run(&["--etcd-cafile", &ca, "--cert-file", &certificate, "--key-file", &key]),
        "out| known...\n"
    );
    // Without a certificate of our own the original verified nothing.
    let refused = run(&["--ca-file", &wrong]);
    assert!(refused.contains("tls: ") && refused.ends_with("exit 1\n"), "{refused}");
    let half = run(&["--ca-file", &ca, "--cert-file", &certificate]);
    assert!(
        half.starts_with("err| Unable to initialize client: KeyFile and CertFile must both be present"),
        "{half}"
    );
}
