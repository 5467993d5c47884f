//! Errors of operations on a cluster.

use std::path::PathBuf;

use crate::backend::BackendError;
use crate::cluster::ClusterSpecError;
use crate::config_drive::DriveError;
use crate::keys::KeyError;
use crate::lan::LanError;
use crate::process::ProcessError;
use crate::ready::ReadyError;
use crate::ssh;
use crate::store::{Layout, STATE, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error("cluster {name} does not exist{} (keelson up creates it)", others(.has))]
    NoCluster { name: String, has: Vec<String> },
    #[error("node {name} does not exist; the nodes are {}", .has.join(", "))]
    NoNode { name: String, has: Vec<String> },
    #[error("{0} is not running (keelson start {0})")]
    Stopped(String),
    #[error("{0} is already running")]
    Running(String),
    #[error("cluster {0} was created without TLS: its machines have no certificates")]
    NoTls(String),
    #[error("{node}: port {port} does not show the new certificates after {} s", crate::limits::CERTIFICATES_TIMEOUT.as_secs())]
    CertificatesNotServed { node: String, port: u16 },
    #[error(transparent)]
    Certificates(#[from] crate::certificates::CertificatesError),
    #[error("cannot use the cluster's certificate authority")]
    Authority(#[from] authority::AuthorityError),
    #[error("the discovery service did not start: {message} (log: {log})")]
    Discovery { log: PathBuf, message: String },
    #[error(transparent)]
    NotReady(#[from] Box<NotReady>),
    #[error("interrupted")]
    Interrupted,
    #[error("{node}")]
    Backend { node: String, source: BackendError },
    #[error("cannot connect {name} to the LAN")]
    LanHost { name: String, source: std::io::Error },
    #[error("cannot find a free port")]
    Port(#[source] std::io::Error),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot log in to {node} with SSH")]
    Ssh { node: String, source: ssh::RunError },
    #[error("{node}: {command} failed with code {code}: {message}")]
    Command { node: String, command: &'static str, code: i32, message: String },
    #[error(transparent)]
    Open(#[from] BackendError),
    #[error(transparent)]
    Spec(#[from] ClusterSpecError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error(transparent)]
    Lan(#[from] LanError),
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl SiteError {
    /// Lists the names of the other clusters in the same state folder.
    #[must_use]
    pub fn no_cluster(layout: &Layout) -> Self {
        let name = layout.root().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = layout.root().parent().and_then(|folder| std::fs::read_dir(folder).ok());
        let folders = beside.into_iter().flatten().filter_map(Result::ok);
        let clusters = folders.filter(|folder| folder.path().join(STATE).exists());
        let mut has: Vec<String> =
            clusters.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
        has.sort();
        Self::NoCluster { name, has }
    }
}

fn others(has: &[String]) -> String {
    if has.is_empty() { String::new() } else { format!("; there is {} (--cluster NAME)", has.join(", ")) }
}

/// A node that did not become ready, with the known details.
#[derive(Debug, thiserror::Error)]
#[error("{node} is not ready: {reason}{}", report(.console_tail, .unit, .diagnosis))]
pub struct NotReady {
    pub node: String,
    pub reason: ReadyError,
    pub console_tail: Vec<String>,
    /// The unit that its boot was waiting for.
    pub unit: Option<String>,
    pub diagnosis: Option<String>,
    pub console: PathBuf,
}

fn report(console_tail: &[String], unit: &Option<String>, diagnosis: &Option<String>) -> String {
    let mut text = String::new();
    for (what, value) in [("it is waiting for ", unit), ("", diagnosis)] {
        text.extend(value.iter().flat_map(|value| ["; ", what, value]));
    }
    if console_tail.is_empty() {
        return text + "; the console is empty";
    }
    text += "\nlast lines of the console:";
    for line in console_tail {
        text += "\n    ";
        text += line;
    }
    text
}
