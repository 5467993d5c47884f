//! The certificates that a node's `etcd` serves, queried on the node with openssl as a client.

use std::time::Instant;

use super::{Site, SiteError};
use crate::certificates::FOLDER;
use crate::cluster::Node;
use crate::{limits, ssh};

/// Client port and peer port.
const PORTS: [u16; 2] = [2379, 2380];
pub(super) const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// openssl's message if nothing listens on the port: there is nothing to wait for.
const REFUSED: &str = "errno=111";

/// What a listener is expected to serve; `None` accepts anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ExpectedCertificates {
    /// Server certificate, PEM.
    pub(super) certificate: Option<String>,
    /// Number of trusted authorities. They share one name, so they can only be counted.
    pub(super) authorities: Option<usize>,
}

impl ExpectedCertificates {
    fn matches(&self, response: &str) -> bool {
        let is_served = |wanted: &String| certificate(response) == certificate(wanted);
        response.contains(REFUSED)
            || self.certificate.as_ref().is_none_or(is_served)
                && self.authorities.is_none_or(|wanted| authorities(response) == wanted)
    }
}

impl Site {
    /// Waits until every listener of the node's `etcd` serves what is expected.
    pub(super) fn wait_for_certificates(
        &self,
        node: &Node,
        expected: &ExpectedCertificates,
    ) -> Result<(), SiteError> {
        for port in PORTS {
            let command = format!(
                "sudo openssl s_client -connect {}:{port} -showcerts -cert {FOLDER}/client.pem \
                 -key {FOLDER}/client-key.pem </dev/null 2>&1",
                node.address
            );
            let deadline = Instant::now() + limits::CERTIFICATES_TIMEOUT;
            loop {
                let response =
                    ssh::run(&self.layout, node, ssh::Connection::Own, &command, b"", limits::COMMAND)
                        .map_err(|source| SiteError::Ssh { node: node.name.clone(), source })?;
                if expected.matches(&response.stdout) {
                    break;
                }
                self.check_cancelled()?;
                if Instant::now() > deadline {
                    return Err(SiteError::CertificatesNotServed { node: node.name.clone(), port });
                }
                std::thread::sleep(limits::TICK);
            }
        }
        Ok(())
    }
}

/// The first certificate in `text`, without white space.
fn certificate(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(BEGIN)?;
    Some(rest.split_once(END)?.0.split_ascii_whitespace().collect())
}

/// Number of authorities from which the listener accepts client certificates.
fn authorities(response: &str) -> usize {
    let mut lines =
        response.lines().skip_while(|line| !line.starts_with("Acceptable client certificate CA names"));
    lines.next();
    lines.take_while(|line| line.contains('=')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output of OpenSSL 3.5.
    const RESPONSE: &str = "Connecting to 10.77.0.11\nCONNECTED(00000003)\n---\nCertificate chain\n 0 s:CN=core-01\n   \
        i:CN=keelson cluster a\n-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n---\n\
        Server certificate\nsubject=CN=core-01\nissuer=CN=keelson cluster a\n---\n\
        Acceptable client certificate CA names\nCN=keelson cluster a\nCN=keelson cluster a\n\
        Requested Signature Algorithms: ECDSA+SHA384:ECDSA+SHA256\n---\n";

    #[test]
    fn a_listener_matches_once_it_serves_the_new_certificates() {
        let check = |certificate: Option<&str>, authorities: Option<usize>, expect: bool| {
            let certificate = certificate.map(|body| format!("{BEGIN}\n{body}\n{END}\n"));
            assert_eq!(
                ExpectedCertificates { certificate, authorities }.matches(RESPONSE),
                expect,
                "{authorities:?}"
            );
        };
        check(None, None, true);
        check(Some("AAAABBBB"), None, true);
        check(Some("AAAACCCC"), None, false);
        check(None, Some(2), true);
        check(None, Some(1), false);
        check(Some("AAAABBBB"), Some(2), true);
        let refused =
            "40F7:error:8000006F:system library:BIO_connect:Connection refused\nconnect:errno=111\n";
        let expected = ExpectedCertificates { certificate: None, authorities: Some(1) };
        assert!(expected.matches(refused), "nobody listens");
        assert!(!expected.matches("CONNECTED(00000003)\nno peer certificate available\n"));
    }
}
