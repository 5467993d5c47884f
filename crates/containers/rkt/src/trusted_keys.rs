//! Keys that are trusted for a name's prefix: `trustedkeys/prefix.d/PREFIX/*.pub`.

use std::path::{Path, PathBuf};

use oci_image::Reference;
use oci_image::signature::Trust;
use oci_store::{read_all_trust, read_trust};

use crate::context::Context;

const FOLDER: &str = "trustedkeys/prefix.d";

pub fn folder(config: &Path) -> PathBuf {
    config.join(FOLDER)
}

/// The keys for an image.
pub fn read(context: &Context, name: &Reference) -> anyhow::Result<Trust> {
    let folders = context.configs().map(folder);
    Ok(read_trust(&folders.each_ref().map(PathBuf::as_path), name)?)
}

/// The keys for all images.
pub fn read_all(context: &Context) -> anyhow::Result<Trust> {
    let folders = context.configs().map(folder);
    Ok(read_all_trust(&folders.each_ref().map(PathBuf::as_path))?)
}
