//! Errors of discovery, and their log lines.

use std::path::Path;

use thiserror::Error;

use crate::config::hide_password;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DiscoveryError {
    #[error("discovery: invalid URL")]
    InvalidUrl,
    #[error("discovery: size key is bad")]
    BadSize,
    #[error("discovery: size key not found")]
    NoSize,
    #[error("discovery: bad discovery endpoint")]
    BadEndpoint,
    #[error("discovery: found duplicate id")]
    DuplicateId,
    #[error("discovery: found duplicate name")]
    DuplicateName,
    #[error("discovery: cluster is full")]
    Full,
    /// The service's error message.
    #[error("{0}")]
    Refused(String),
    #[error("{step}: no response: {reason}")]
    NoAnswer { step: &'static str, reason: String },
}

/// Lines for the log before the program exits with 1.
pub fn failure_lines(error: &DiscoveryError, name: &str, url: &str, data_dir: &Path) -> Vec<String> {
    let url = hide_password(url);
    match error {
        DiscoveryError::DuplicateId => vec![
            format!("member {name:?} has previously registered with discovery service token ({url})."),
            format!("But no valid cluster configuration was found in the data dir ({}).", data_dir.display()),
            "If the earlier start succeeded, check the path of the data dir.".to_owned(),
            "If it failed, use a new discovery token.".to_owned(),
        ],
        DiscoveryError::DuplicateName => vec![
            format!("member with duplicated name has registered with discovery service token({url})."),
            "Look at the token (cURL) to see who registered.".to_owned(),
            "Use a new token for this cluster; one is never used twice.".to_owned(),
        ],
        other => vec![
            format!("failed to join discovery cluster ({other})"),
            format!("discovery token {url} was used, but failed to bootstrap the cluster."),
            "Make a new discovery token and try again.".to_owned(),
        ],
    }
}
