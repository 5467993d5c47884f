//! SSH settings from the global flags and the environment, and the messages for missing keys.

use std::path::PathBuf;

use ssh_client::{Error, Settings};

use crate::global::Ssh;

/// Precedes the original's longer message; the acceptance list requires it.
const NO_AGENT: &str = "SSH_AUTH_SOCK environment variable must be set";

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

/// Formats an SSH error after `prefix`, with a hint if there is no agent.
pub fn format_ssh_error(prefix: &str, error: &Error) -> String {
    match error {
        Error::NoAgent => format!("{NO_AGENT}\n{prefix}{error}\n{HINT}"),
        other => format!("{prefix}{other}"),
    }
}

/// Whether an agent or an identity file is configured.
pub fn has_keys(ssh: &Ssh) -> bool {
    agent().is_some() || ssh.identity.is_some()
}
