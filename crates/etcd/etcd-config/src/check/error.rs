//! Errors of flags that are valid on their own but not in combination.

use thiserror::Error;

use crate::limits::{HEARTBEATS_PER_ELECTION, MAX_ELECTION_TIMEOUT_MS};
use crate::url::Url;

/// Long because the texts are the original's; operators know them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckError {
    #[error(
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\" or \"discovery-srv\""
    )]
    SeveralMethods,
    #[error("Set only one of flags -{0} and -{1}")]
    OnlyOne(&'static str, &'static str),
    #[error("-advertise-client-urls is required when -listen-client-urls is set explicitly")]
    NotAdvertised,
    #[error(
        "-election-timeout[{election}ms] should be at least as {HEARTBEATS_PER_ELECTION} times as -heartbeat-interval[{heartbeat}ms]"
    )]
    ElectionTooShort { election: u64, heartbeat: u64 },
    #[error("-election-timeout[{0}ms] is too long, and should be set less than {MAX_ELECTION_TIMEOUT_MS}ms")]
    ElectionTooLong(u64),
    #[error("-heartbeat-interval must be at least 1ms")]
    NoHeartbeat,
    #[error("-snapshot-count must be at least 1")]
    NoSnapshots,
    #[error("-{0} and -{1} must both be given, or neither")]
    CertificateAndKey(&'static str, &'static str),
    #[error("-{0} needs the authority that it checks with: -{1}")]
    NoAuthority(&'static str, &'static str),
    #[error("cannot listen on TLS for {0}: -{1} and -{2} are not given")]
    NoCertificate(Url, &'static str, &'static str),
    #[error(
        "no address to publish: no default route and no COREOS_PRIVATE_IPV4; give -initial-advertise-peer-urls and -advertise-client-urls"
    )]
    NoAddress,
    #[error("COREOS_PRIVATE_IPV4 is not an address: {0}")]
    PrivateAddress(String),
    #[error("cannot use -peers-file {0}: {1}")]
    PeersFile(String, String),
    #[error("-name must not contain '=', ',' or a line break: {0:?}")]
    Name(String),
}
