//! Certificates of a cluster whose etcd uses TLS: an authority in the cluster's folder, and for each node the
//! certificates of its `etcd` and of its `core` user. Nodes receive them as credentials at their first boot; the
//! image's tmpfiles.d copies them to `/etc/ssl/etcd`, where a rotation replaces them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use authority::{Authority, AuthorityError, Issued, Subject};

use crate::cluster::{Cluster, Node};
use crate::store::{Layout, replace};

/// Folder of the certificates on a node.
pub const FOLDER: &str = "/etc/ssl/etcd";
/// Credentials and the names of their files in [`FOLDER`].
pub const CREDENTIALS: [(&str, &str); 5] = [
    ("etcd.ca", "ca.pem"),
    ("etcd.certificate", "member.pem"),
    ("etcd.key", "member-key.pem"),
    ("etcd.client-certificate", "client.pem"),
    ("etcd.client-key", "client-key.pem"),
];

/// `ETCD_*` variables of a member that uses TLS and requires client certificates.
#[must_use]
pub fn variables() -> String {
    let side = |prefix: &str| {
        format!(
            "ETCD_{prefix}CERT_FILE={FOLDER}/member.pem\nETCD_{prefix}KEY_FILE={FOLDER}/member-key.pem\n\
             ETCD_{prefix}TRUSTED_CA_FILE={FOLDER}/ca.pem\nETCD_{prefix}CLIENT_CERT_AUTH=true\n"
        )
    };
    side("") + &side("PEER_")
}

/// `fleetd` settings for such a member.
#[must_use]
pub fn fleet_settings() -> String {
    format!(
        "etcd_servers=https://127.0.0.1:2379\netcd_cafile={FOLDER}/ca.pem\n\
         etcd_certfile={FOLDER}/client.pem\netcd_keyfile={FOLDER}/client-key.pem\n"
    )
}

/// `LOCKSMITHD_*` variables for such a member.
#[must_use]
pub fn locksmith_variables() -> String {
    format!(
        "LOCKSMITHD_ENDPOINT=https://127.0.0.1:2379\nLOCKSMITHD_ETCD_CAFILE={FOLDER}/ca.pem\n\
         LOCKSMITHD_ETCD_CERTFILE={FOLDER}/client.pem\nLOCKSMITHD_ETCD_KEYFILE={FOLDER}/client-key.pem\n"
    )
}

pub fn open(layout: &Layout, cluster: &Cluster) -> Result<Authority, AuthorityError> {
    Authority::open(&layout.authority(), &format!("keelson cluster {}", cluster.name))
}

/// Issues new certificates; returns the content of each credential.
pub fn issue(authority: &Authority, node: &Node) -> Result<Vec<(&'static str, String)>, AuthorityError> {
    let member = authority.issue(&Subject {
        name: node.name.clone(),
        host_names: vec![node.name.clone(), "localhost".to_owned()],
        addresses: vec![IpAddr::V4(node.address), IpAddr::V4(Ipv4Addr::LOCALHOST)],
    })?;
    let client = authority.issue(&Subject {
        name: "core".to_owned(),
        host_names: Vec::new(),
        addresses: Vec::new(),
    })?;
    let Issued { certificate, key } = member;
    let contents = [authority.trusted()?, certificate, key, client.certificate, client.key];
    Ok(CREDENTIALS.iter().map(|(name, _)| *name).zip(contents).collect())
}

/// The file of a credential in a node's folder on this host.
#[must_use]
pub fn file(node_root: &Path, credential: &str) -> PathBuf {
    node_root.join("certificates").join(credential)
}

/// Issues the certificates of a node unless it has them: a running node may use them.
pub fn ensure(layout: &Layout, cluster: &Cluster, node: &Node) -> Result<(), CertificatesError> {
    let root = layout.node(&node.name).root().to_path_buf();
    if CREDENTIALS.iter().all(|(name, _)| file(&root, name).exists()) {
        return Ok(());
    }
    save(&root, &issue(&open(layout, cluster)?, node)?)
}

/// Writes the credentials to the node's folder, readable by the owner only.
pub fn save(root: &Path, issued: &[(&str, String)]) -> Result<(), CertificatesError> {
    for (name, content) in issued {
        let path = file(root, name);
        replace(&path, content.as_bytes()).map_err(|source| CertificatesError::Write { path, source })?;
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    #[error("cannot use the cluster's certificate authority")]
    Authority(#[from] AuthorityError),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: std::io::Error },
}
