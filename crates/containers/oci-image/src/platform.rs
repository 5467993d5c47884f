//! Platforms: operating system, architecture and variant.

use std::fmt;

/// Operating system, architecture and variant, in Go's names: `linux/arm64`. The variant is empty where it is the default
/// (`v8` of arm64).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: String,
}

/// Names of architectures as the kernel and Rust have them, and Go's.
const ARCHITECTURES: [(&str, &str); 5] =
    [("x86_64", "amd64"), ("aarch64", "arm64"), ("i686", "386"), ("x86", "386"), ("x86-64", "amd64")];

impl Platform {
    /// A platform by names of Go, the kernel or Rust.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let known = ARCHITECTURES.iter().find(|(name, _)| *name == architecture);
        let architecture = known.map_or(architecture, |(_, go)| go);
        let variant = match (architecture, variant) {
            ("arm64", "v8") | ("amd64", "v1") => "",
            ("arm", "") => "v7",
            (_, variant) => variant,
        };
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.to_owned() }
    }

    /// Linux on an architecture, such as [`std::env::consts::ARCH`].
    #[must_use]
    pub fn linux(architecture: &str) -> Self {
        Self::new("linux", architecture, "")
    }

    /// Whether programs for `other` run on this platform. A configuration without a variant fits all of them.
    #[must_use]
    pub fn runs(&self, other: &Self) -> bool {
        self.preference(other).is_some()
    }

    /// The lower, the better; `None` if `other` does not run here.
    pub(crate) fn preference(&self, other: &Self) -> Option<usize> {
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        let variants: &[&str] = match (self.architecture.as_str(), self.variant.as_str()) {
            ("arm", "v7") => &["v7", "v6", "v5"],
            ("arm", "v6") => &["v6", "v5"],
            (_, variant) => &[variant, ""],
        };
        variants.iter().position(|variant| *variant == other.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(to, "/{}", self.variant) }
    }
}
