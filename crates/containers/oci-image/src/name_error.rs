//! Why a text is no image name.

use crate::digest::DigestError;
use crate::limits::MAX_NAME;

/// Why a text is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum NameError {
    #[error("an image name of {0} characters: at most {MAX_NAME} are accepted")]
    Long(usize),
    #[error("{name:?} is no image name ({reason}): expected [REGISTRY/]REPOSITORY[:TAG][@DIGEST]")]
    Reference { name: String, reason: &'static str },
    #[error("image name {name:?}")]
    Digest { name: String, source: DigestError },
    #[error("{name:?}: the scheme {scheme:?} is not supported; expected docker:// or none")]
    Scheme { name: String, scheme: String },
    #[error("{name:?} is no App Container name ({reason}): expected NAME[,LABEL=VALUE...]")]
    App { name: String, reason: &'static str },
}
