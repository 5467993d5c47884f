//! New certificates for nodes that run: written over ssh, each file whole; `etcd` reads them without a restart.

use authority::Authority;

use super::shown::{BEGIN, Expected};
use super::{Site, SiteError};
use crate::certificates::{self, CREDENTIALS, FOLDER};
use crate::cluster::Node;
use crate::process::Process;
use crate::{limits, ssh};

/// The credential that a member shows to all.
const MEMBER: &str = "etcd.certificate";

/// What a rotation replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    Certificates,
    /// The authority too: members trust the old and the new one while certificates change.
    Authority,
}

impl Site {
    /// Gives every node new certificates; all of them must run.
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
            authority = authority.renew()?;
            self.trust(&cluster.nodes, &authority)?;
        }
        for node in &cluster.nodes {
            let issued = certificates::issue(&authority, node)?;
            self.place(node, &issued)?;
            let certificate =
                issued.into_iter().find(|(name, _)| *name == MEMBER).map(|(_, content)| content);
            self.wait_shown(node, &Expected { certificate, trusts: None })?;
        }
        if what == Rotate::Authority {
            authority.forget_former()?;
            self.trust(&cluster.nodes, &authority)?;
        }
        Ok(())
    }

    /// All nodes get the list of trusted authorities, before anybody shows a certificate of a new one.
    fn trust(&self, nodes: &[Node], authority: &Authority) -> Result<(), SiteError> {
        let trusted = authority.trusted()?;
        for node in nodes {
            self.place(node, &[("etcd.ca", trusted.clone())])?;
        }
        let trusts = Some(trusted.matches(BEGIN).count());
        nodes.iter().try_for_each(|node| self.wait_shown(node, &Expected { certificate: None, trusts }))
    }

    fn place(&self, node: &Node, issued: &[(&str, String)]) -> Result<(), SiteError> {
        for (name, content) in issued {
            let Some((_, file)) = CREDENTIALS.iter().find(|(credential, _)| credential == name) else {
                continue;
            };
            // Owner and mode are those of the file that was there.
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
                let said = output.stderr.trim().to_owned();
                let (node, code) = (node.name.clone(), output.code);
                return Err(SiteError::Command { node, command: "writing certificates", code, said });
            }
        }
        certificates::keep(self.layout.node(&node.name).root(), issued)?;
        Ok(())
    }
}
