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
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error("there is no cluster {0} (keelson up makes it)")]
    NoCluster(String),
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
    #[error("can not read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("can not write {path}")]
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
