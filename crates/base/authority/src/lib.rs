//! The certificate authority of a cluster: a folder with its key, from which it issues certificates. Also creates
//! self-signed pairs for encryption without authentication.
//!
//! One certificate serves a member as server for clients and as server and client of its peers. Private keys exist
//! only in their files and in [`Issued`]; no message contains one.

#![warn(missing_docs)]

use std::fs::{self, DirBuilder};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

/// Validity of an authority, and of the certificates that it issues.
pub const AUTHORITY_VALIDITY: Duration = Duration::days(3650);
const CERTIFICATE_VALIDITY: Duration = Duration::days(365);
/// How far machines' clocks may be behind the issuer's.
const CLOCK_SKEW: Duration = Duration::days(1);
/// File modes of trusted certificates and of keys.
const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;

const TRUSTED: &str = "ca.pem";
const KEY: &str = "ca-key.pem";

/// Why a certificate or its files could not be created or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum AuthorityError {
    #[error("cannot access {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} contains no usable private key")]
    Key { path: PathBuf },
    #[error("invalid name in a certificate: {0:?}")]
    Name(String),
    #[error("cannot create a certificate")]
    Make(#[source] rcgen::Error),
}

/// The subject of a certificate, for server and client authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The common name; for a client certificate, the user.
    pub name: String,
    /// DNS names among the subject alternative names.
    pub host_names: Vec<String>,
    /// IP addresses among the subject alternative names.
    pub addresses: Vec<IpAddr>,
}

/// A certificate and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// One `CERTIFICATE` block, without the authority's.
    pub certificate: String,
    /// One PKCS #8 `PRIVATE KEY` block, not encrypted.
    pub key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issued { .. }")
    }
}

/// A folder with the authority's key and the certificates that its cluster trusts.
pub struct Authority {
    folder: PathBuf,
    name: String,
    key: KeyPair,
}

impl Authority {
    /// Opens the authority in `folder`; creates it if it does not exist. `name` is its common name, which must be the
    /// same in every call.
    pub fn open(folder: &Path, name: &str) -> Result<Self, AuthorityError> {
        let path = folder.join(KEY);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let key = KeyPair::from_pem(&text).map_err(|_| AuthorityError::Key { path })?;
                Ok(Self { folder: folder.to_owned(), name: name.to_owned(), key })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(folder, name, ""),
            Err(source) => Err(AuthorityError::Io { path, source }),
        }
    }

    /// Creates a key and a certificate; `previous` stays trusted.
    fn create(folder: &Path, name: &str, previous: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let own = parameters(name)?.self_signed(&key).map_err(AuthorityError::Make)?.pem();
        let failed = |source| AuthorityError::Io { path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        // Trust first: a key without its certificate would be useless.
        replace(&folder.join(TRUSTED), &format!("{own}{previous}"), PUBLIC)?;
        replace(&folder.join(KEY), &key.serialize_pem(), PRIVATE)?;
        Ok(Self { folder: folder.to_owned(), name: name.to_owned(), key })
    }

    /// Replaces the authority. The previous one is trusted until [`Authority::drop_previous`].
    pub fn rotate(self) -> Result<Self, AuthorityError> {
        let previous = first(&self.trusted()?);
        Self::create(&self.folder, &self.name, &previous)
    }

    /// Removes all but the current authority from the trusted ones.
    pub fn drop_previous(&self) -> Result<(), AuthorityError> {
        let own = first(&self.trusted()?);
        replace(&self.folder.join(TRUSTED), &own, PUBLIC)
    }

    /// The trusted certificates as PEM; the current authority's is the first.
    pub fn trusted(&self) -> Result<String, AuthorityError> {
        let path = self.folder.join(TRUSTED);
        fs::read_to_string(&path).map_err(|source| AuthorityError::Io { path, source })
    }

    /// Issues a certificate with a new key. Fails if a name cannot be part of a certificate.
    pub fn issue(&self, subject: &Subject) -> Result<Issued, AuthorityError> {
        let mut parameters = subject.parameters()?;
        set_validity(&mut parameters, CERTIFICATE_VALIDITY);
        parameters.use_authority_key_identifier_extension = true;
        let issuer = Issuer::new(self::parameters(&self.name)?, &self.key);
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let certificate = parameters.signed_by(&key, &issuer).map_err(AuthorityError::Make)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl Issued {
    /// Writes `NAME.pem` and `NAME-key.pem` to `folder`.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), AuthorityError> {
        replace(&folder.join(format!("{name}.pem")), &self.certificate, PUBLIC)?;
        replace(&folder.join(format!("{name}-key.pem")), &self.key, PRIVATE)
    }
}

/// Where a self-signed pair is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// PEM, readable by all.
    pub certificate: PathBuf,
    /// PEM, readable by the owner.
    pub key: PathBuf,
}

/// `cert.pem` and `key.pem` in `folder`; creates a self-signed pair if they do not exist. It is valid as long as an
/// authority, because nothing renews it.
pub fn self_signed(folder: &Path, subject: &Subject) -> Result<PairFiles, AuthorityError> {
    let pair = PairFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    if pair.certificate.exists() && pair.key.exists() {
        return Ok(pair);
    }
    let failed = |source| AuthorityError::Io { path: folder.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mut parameters = subject.parameters()?;
    set_validity(&mut parameters, AUTHORITY_VALIDITY);
    let key = KeyPair::generate().map_err(AuthorityError::Make)?;
    let certificate = parameters.self_signed(&key).map_err(AuthorityError::Make)?;
    // The certificate is removed first and written last, so that an existing certificate always matches the key.
    match fs::remove_file(&pair.certificate) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    replace(&pair.key, &key.serialize_pem(), PRIVATE)?;
    replace(&pair.certificate, &certificate.pem(), PUBLIC)?;
    Ok(pair)
}

impl Subject {
    /// Parameters for a server and client certificate, not for an authority.
    fn parameters(&self) -> Result<CertificateParams, AuthorityError> {
        let mut parameters = CertificateParams::new(self.host_names.clone())
            .map_err(|_| AuthorityError::Name(self.host_names.join(" ")))?;
        let addresses = self.addresses.iter().map(|address| SanType::IpAddress(*address));
        parameters.subject_alt_names.extend(addresses);
        parameters.distinguished_name.push(DnType::CommonName, self.name.as_str());
        parameters.is_ca = IsCa::NoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(parameters)
    }
}

/// Parameters of the authority's own certificate.
fn parameters(name: &str) -> Result<CertificateParams, AuthorityError> {
    let mut parameters =
        CertificateParams::new(Vec::new()).map_err(|_| AuthorityError::Name(name.to_owned()))?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    set_validity(&mut parameters, AUTHORITY_VALIDITY);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

fn set_validity(parameters: &mut CertificateParams, validity: Duration) {
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - CLOCK_SKEW;
    parameters.not_after = now + validity;
}

fn first(blocks: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let end = blocks.find(END).map_or(blocks.len(), |at| at + END.len());
    format!("{}\n", &blocks[..end])
}

/// Replaces a file atomically; it is never readable beyond `mode`.
fn replace(path: &Path, content: &str, mode: u32) -> Result<(), AuthorityError> {
    let failed = |source| AuthorityError::Io { path: path.to_owned(), source };
    service::file::replace(path, content.as_bytes(), mode).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    fn subject() -> Subject {
        Subject {
            name: "core-01".into(),
            host_names: vec!["core-01".into(), "localhost".into()],
            addresses: vec!["10.77.0.11".parse().unwrap(), "127.0.0.1".parse().unwrap()],
        }
    }

    /// Whether a client that trusts `trusted` accepts the certificate for `name`.
    fn is_accepted(trusted: &str, issued: &Issued, name: &str) -> bool {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn issued_certificates_are_valid_for_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), "cluster default").unwrap();
        let issued = authority.issue(&subject()).unwrap();
        let trusted = authority.trusted().unwrap();
        for (name, accepted) in
            [("core-01", true), ("10.77.0.11", true), ("localhost", true), ("core-02", false)]
        {
            assert_eq!(is_accepted(&trusted, &issued, name), accepted, "{name}");
        }
        let other = tempfile::tempdir().unwrap();
        let other = Authority::open(other.path(), "cluster default").unwrap();
        assert!(!is_accepted(&other.trusted().unwrap(), &issued, "core-01"), "the same name is not the same");
    }

    #[test]
    fn a_reopened_authority_is_the_same_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let issued = Authority::open(folder.path(), "c").unwrap().issue(&subject()).unwrap();
        let again = Authority::open(folder.path(), "c").unwrap();
        assert!(is_accepted(&again.trusted().unwrap(), &issued, "core-01"));
        assert!(is_accepted(&again.trusted().unwrap(), &again.issue(&subject()).unwrap(), "core-01"));
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(KEY), mode(TRUSTED)), (PRIVATE, PUBLIC));
        issued.write(folder.path(), "core-01").unwrap();
        assert_eq!((mode("core-01-key.pem"), mode("core-01.pem")), (PRIVATE, PUBLIC));
        assert_eq!(format!("{issued:?}"), "Issued { .. }");
    }

    #[test]
    fn a_rotated_authority_trusts_the_previous_one_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let old = Authority::open(folder.path(), "c").unwrap();
        let (previous, old_trust) = (old.issue(&subject()).unwrap(), old.trusted().unwrap());
        let new = old.rotate().unwrap();
        let after = new.issue(&subject()).unwrap();
        let both = new.trusted().unwrap();
        assert!(is_accepted(&both, &previous, "core-01") && is_accepted(&both, &after, "core-01"));
        assert!(!is_accepted(&old_trust, &after, "core-01"));
        new.drop_previous().unwrap();
        let only = new.trusted().unwrap();
        assert!(!is_accepted(&only, &previous, "core-01") && is_accepted(&only, &after, "core-01"));
    }

    #[test]
    fn a_damaged_key_is_reported_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(KEY), "no key").unwrap();
        let error = Authority::open(folder.path(), "c").err().unwrap().to_string();
        assert!(error.ends_with("ca-key.pem contains no usable private key"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join(KEY)).unwrap(), "no key");
    }

    #[test]
    fn a_self_signed_pair_is_kept_and_recreated_if_incomplete() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("fixtures/peer");
        let read = || {
            let pair = self_signed(&below, &subject()).unwrap();
            let text = |path: &Path| fs::read_to_string(path).unwrap();
            Issued { certificate: text(&pair.certificate), key: text(&pair.key) }
        };
        let first = read();
        assert!(read() == first, "a restart must not change it");
        for (name, accepted) in [("core-01", true), ("10.77.0.11", true), ("core-02", false)] {
            assert_eq!(is_accepted(&first.certificate, &first, name), accepted, "{name}");
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&below), mode(&below.join("key.pem"))), (0o700, PRIVATE));
        for lost in ["cert.pem", "key.pem"] {
            let previous = read();
            fs::remove_file(below.join(lost)).unwrap();
            let after = read();
            assert!(after.certificate != previous.certificate && after.key != previous.key, "{lost}");
            let key = KeyPair::from_pem(&after.key).unwrap();
            let certificate = CertificateDer::from_pem_slice(after.certificate.as_bytes()).unwrap();
            let mut windows = certificate.windows(key.public_key_raw().len());
            assert!(windows.any(|part| part == key.public_key_raw()), "the two do not belong together");
        }
    }
}
