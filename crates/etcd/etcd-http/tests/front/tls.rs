//! TLS: client certificates, and reloaded files.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_http::tls::{ClientTls, ServerTls, ServerVerification, TlsError, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::site::{self, Client, Response, Site, TIMEOUT};

type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes NAME.crt and NAME.key.
pub fn issue(folder: &Path, name: &str, authority: &Authority, expired: bool) -> TlsFiles {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    if expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let files = TlsFiles {
        certificate: folder.join(format!("{name}.crt")),
        key: folder.join(format!("{name}.key")),
        ..TlsFiles::default()
    };
    fs::write(&files.certificate, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

pub fn write_authority(folder: &Path, name: &str, authority: &Authority) -> PathBuf {
    let path = folder.join(format!("{name}.ca"));
    fs::write(&path, authority.pem()).unwrap();
    path
}

/// Sends a request over TLS. Returns the error's text if it fails.
fn send_request(site: &Site, trusted: &Path, own_files: Option<&TlsFiles>) -> Result<Response, String> {
    let trusted = ServerVerification::Authority(trusted.to_owned());
    let config = ClientTls::verifying(trusted, own_files.cloned()).unwrap().config();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(config, name).unwrap();
    let stream = TcpStream::connect(site.address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
    }
    use std::io::{Read, Write};
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").map_err(|error| error.to_string())?;
    let mut first = [0; 1];
    stream.read_exact(&mut first).map_err(|error| error.to_string())?;
    assert_eq!(first, *b"H");
    let mut client = Client::over(stream);
    let mut response = client.response_to("GET");
    response.version = format!("H{}", response.version);
    Ok(response)
}

fn rejected(site: &Site, trusted: &Path, own_files: Option<&TlsFiles>, alert: &str) {
    let error = send_request(site, trusted, own_files).unwrap_err();
    assert!(error.contains(alert), "{alert} expected, not: {error}");
}

#[test]
fn any_client_without_client_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let own_files = authority("own");
    let trusted = write_authority(folder.path(), "own", &own_files);
    let server = issue(folder.path(), "server", &own_files, false);
    let site = Site::with(site::settings(), Some(Arc::new(ServerTls::load(server).unwrap())));
    assert_eq!(send_request(&site, &trusted, None).unwrap().status, 200);
    let mut plain = site.connect();
    plain.write("GET /version HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        plain.rest(),
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    );
    let mut nonsense = site.connect();
    nonsense.write([0; 100]);
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut nonsense.stream, &mut rest).unwrap();
    assert!(rest.len() < 20, "an alert at most: {rest:?}");
}

#[test]
fn client_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let (own_files, other) = (authority("own"), authority("other"));
    let trusted = write_authority(folder.path(), "own", &own_files);
    let server = issue(folder.path(), "server", &own_files, false);
    let files = TlsFiles { authority: Some(trusted.clone()), client_certificates: true, ..server };
    let site = Site::with(site::settings(), Some(Arc::new(ServerTls::load(files).unwrap())));
    let valid = issue(folder.path(), "good", &own_files, false);
    assert_eq!(send_request(&site, &trusted, Some(&valid)).unwrap().status, 200);
    rejected(&site, &trusted, None, "CertificateRequired");
    let untrusted = issue(folder.path(), "strange", &other, false);
    rejected(&site, &trusted, Some(&untrusted), "fatal alert");
    let expired = issue(folder.path(), "expired", &own_files, true);
    rejected(&site, &trusted, Some(&expired), "CertificateExpired");
}

#[test]
fn files_are_reloaded() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (authority("old"), authority("new"));
    let old_trusted = write_authority(folder.path(), "old", &old);
    let new_trusted = write_authority(folder.path(), "new", &new);
    let files = issue(folder.path(), "server", &old, false);
    let site = Site::with(site::settings(), Some(Arc::new(ServerTls::load(files.clone()).unwrap())));
    assert_eq!(send_request(&site, &old_trusted, None).unwrap().status, 200);
    // An incomplete change: the key does not match the certificate. The previous pair remains.
    let fresh_folder = folder.path().join("fresh");
    fs::create_dir(&fresh_folder).unwrap();
    let fresh = issue(&fresh_folder, "server", &new, false);
    fs::rename(&fresh.certificate, &files.certificate).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_200) {
        assert_eq!(send_request(&site, &old_trusted, None).unwrap().status, 200);
    }
    fs::rename(&fresh.key, &files.key).unwrap();
    let began = Instant::now();
    while let Err(error) = send_request(&site, &new_trusted, None) {
        assert!(began.elapsed() < TIMEOUT, "the new certificate is not served: {error}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(send_request(&site, &old_trusted, None).is_err());
}

#[test]
fn a_new_ca_invalidates_old_sessions_and_clients() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (authority("old"), authority("new"));
    let trusted = write_authority(folder.path(), "old", &old);
    let server = issue(folder.path(), "server", &old, false);
    let clients = write_authority(folder.path(), "clients", &old);
    let files = TlsFiles { authority: Some(clients.clone()), client_certificates: true, ..server };
    let tls = Arc::new(ServerTls::load(files).unwrap());
    let site = Site::with(site::settings(), Some(Arc::clone(&tls)));
    let before = issue(folder.path(), "before", &old, false);
    let after = issue(folder.path(), "after", &new, false);
    assert!(send_request(&site, &trusted, Some(&before)).is_ok());
    fs::write(&clients, new.pem()).unwrap();
    tls.reload().unwrap();
    assert!(send_request(&site, &trusted, Some(&after)).is_ok());
    rejected(&site, &trusted, Some(&before), "fatal alert");
}

#[test]
fn invalid_tls_files() {
    let folder = tempfile::tempdir().unwrap();
    let own_files = authority("own");
    let one = issue(folder.path(), "one", &own_files, false);
    let two = issue(folder.path(), "two", &own_files, false);
    let check = |files: TlsFiles, expect: &str| {
        let error: TlsError = ServerTls::load(files).unwrap_err();
        assert!(error.to_string().contains(expect), "{expect} expected, not: {error}");
    };
    check(TlsFiles { key: two.key.clone(), ..one.clone() }, "do not make a usable pair");
    check(
        TlsFiles { key: one.certificate.clone(), ..one.clone() },
        "has no PEM block with a readable private key",
    );
    check(TlsFiles { certificate: folder.path().join("none"), ..one.clone() }, "reading ");
    check(TlsFiles { client_certificates: true, ..one.clone() }, "client-cert-auth requires trusted-ca-file");
    let no_authority = Some(two.key.clone());
    check(
        TlsFiles { client_certificates: true, authority: no_authority, ..one.clone() },
        "has no PEM block with a certificate",
    );
}
