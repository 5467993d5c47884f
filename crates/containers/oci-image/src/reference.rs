//! References of images in registries, with Docker's grammar and defaults.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::limits::MAX_NAME;
use crate::name_error::NameError;
use crate::reference_grammar::parts;

const DEFAULT_TAG: &str = "latest";

/// An image in a registry, with all defaults of Docker's names filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's name, with its port: `docker.io`, `localhost:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The host, with its port, that serves the registry's API.
    #[must_use]
    pub fn api_host(&self) -> &str {
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }

    /// The path within the registry: `library/busybox`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. `None` if the digest alone selects the image.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of manifest or index.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What a request for the manifest names: the digest, else the tag.
    #[must_use]
    pub fn selector(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// Another tag in the same repository.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = NameError;

    /// Docker's grammar: `busybox` is `docker.io/library/busybox:latest`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME {
            return Err(NameError::Long(text.len()));
        }
        let parts = parts(text).map_err(|reason| NameError::Reference { name: text.to_owned(), reason })?;
        let digest = parts.digest.map(str::parse).transpose();
        let digest = digest.map_err(|source| NameError::Digest { name: text.to_owned(), source })?;
        let default = digest.is_none().then_some(DEFAULT_TAG);
        Ok(Self {
            registry: parts.registry.to_owned(),
            repository: parts.repository,
            tag: parts.tag.or(default).map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(to, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(to, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_request_prefers_the_digest() {
        let check = |text: &str, host: &str, selector: &str| {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.api_host(), reference.selector().as_str()), (host, selector));
        };
        check("a", "registry-1.docker.io", "latest");
        check("h:1/a:2", "h:1", "2");
        check(&format!("h.x/a:2@{DIGEST}"), "h.x", DIGEST);
    }
}
