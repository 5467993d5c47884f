//! What verifies a local image file: a signature or the record of its build, in the same folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::record::{ImageRecord, RecordError, RecordedDigests};
use minisign_verify::PublicKey;
pub use minisign_verify::Signature;

/// Endings of a signature's name, after the image's.
const SIGNATURES: [&str; 2] = ["minisig", "sig"];
/// Keys, signatures and records are small.
const MAX_SIDECAR: u64 = 1 << 20;

/// Why what verifies an image cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum LocalError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: not a minisign public key ({reason})")]
    Key { path: PathBuf, reason: String },
    #[error("{path}: not a minisign signature ({reason})")]
    Signature { path: PathBuf, reason: String },
    #[error("{path}")]
    Record { path: PathBuf, source: RecordError },
    #[error("there is no signature of the image ({image}.minisig or {image}.sig), which -k needs")]
    Unsigned { image: PathBuf },
}

/// A minisign public key.
pub type Key = PublicKey;

/// Reads a public key.
///
/// # Errors
/// The file cannot be read, or is no key.
pub fn key(path: &Path) -> Result<Key, LocalError> {
    let text = read(path)?;
    let failed =
        |error: minisign_verify::Error| LocalError::Key { path: path.to_owned(), reason: error.to_string() };
    // With or without the comment line.
    if text.trim().contains('\n') { Key::decode(&text) } else { Key::from_base64(text.trim()) }
        .map_err(failed)
}

/// Parses a signature; `origin` is for the message.
///
/// # Errors
/// It is none.
pub fn signature(origin: &Path, text: &str) -> Result<Signature, LocalError> {
    Signature::decode(text)
        .map_err(|error| LocalError::Signature { path: origin.to_owned(), reason: error.to_string() })
}

/// What was found in the folder of an image.
pub enum Sidecar {
    /// Its signature.
    Signature(Signature),
    /// The digests in the record, with the version and the channel of the build.
    Digest {
        /// Of the file, and of the disk inside.
        digests: RecordedDigests,
        /// Version and channel.
        build: (String, String),
    },
    /// Nothing.
    None,
}

/// Finds what verifies `image`: with a key its signature, else the record that lists it.
///
/// # Errors
/// A file there is damaged, or there is a key and no signature.
pub fn expected_of(image: &Path, with_key: bool) -> Result<Sidecar, LocalError> {
    if with_key {
        for ending in SIGNATURES {
            let path = appended(image, ending);
            if path.exists() {
                return Ok(Sidecar::Signature(signature(&path, &read(&path)?)?));
            }
        }
        return Err(LocalError::Unsigned { image: image.to_owned() });
    }
    let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for path in records(image) {
        if !path.is_file() {
            continue;
        }
        let failed = |source| LocalError::Record { path: path.clone(), source };
        let record = ImageRecord::parse(read(&path)?.as_bytes()).map_err(failed)?;
        if let Some(digests) = record.digests(&name).map_err(failed)? {
            return Ok(Sidecar::Digest { digests, build: (record.version, record.channel) });
        }
    }
    Ok(Sidecar::None)
}

/// Names under which `image build` writes the record of a file: `NAME.json` for `NAME.raw`, `NAME.raw.zst` and
/// `NAME-PLATFORM.raw`.
fn records(image: &Path) -> Vec<PathBuf> {
    let own = image.with_extension("json");
    let twice = image.with_extension("").with_extension("json");
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let shared = name.rsplit_once('-').map(|(name, _)| image.with_file_name(format!("{name}.json")));
    [Some(own), Some(twice), shared].into_iter().flatten().collect()
}

fn appended(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn read(path: &Path) -> Result<String, LocalError> {
    let failed = |source| LocalError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > MAX_SIDECAR {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    fs::read_to_string(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use release::Digest;

    use super::*;

    fn found(image: &Path, with_key: bool) -> String {
        match expected_of(image, with_key) {
            Ok(Sidecar::Signature(_)) => "signature".to_owned(),
            Ok(Sidecar::Digest { digests, build }) => format!("{} {} {}", digests.sha256, build.0, build.1),
            Ok(Sidecar::None) => "none".to_owned(),
            Err(error) => service::error::chain(&error),
        }
    }

    #[test]
    fn the_record_of_the_build_lists_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"x");
        let image = |name: &str| folder.path().join(name);
        assert_eq!(found(&image("keelson-1.0.0-alpha.raw"), false), "none");
        let list = |names: &[&str]| {
            let files: Vec<_> =
                names.iter().map(|name| format!(r#"{{"path":"/b/{name}","sha256":"{digest}"}}"#)).collect();
            format!(r#"{{"version":"1.0.0","channel":"alpha","files":[{}]}}"#, files.join(","))
        };
        let listed =
            ["keelson-1.0.0-alpha.raw", "keelson-1.0.0-alpha.raw.zst", "keelson-1.0.0-alpha-ec2.raw"];
        fs::write(image("keelson-1.0.0-alpha.json"), list(&listed)).unwrap();
        for name in listed {
            assert_eq!(found(&image(name), false), format!("{digest} 1.0.0 alpha"), "{name}");
        }
        // A file of another build is not in the record.
        assert_eq!(found(&image("keelson-1.0.0-alpha.raw.gz"), false), "none");
        fs::write(image("keelson-1.0.0-alpha.json"), "{").unwrap();
        let text = found(&image(listed[0]), false);
        assert!(text.contains("keelson-1.0.0-alpha.json: the record of the image is invalid"), "{text}");
    }

    #[test]
    fn a_key_needs_a_signature() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk.raw");
        let text = found(&image, true);
        assert!(text.starts_with("there is no signature of the image"), "{text}");
        let keys = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let signed = minisign::sign(None, &keys.sk, &b"disk"[..], None, None).unwrap().to_string();
        for ending in SIGNATURES {
            fs::write(appended(&image, ending), &signed).unwrap();
            assert_eq!(found(&image, true), "signature");
            fs::write(appended(&image, ending), "nonsense").unwrap();
            assert!(found(&image, true).contains("not a minisign signature"));
            fs::remove_file(appended(&image, ending)).unwrap();
        }
        let file = folder.path().join("key.pub");
        for text in [keys.pk.to_base64(), keys.pk.to_box().unwrap().to_string()] {
            fs::write(&file, text).unwrap();
            key(&file).unwrap();
        }
        fs::write(&file, "RWQ").unwrap();
        let error = key(&file).unwrap_err().to_string();
        assert!(error.contains("not a minisign public key"), "{error}");
    }
}
