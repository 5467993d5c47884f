//! Records of images: of finished files, and of a live system.

use std::path::Path;

use release::Digest;
use serde::Deserialize;

/// For messages.
const DISK: &str = "the disk";

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum RecordError {
    #[error("the record of the image is invalid")]
    Json(#[from] serde_json::Error),
    #[error("the record of the image has an invalid digest of {0}")]
    Digest(String),
}

/// The relevant part of `keelson-VERSION-CHANNEL.json`, which lists finished files.
#[derive(Debug, Deserialize)]
pub struct ImageRecord {
    /// Of the system in all files.
    pub version: String,
    /// Of the build.
    pub channel: String,
    #[serde(default)]
    files: Vec<RecordedFile>,
}

#[derive(Debug, Deserialize)]
struct RecordedFile {
    path: std::path::PathBuf,
    sha256: String,
    /// Records of earlier versions have none.
    #[serde(default)]
    disk_chunks: String,
}

/// What a record has of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedDigests {
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// [`ChunkedDigest`](release::ChunkedDigest) of the raw disk inside. Records of earlier versions have none.
    pub chunks: Option<Digest>,
}

impl ImageRecord {
    /// Parses JSON.
    ///
    /// # Errors
    /// It is not a record.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        Ok(serde_json::from_slice(text)?)
    }

    /// The digests of the file of this name; `None` if it is not listed.
    ///
    /// # Errors
    /// A digest is malformed.
    pub fn digests(&self, name: &str) -> Result<Option<RecordedDigests>, RecordError> {
        let listed = self.files.iter().find(|file| file.path.file_name() == Path::new(name).file_name());
        let parse = |file: &RecordedFile| {
            let sha256 = digest(&file.sha256, name)?;
            Ok(RecordedDigests { sha256, chunks: optional_digest(&file.disk_chunks, name)? })
        };
        listed.map(parse).transpose()
    }
}

fn digest(text: &str, of: &str) -> Result<Digest, RecordError> {
    text.parse().map_err(|_| RecordError::Digest(of.to_owned()))
}

fn optional_digest(text: &str, of: &str) -> Result<Option<Digest>, RecordError> {
    (!text.is_empty()).then(|| digest(text, of)).transpose()
}

/// `record.json` of a live system.
#[derive(Debug, Deserialize)]
pub struct LiveRecord {
    /// The running version.
    pub version: String,
    /// Its channel.
    pub channel: String,
    disk_sha256: String,
    #[serde(default)]
    disk_chunks: String,
    /// Size of the disk image.
    pub disk_bytes: u64,
}

impl LiveRecord {
    /// Parses JSON.
    ///
    /// # Errors
    /// It is not a record.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        Ok(serde_json::from_slice(text)?)
    }

    /// SHA-256 of the disk image.
    ///
    /// # Errors
    /// The digest is malformed.
    pub fn disk(&self) -> Result<Digest, RecordError> {
        digest(&self.disk_sha256, DISK)
    }

    /// [`ChunkedDigest`](release::ChunkedDigest) of the disk image. Records of earlier versions have none.
    ///
    /// # Errors
    /// The digest is malformed.
    pub fn chunks(&self) -> Result<Option<Digest>, RecordError> {
        optional_digest(&self.disk_chunks, DISK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_their_name() {
        let digest = Digest::of(b"x");
        let text = format!(
            r#"{{"version":"1.2.3","channel":"beta","usr_root_hash":"","disk_sha256":"","files":[
                {{"path":"/build/out/a.raw.zst","sha256":"{digest}","format":"raw.zst"}},
                {{"path":"b.raw","sha256":"ABC"}}]}}"#
        );
        let record = ImageRecord::parse(text.as_bytes()).unwrap();
        assert_eq!((&*record.version, &*record.channel), ("1.2.3", "beta"));
        let listed = RecordedDigests { sha256: digest, chunks: None };
        assert_eq!(record.digests("a.raw.zst").unwrap(), Some(listed));
        assert_eq!(record.digests("/other/a.raw.zst").unwrap(), Some(listed));
        assert_eq!(record.digests("c.raw").unwrap(), None);
        record.digests("b.raw").unwrap_err();
        let with = |chunks: &str| {
            let text = text.replace(r#""format""#, &format!(r#""disk_chunks":"{chunks}","format""#));
            ImageRecord::parse(text.as_bytes()).unwrap().digests("a.raw.zst")
        };
        let chunks = Digest::of(b"chunks");
        assert_eq!(
            with(&chunks.to_string()).unwrap(),
            Some(RecordedDigests { chunks: Some(chunks), ..listed })
        );
        with("12").unwrap_err();
        ImageRecord::parse(b"{}").unwrap_err();
    }

    #[test]
    fn a_live_record_has_the_digest_of_the_disk() {
        let digest = Digest::of(b"disk");
        let text = format!(
            r#"{{"version":"1.2.3","channel":"beta","usr_root_hash":"00","disk_sha256":"{digest}","disk_bytes":7}}"#
        );
        let record = LiveRecord::parse(text.as_bytes()).unwrap();
        assert_eq!((record.disk().unwrap(), record.disk_bytes), (digest, 7));
        assert_eq!(record.chunks().unwrap(), None);
        let with = text.replace("\"disk_bytes", &format!("\"disk_chunks\":\"{digest}\",\"disk_bytes"));
        assert_eq!(LiveRecord::parse(with.as_bytes()).unwrap().chunks().unwrap(), Some(digest));
        LiveRecord::parse(text.replace("disk_bytes", "bytes").as_bytes()).unwrap_err();
    }
}
