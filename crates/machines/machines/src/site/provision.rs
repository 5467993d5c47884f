//! Provisions a site's nodes with user-data, names and keys, at their next boot or immediately.

use std::time::Duration;

use super::{Site, SiteError};
use crate::cluster::{BackendKind, Cluster, Datasource, Node};
use crate::config_drive::Drive;
use crate::store::replace;
use crate::{keys, ssh};

impl Site {
    /// Sets the user-data of nodes from their next start. Returns whether it changed.
    pub fn set_user_data(&self, content: &[u8]) -> Result<bool, SiteError> {
        let path = self.layout.user_data();
        if std::fs::read(&path).is_ok_and(|before| before == content) {
            return Ok(false);
        }
        replace(&path, content).map_err(|source| SiteError::Write { path, source })?;
        Ok(true)
    }

    /// The nodes' user-data, if any was set.
    fn user_data(&self) -> Result<Option<Vec<u8>>, SiteError> {
        let path = self.layout.user_data();
        match std::fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SiteError::Read { path, source }),
        }
    }

    pub(super) fn drive(&self, node: &Node) -> Result<Drive, SiteError> {
        let public = keys::ensure(&self.layout.key(), &format!("keelson-{}", self.state().name))?;
        let user_data = self.user_data()?;
        let Cluster { datasource, backend, .. } = self.cluster();
        match (datasource, backend) {
            (Datasource::Platform, _) => Ok(Drive::of(Vec::new())),
            (Datasource::NoCloud, BackendKind::Qemu) => Ok(Drive::seed(node, &public, user_data.as_deref())?),
            _ => Ok(Drive::new(node, &public, user_data.as_deref())?),
        }
    }

    /// Applies the user-data to a running node, now and at its next boots. `limit` bounds the start of its units.
    pub fn provision(&self, name: &str, limit: Duration) -> Result<(), SiteError> {
        const COMMAND: &str = "sudo sh -c 'umask 077; cat >/run/keelson-user-data; \
            coreos-cloudinit --from-file=/run/keelson-user-data; code=$?; rm /run/keelson-user-data; exit $code'";
        let node = self.node(name)?;
        self.backend
            .update_drive(&node, &self.drive(&node)?)
            .map_err(|source| SiteError::Backend { node: name.to_owned(), source })?;
        let content = self.user_data()?.unwrap_or_default();
        let output = ssh::run(&self.layout, &node, ssh::Connection::Own, COMMAND, &content, limit)
            .map_err(|source| SiteError::Ssh { node: name.to_owned(), source })?;
        if output.code == 0 {
            return Ok(());
        }
        let message = output.stderr.trim().to_owned();
        Err(SiteError::Command {
            node: name.to_owned(),
            command: "coreos-cloudinit",
            code: output.code,
            message,
        })
    }
}
