//! Why there is no connection, or why it broke. Where the original had a text, it is that.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "SSH_AUTH_SOCK environment variable is not set. Verify ssh-agent is running. See \
         https://github.com/coreos/fleet/blob/master/Documentation/using-the-client.md for help."
    )]
    NoAgent,
    #[error("dial unix {}: connect: {cause}", path.display())]
    Agent { path: PathBuf, cause: String },
    #[error("timed out while initiating SSH connection")]
    TimedOut,
    #[error("dial tcp {address}: {cause}")]
    Dial { address: String, cause: String },
    #[error("host key mismatch")]
    HostKeyChanged,
    #[error("Host key verification failed.")]
    HostKeyRefused,
    #[error("{}: {cause}", path.display())]
    KnownHosts { path: PathBuf, cause: String },
    #[error("{}: no private key that can be used: {cause}", path.display())]
    Identity { path: PathBuf, cause: String },
    #[error(
        "ssh: handshake failed: ssh: unable to authenticate {user} with the {tried} key(s) that there are"
    )]
    Authentication { user: String, tried: usize },
    #[error("ssh: {0}")]
    Protocol(#[from] russh::Error),
    #[error("ssh: the other side refused to {0}")]
    Refused(&'static str),
    #[error("ssh: the connection ended before the command did")]
    Cut,
    #[error("terminal: {0}")]
    Terminal(std::io::Error),
}
