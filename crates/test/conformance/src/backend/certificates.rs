//! Certificates of members that use TLS, and of their clients.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use authority::{Authority, AuthorityError, Issued, Subject};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::failure::Failure;

const MEMBER: &str = "member";

/// One certificate for all members, in a folder that is removed on drop, and one for all clients.
#[derive(Debug)]
pub struct Certificates {
    folder: tempfile::TempDir,
    /// Trusts the members and has the client's certificate.
    pub client: Arc<ClientConfig>,
}

impl Certificates {
    pub fn issue() -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::io("make a folder for certificates"))?;
        let failed = |error: AuthorityError| Failure::differs(format!("no certificates: {error}"));
        let authority = Authority::open(folder.path(), "benchmark").map_err(failed)?;
        let subject = |name: &str, addresses| Subject { name: name.into(), host_names: vec![], addresses };
        let member = authority
            .issue(&subject(MEMBER, vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]))
            .and_then(|issued| issued.write(folder.path(), MEMBER));
        member.map_err(failed)?;
        let client = authority.issue(&subject("client", vec![])).map_err(failed)?;
        let client = configuration(&authority.trusted().map_err(failed)?, &client)
            .map_err(|error| Failure::differs(format!("no TLS client: {error}")))?;
        Ok(Self { folder, client: Arc::new(client) })
    }

    /// The flags of a member that requires certificates of clients and peers.
    pub(super) fn flags(&self) -> Vec<String> {
        let path = |name: &str| Path::new(self.folder.path()).join(name).display().to_string();
        let side = |prefix: &str| {
            [
                (format!("--{prefix}cert-file"), path("member.pem")),
                (format!("--{prefix}key-file"), path("member-key.pem")),
                (format!("--{prefix}trusted-ca-file"), path("ca.pem")),
            ]
            .map(|(flag, path)| format!("{flag}={path}"))
        };
        let required = ["--client-cert-auth", "--peer-client-cert-auth"].map(str::to_owned);
        side("").into_iter().chain(side("peer-")).chain(required).collect()
    }
}

fn configuration(trusted: &str, client: &Issued) -> Result<ClientConfig, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
        roots.add(certificate?)?;
    }
    let chain = vec![CertificateDer::from_pem_slice(client.certificate.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes())?;
    Ok(ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key)?)
}
