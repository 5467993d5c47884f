//! Errors of connections, with fleet's messages where it has one.

use std::io;
use std::path::PathBuf;

/// Why an operation failed. Most texts are those of Go's ssh package, as known from the original.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Error {
    #[error(
        "SSH_AUTH_SOCK environment variable is not set. Verify ssh-agent is running. See \
         https://github.com/coreos/fleet/blob/master/Documentation/using-the-client.md for help."
    )]
    NoAgent,
    #[error("cannot run ssh (package openssh-client): {0}")]
    Client(io::Error),
    #[error("dial unix {}: connect: {cause}", path.display())]
    Agent { path: PathBuf, cause: String },
    #[error("timed out while initiating SSH connection")]
    TimedOut,
    #[error("dial tcp {address}: {cause}")]
    Dial { address: String, cause: String },
    #[error("host key mismatch")]
    HostKeyChanged,
    #[error(
        "{}:{line}: the host key of {address} is revoked: {key}; give the host a new key, then connect again",
        path.display()
    )]
    HostKeyRevoked { path: PathBuf, line: usize, address: String, key: String },
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
    /// OpenSSH's message.
    #[error("ssh: {0}")]
    Protocol(String),
    #[error("ssh: the other side refused to {0}")]
    Refused(String),
    #[error("ssh: the connection ended before the command did")]
    Cut,
    #[error("{}: cannot make a folder for ssh: {cause}", path.display())]
    RuntimeDirectory { path: PathBuf, cause: io::Error },
    /// A local pipe, file or process.
    #[error("ssh: {0}")]
    Local(io::Error),
    #[error("terminal: {0}")]
    Terminal(io::Error),
}

/// The message of a system error as in Go: in lower case, without the number.
pub fn lower_case(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
