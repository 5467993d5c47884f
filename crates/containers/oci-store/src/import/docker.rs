//! Archives of `docker save`, from before Docker wrote OCI layouts: `manifest.json` lists configurations and layers.

use std::io::Read as _;
use std::path::PathBuf;

use oci_image::config::ImageConfig;
use oci_image::limits::{MAX_CONFIG, MAX_LAYERS};
use oci_image::media_type::Compression;
use oci_image::{Blob, Layer, Manifest};
use serde::Deserialize;

use super::archive::{Contents, MANIFEST};
use super::{Candidate, ImportError};
use crate::store::Store;
use crate::store_error::StoreError;

const MAX_MAGIC: u64 = 8;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Store {
    /// Creates an OCI manifest for each image. The same archive gives the same digests.
    pub(super) fn docker_candidates(
        &self,
        manifest: &[u8],
        contents: &Contents,
    ) -> Result<Vec<Candidate>, ImportError> {
        let invalid = |source| ImportError::Json { path: MANIFEST.into(), source };
        let images: Vec<Image> = serde_json::from_slice(manifest).map_err(invalid)?;
        images.iter().map(|image| self.docker_candidate(image, contents)).collect()
    }

    fn docker_candidate(&self, image: &Image, contents: &Contents) -> Result<Candidate, ImportError> {
        let config = match contents.small(&image.config)? {
            Some(bytes) => bytes.to_vec(),
            None => self.read_config(&contents.blob(&image.config)?)?,
        };
        let count = image.layers.len().min(MAX_LAYERS + 1);
        ImageConfig::parse(&config, count)
            .map_err(|source| ImportError::Config { path: PathBuf::from(&image.config), source })?;
        let mut layers = Vec::new();
        for path in &image.layers {
            let blob = contents.blob(path)?;
            layers.push(Layer { blob, compression: self.compression(&blob)? });
        }
        let manifest = Manifest { config: self.add_bytes(&config)?, layers };
        let names = image.repo_tags.iter().flatten().map(|name| Ok(super::parse_name(name)?.to_string()));
        let names = names.collect::<Result<_, ImportError>>()?;
        Ok(Candidate { manifest: self.add_bytes(&manifest.to_json())?.digest, index: None, names })
    }

    fn compression(&self, blob: &Blob) -> Result<Compression, StoreError> {
        let mut start = Vec::new();
        let path = self.blob_path(blob.digest);
        let read = self.open_blob(blob.digest)?.take(MAX_MAGIC).read_to_end(&mut start);
        read.map_err(|source| StoreError::new("read", &path, source))?;
        Ok(Compression::of_magic(&start))
    }

    fn read_config(&self, blob: &Blob) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let path = self.blob_path(blob.digest);
        let read = self.open_blob(blob.digest)?.take(MAX_CONFIG + 1).read_to_end(&mut bytes);
        read.map_err(|source| StoreError::new("read", &path, source))?;
        Ok(bytes)
    }
}
