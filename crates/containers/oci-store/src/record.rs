//! What the store knows about an image, except its content.

use std::collections::BTreeMap;

use oci_image::Digest;
use serde::{Deserialize, Serialize};

/// An image. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The manifest's digest: the image's id.
    pub manifest: Digest,
    /// Full names, each with the key that verified the image for it: none if it was accepted without a signature. A name
    /// belongs to one image.
    pub names: BTreeMap<String, Option<String>>,
    /// When it was added or renewed.
    pub imported: u64,
    /// When it was last unpacked for use.
    pub last_used: u64,
}
