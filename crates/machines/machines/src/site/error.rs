//! Why something could not be done with a cluster.

use std::path::PathBuf;

use crate::backend::BackendError;
use crate::cluster::WishError;
use crate::config_drive::DriveError;
use crate::keys::KeyError;
use crate::lan::LanError;
use crate::process::ProcessError;
use crate::ready::ReadyError;
use crate::ssh;
use crate::store::{Layout, STATE, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error("there is no cluster {name}{} (keelson up makes it)", others(.has))]
    NoCluster { name: String, has: Vec<String> },
    #[error("there is no node {name}; there are {}", .has.join(", "))]
    NoNode { name: String, has: Vec<String> },
    #[error("{0} is not running (keelson start {0})")]
    Stopped(String),
    #[error("{0} is running already")]
    Running(String),
    #[error("cluster {0} was made without TLS: its machines have no certificates")]
    NoTls(String),
    #[error("{node}: port {port} does not show the new certificates after {} s", crate::limits::CERTIFICATES_SEEN.as_secs())]
    Shown { node: String, port: u16 },
    #[error(transparent)]
    Certificates(#[from] crate::certificates::CertificatesError),
    #[error("the cluster's certificate authority")]
    Authority(#[from] authority::AuthorityError),
    #[error("the discovery service did not start; {log} says: {said}")]
    Discovery { log: PathBuf, said: String },
    #[error(transparent)]
    NotReady(#[from] Box<NotReady>),
    #[error("interrupted")]
    Interrupted,
    #[error("{node}")]
    Backend { node: String, source: BackendError },
    #[error("no free port was found")]
    Port(#[source] std::io::Error),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{node} does not answer by ssh")]
    Ssh { node: String, source: ssh::RunError },
    #[error("{node}: {command} failed with code {code}: {said}")]
    Command { node: String, command: &'static str, code: i32, said: String },
    #[error(transparent)]
    Open(#[from] BackendError),
    #[error(transparent)]
    Wish(#[from] WishError),
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
    /// With the names of the clusters beside the one that is not there.
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

/// A node that did not come up, with what is known about why.
#[derive(Debug, thiserror::Error)]
#[error("{node} did not come up: {why}{}", report(.shown, .unit, .remark))]
pub struct NotReady {
    pub node: String,
    pub why: ReadyError,
    /// The last lines of its console.
    pub shown: Vec<String>,
    /// The unit that its boot was waiting for.
    pub unit: Option<String>,
    pub remark: Option<String>,
    pub console: PathBuf,
}

fn report(shown: &[String], unit: &Option<String>, remark: &Option<String>) -> String {
    let mut text = String::new();
    for (what, detail) in [("it waited for ", unit), ("", remark)] {
        text.extend(detail.iter().flat_map(|detail| ["; ", what, detail]));
    }
    if shown.is_empty() {
        return text + "; its console shows nothing";
    }
    text += "\nits console ends with:";
    for line in shown {
        text += "\n    ";
        text += line;
    }
    text
}
