//! Why the command line of a pod is refused.

use oci_image::NameError;

use crate::app_name::AppNameError;
use crate::capabilities::CapabilityError;
use crate::limits::{MAX_APPS, MAX_ENTRIES, MAX_HOSTNAME};
use crate::network::{NetworkError, NetworkMode};
use crate::quantity::QuantityError;
use crate::volume::VolumeError;

/// Why a command line is refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum RequestError {
    #[error("{0}")]
    Flag(String),
    #[error("an image is required: rkt run IMAGE [--exec PROGRAM] [-- ARGUMENTS] [--- IMAGE...]")]
    NoImage,
    #[error("arguments after -- belong to an image, which must precede them")]
    NoImageBeforeArguments,
    #[error("--{0} belongs to an image, which must precede it")]
    NoImageBefore(&'static str),
    #[error("more than {MAX_APPS} apps")]
    Apps,
    #[error("more than {MAX_ENTRIES} values of --{0}")]
    Entries(&'static str),
    #[error("{flag} {value:?}; expected NAME=VALUE")]
    Environment { flag: &'static str, value: String },
    #[error("--hosts-entry {0:?}; expected ADDRESS=NAME, or host")]
    Hosts(String),
    #[error("--dns {0:?}; expected an IP address, host or none")]
    Dns(String),
    #[error("--{flag} {value:?} contains white space or control characters")]
    Text { flag: &'static str, value: String },
    #[error("host name {0:?}; expected letters, digits, dashes and dots, at most {MAX_HOSTNAME}")]
    Hostname(String),
    #[error("--interactive needs exactly one app, not {0}")]
    Interactive(usize),
    #[error("--supplementary-gids {0:?}; expected numbers joined by commas")]
    Groups(String),
    #[error("--oom-score-adj {0}; expected -1000 to 1000")]
    OomScore(i64),
    #[error("--{flag} {value:?}; expected {expected}")]
    Choice { flag: &'static str, value: String, expected: String },
    #[error("--exec is empty")]
    Exec,
    #[error("volume {0:?} is defined twice")]
    VolumeTwice(String),
    #[error("there is no volume {0:?}; define it with --volume")]
    NoVolume(String),
    #[error("the apps {0:?} and another have the same name; use --name")]
    SameName(String),
    #[error("--port needs --net=default or --net=flannel, not --net={0}")]
    PortNetwork(NetworkMode),
    #[error("--{flag} is not supported: {reason}")]
    Refused { flag: &'static str, reason: &'static str },
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    #[error(transparent)]
    AppName(#[from] AppNameError),
    #[error(transparent)]
    Name(#[from] NameError),
}
