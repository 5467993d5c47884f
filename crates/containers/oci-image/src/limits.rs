//! Limits of what registries and archives may send.

/// Bytes of a manifest or an index; registries have the same limit.
pub const MAX_DOCUMENT: u64 = 4 << 20;
/// Bytes of an image configuration.
pub const MAX_CONFIG: u64 = 8 << 20;
/// Bytes of a compressed layer.
pub const MAX_LAYER: u64 = 64 << 30;
/// Layers of an image. Docker creates up to 127.
pub const MAX_LAYERS: usize = 512;
/// Manifests of an index.
pub const MAX_MANIFESTS: usize = 1024;
/// Characters of an image name.
pub const MAX_NAME: usize = 512;
/// Characters of a header with an authentication challenge.
pub const MAX_CHALLENGE: usize = 8 << 10;
/// Bytes of a file with credentials.
pub const MAX_CREDENTIALS: u64 = 1 << 20;
/// Bytes of what a signature covers.
pub const MAX_PAYLOAD: u64 = 64 << 10;
/// Signatures that are tried for one image.
pub const MAX_SIGNATURES: usize = 64;
