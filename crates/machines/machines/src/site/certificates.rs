//! Certificate rotation on running nodes: files are replaced atomically over ssh, and `etcd` reloads them without a
//! restart.

use authority::Authority;

use super::served_certificates::{BEGIN, ExpectedCertificates};
use super::{Site, SiteError};
use crate::certificates::{self, CREDENTIALS, FOLDER};
use crate::cluster::Node;
use crate::process::Process;
use crate::{limits, ssh};

/// The credential with the certificate that a member presents.
const MEMBER_CERTIFICATE: &str = "etcd.certificate";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    Certificates,
    /// Also the authority. Members trust the old and the new one during the rotation.
    Authority,
}

impl Site {
    /// Issues new certificates to every node; all nodes must be running.
    pub fn rotate(&self, what: Rotate) -> Result<(), SiteError> {
        let cluster = self.cluster();
        if !cluster.tls {
            return Err(SiteError::NoTls(cluster.name));
        }
        if let Some(stopped) = cluster.nodes.iter().find(|node| !node.process.is_some_and(Process::alive)) {
            return Err(SiteError::Stopped(stopped.name.clone()));
        }
        let mut authority = certificates::open(&self.layout, &cluster)?;
        if what == Rotate::Authority {
            authority = authority.rotate()?;
            self.trust(&cluster.nodes, &authority)?;
        }
        for node in &cluster.nodes {
            let issued = certificates::issue(&authority, node)?;
            self.install(node, &issued)?;
            let certificate =
                issued.into_iter().find(|(name, _)| *name == MEMBER_CERTIFICATE).map(|(_, content)| content);
            self.wait_for_certificates(node, &ExpectedCertificates { certificate, authorities: None })?;
        }
        if what == Rotate::Authority {
            authority.drop_previous()?;
            self.trust(&cluster.nodes, &authority)?;
        }
        Ok(())
    }

    /// Installs the trusted authorities on all nodes before any node presents a certificate of a new one.
    fn trust(&self, nodes: &[Node], authority: &Authority) -> Result<(), SiteError> {
        let trusted = authority.trusted()?;
        for node in nodes {
            self.install(node, &[("etcd.ca", trusted.clone())])?;
        }
        let authorities = Some(trusted.matches(BEGIN).count());
        nodes.iter().try_for_each(|node| {
            self.wait_for_certificates(node, &ExpectedCertificates { certificate: None, authorities })
        })
    }

    fn install(&self, node: &Node, issued: &[(&str, String)]) -> Result<(), SiteError> {
        for (name, content) in issued {
            let Some((_, file)) = CREDENTIALS.iter().find(|(credential, _)| credential == name) else {
                continue;
            };
            // The new file takes owner and mode from the one it replaces.
            let command = format!(
                "sudo sh -c 'cd {FOLDER} && umask 077 && cat >{file}.new && chown --reference={file} {file}.new \
                 && chmod --reference={file} {file}.new && mv {file}.new {file}'"
            );
            let output = ssh::run(
                &self.layout,
                node,
                ssh::Connection::Own,
                &command,
                content.as_bytes(),
                limits::COMMAND,
            )
            .map_err(|source| SiteError::Ssh { node: node.name.clone(), source })?;
            if output.code != 0 {
                let message = output.stderr.trim().to_owned();
                let (node, code) = (node.name.clone(), output.code);
                return Err(SiteError::Command { node, command: "writing certificates", code, message });
            }
        }
        certificates::save(self.layout.node(&node.name).root(), issued)?;
        Ok(())
    }
}
