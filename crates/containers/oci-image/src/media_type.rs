//! Media types of images: OCI's, and those of Docker's manifest schema 2.

/// OCI's image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's index of manifests.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI's image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI's uncompressed layer; `+gzip` and `+zstd` follow.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's list of manifests.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's layer, without its compression.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Layers that registries may not distribute: Windows base images.
const NOT_DISTRIBUTED: [&str; 2] = [
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.diff.",
];

/// Values of `Accept` in requests for a manifest.
pub const ACCEPTED: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];

/// The compression of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar archive.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// OCI's media type of a layer.
    #[must_use]
    pub fn layer_type(self) -> String {
        match self {
            Self::None => OCI_LAYER.to_owned(),
            Self::Gzip => format!("{OCI_LAYER}+gzip"),
            Self::Zstd => format!("{OCI_LAYER}+zstd"),
        }
    }

    /// The compression that a file's first bytes show.
    #[must_use]
    pub fn of_magic(bytes: &[u8]) -> Self {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

/// What a layer's media type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerType {
    /// A tar archive.
    Tar(Compression),
    /// A layer that registries may not distribute.
    NotDistributed,
    /// Anything else: encrypted layers, artifacts.
    Unknown,
}

/// Classifies a layer's media type.
#[must_use]
pub fn layer_type(media_type: &str) -> LayerType {
    if NOT_DISTRIBUTED.iter().any(|prefix| media_type.starts_with(prefix)) {
        return LayerType::NotDistributed;
    }
    let suffix = media_type.strip_prefix(OCI_LAYER).or_else(|| media_type.strip_prefix(DOCKER_LAYER));
    match suffix {
        Some("") => LayerType::Tar(Compression::None),
        Some("+gzip" | ".gzip") => LayerType::Tar(Compression::Gzip),
        Some("+zstd" | ".zstd") => LayerType::Tar(Compression::Zstd),
        _ => LayerType::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_have_a_known_compression() {
        let check = |text: &str, expected: LayerType| assert_eq!(layer_type(text), expected, "{text}");
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            check(&compression.layer_type(), LayerType::Tar(compression));
        }
        check("application/vnd.docker.image.rootfs.diff.tar.gzip", LayerType::Tar(Compression::Gzip));
        check("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", LayerType::NotDistributed);
        check("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", LayerType::Unknown);
        check("application/vnd.oci.image.layer.v1.tarx", LayerType::Unknown);
        check("", LayerType::Unknown);
    }
}
