//! What the listeners of a node's `etcd` show of certificates: asked on the node, as a client would see it.

use std::time::Instant;

use super::{Site, SiteError};
use crate::certificates::FOLDER;
use crate::cluster::Node;
use crate::{limits, ssh};

/// For clients, and for the other members.
const PORTS: [u16; 2] = [2379, 2380];
pub(super) const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// What openssl says where nobody listens: there is nobody to wait for.
const REFUSED: &str = "errno=111";

/// What is to be seen at a listener, as far as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// Its certificate, PEM.
    pub(super) certificate: Option<String>,
    /// How many authorities it trusts. They have one name, so that they can only be counted.
    pub(super) trusts: Option<usize>,
}

impl Expected {
    fn is_met(&self, answer: &str) -> bool {
        let shown = |wanted: &String| certificate(answer) == certificate(wanted);
        answer.contains(REFUSED)
            || self.certificate.as_ref().is_none_or(shown)
                && self.trusts.is_none_or(|wanted| trusts(answer) == wanted)
    }
}

impl Site {
    /// Waits until every listener of the node's `etcd` shows what is expected.
    pub(super) fn wait_shown(&self, node: &Node, expected: &Expected) -> Result<(), SiteError> {
        for port in PORTS {
            let command = format!(
                "sudo openssl s_client -connect {}:{port} -showcerts -cert {FOLDER}/client.pem \
                 -key {FOLDER}/client-key.pem </dev/null 2>&1",
                node.address
            );
            let deadline = Instant::now() + limits::CERTIFICATES_SEEN;
            loop {
                let answer =
                    ssh::run(&self.layout, node, ssh::Connection::Own, &command, b"", limits::COMMAND)
                        .map_err(|source| SiteError::Ssh { node: node.name.clone(), source })?;
                if expected.is_met(&answer.stdout) {
                    break;
                }
                self.check_cancelled()?;
                if Instant::now() > deadline {
                    return Err(SiteError::Shown { node: node.name.clone(), port });
                }
                std::thread::sleep(limits::TICK);
            }
        }
        Ok(())
    }
}

/// The first certificate of some text, as one word.
fn certificate(text: &str) -> Option<String> {
    let (_, behind) = text.split_once(BEGIN)?;
    Some(behind.split_once(END)?.0.split_ascii_whitespace().collect())
}

/// How many authorities a listener names from which it takes clients' certificates.
fn trusts(answer: &str) -> usize {
    let mut lines =
        answer.lines().skip_while(|line| !line.starts_with("Acceptable client certificate CA names"));
    lines.next();
    lines.take_while(|line| line.contains('=')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As OpenSSL 3.5 tells it.
    const ANSWER: &str = "Connecting to 10.77.0.11\nCONNECTED(00000003)\n---\nCertificate chain\n 0 s:CN=core-01\n   \
        i:CN=keelson cluster a\n-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n---\n\
        Server certificate\nsubject=CN=core-01\nissuer=CN=keelson cluster a\n---\n\
        Acceptable client certificate CA names\nCN=keelson cluster a\nCN=keelson cluster a\n\
        Requested Signature Algorithms: ECDSA+SHA384:ECDSA+SHA256\n---\n";

    #[test]
    fn a_listener_is_waited_for_until_it_shows_what_is_new() {
        let check = |certificate: Option<&str>, trusts: Option<usize>, expect: bool| {
            let certificate = certificate.map(|body| format!("{BEGIN}\n{body}\n{END}\n"));
            assert_eq!(Expected { certificate, trusts }.is_met(ANSWER), expect, "{trusts:?}");
        };
        check(None, None, true);
        check(Some("AAAABBBB"), None, true);
        check(Some("AAAACCCC"), None, false);
        check(None, Some(2), true);
        check(None, Some(1), false);
        check(Some("AAAABBBB"), Some(2), true);
        let nobody = "40F7:error:8000006F:system library:BIO_connect:Connection refused\nconnect:errno=111\n";
        let expected = Expected { certificate: None, trusts: Some(1) };
        assert!(expected.is_met(nobody), "nobody listens");
        assert!(!expected.is_met("CONNECTED(00000003)\nno peer certificate available\n"));
    }
}
