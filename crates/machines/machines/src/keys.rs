//! The ssh key pair of a cluster. The private key never leaves the cluster's folder.

use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot run ssh-keygen (package openssh-client)")]
    Run(#[source] std::io::Error),
    #[error("ssh-keygen cannot create {path}: {message}")]
    Failed { path: PathBuf, message: String },
    #[error("cannot read the public key {path}")]
    Read { path: PathBuf, source: std::io::Error },
}

/// Creates the pair if it does not exist, and returns the public key as one `authorized_keys` line.
pub fn ensure(private: &Path, comment: &str) -> Result<String, KeyError> {
    let mut name = private.as_os_str().to_owned();
    name.push(".pub");
    let public = PathBuf::from(name);
    if !private.exists() || !public.exists() {
        let output = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
            .arg(private)
            .stdin(std::process::Stdio::null())
            .output()
            .map_err(KeyError::Run)?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(KeyError::Failed { path: private.to_path_buf(), message });
        }
    }
    let line = std::fs::read_to_string(&public).map_err(|source| KeyError::Read { path: public, source })?;
    Ok(line.trim().to_owned())
}
