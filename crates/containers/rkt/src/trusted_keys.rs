//! Keys that are trusted for a name's prefix: `trustedkeys/prefix.d/PREFIX/*.pub`.

use std::path::{Path, PathBuf};

use oci_image::Reference;
use oci_image::signature::Trust;
use oci_store::read_trust;

use crate::context::Context;

const FOLDER: &str = "trustedkeys/prefix.d";

pub fn folder(config: &Path) -> PathBuf {
    config.join(FOLDER)
}

/// The keys for an image.
pub fn read(context: &Context, name: &Reference) -> anyhow::Result<Trust> {
    let folders = context.configs().map(folder);
    Ok(read_trust(&[folders[0].as_path(), folders[1].as_path()], name)?)
}
