//! Who one is on other machines: the keys and settings of SSH, and what is said where there are none.

use std::path::PathBuf;

use ssh_client::{Error, Settings};

use crate::global::Ssh;

/// What the acceptance list promises, before the original's longer text.
const NO_AGENT: &str = "SSH_AUTH_SOCK environment variable must be set";

/// What is not in the original's.
const HINT: &str =
    "hint: log in with your agent's keys (ssh -A, keelson ssh NAME -- -A), or give --ssh-identity-file FILE";

pub fn settings(ssh: &Ssh, forward_agent: bool) -> Settings {
    Settings {
        forward_agent,
        user: ssh.user.clone(),
        timeout: ssh.timeout,
        identity: ssh.identity.clone(),
        agent: agent(),
        known_hosts: ssh.known_hosts.clone(),
    }
}

fn agent() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(Into::into)
}

/// An error of SSH behind `prefix`.
pub fn told(prefix: &str, error: &Error) -> String {
    match error {
        Error::NoAgent => format!("{NO_AGENT}\n{prefix}{error}\n{HINT}"),
        other => format!("{prefix}{other}"),
    }
}

/// Whether there is a key to show to other machines.
pub fn has_keys(ssh: &Ssh) -> bool {
    agent().is_some() || ssh.identity.is_some()
}
