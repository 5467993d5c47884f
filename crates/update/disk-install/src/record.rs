//! Records of images: of finished files, and of a live system.

use std::path::Path;

use release::Digest;
use serde::Deserialize;

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
}

impl ImageRecord {
    /// Parses JSON.
    ///
    /// # Errors
    /// It is not a record.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        Ok(serde_json::from_slice(text)?)
    }

    /// The SHA-256 of the file of this name; `None` if it is not listed.
    ///
    /// # Errors
    /// The digest is malformed.
    pub fn sha256(&self, name: &str) -> Result<Option<Digest>, RecordError> {
        let listed = self.files.iter().find(|file| file.path.file_name() == Path::new(name).file_name());
        let parse =
            |file: &RecordedFile| file.sha256.parse().map_err(|_| RecordError::Digest(name.to_owned()));
        listed.map(parse).transpose()
    }
}

/// `record.json` of a live system.
#[derive(Debug, Deserialize)]
pub struct LiveRecord {
    /// The running version.
    pub version: String,
    /// Its channel.
    pub channel: String,
    disk_sha256: String,
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
        self.disk_sha256.parse().map_err(|_| RecordError::Digest("the disk".to_owned()))
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
        assert_eq!(record.sha256("a.raw.zst").unwrap(), Some(digest));
        assert_eq!(record.sha256("/other/a.raw.zst").unwrap(), Some(digest));
        assert_eq!(record.sha256("c.raw").unwrap(), None);
        record.sha256("b.raw").unwrap_err();
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
        LiveRecord::parse(text.replace("disk_bytes", "bytes").as_bytes()).unwrap_err();
    }
}
