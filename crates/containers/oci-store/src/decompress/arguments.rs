//! How a parent starts a child: by a name and arguments.

use oci_image::media_type::Compression;

/// The name under which a program starts itself as a child.
pub const DECOMPRESSOR_NAME: &str = "oci-decompressor";

const NAMES: [(Compression, &str); 2] = [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")];

/// The argument of a compression that needs a child.
pub fn name(compression: Compression) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == compression).map(|(_, name)| *name)
}

/// The compression of an argument.
pub fn compression(name: &str) -> Option<Compression> {
    NAMES.iter().find(|(_, known)| *known == name).map(|(compression, _)| *compression)
}
