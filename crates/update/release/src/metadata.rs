//! `release.json`.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{MetadataError, parse_strict, to_canonical};
use crate::name::FileName;

/// Maximum size of `release.json` in bytes.
pub const MAX_RELEASE: usize = 1 << 20;
/// The format of payloads: a zstd frame per segment.
pub const SEGMENTS: &str = "zstd-segments";

/// `release.json`: describes every byte of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// [`SCHEMA`](crate::SCHEMA).
    pub schema: u32,
    /// UUID of the product, in braces.
    pub appid: String,
    /// `amd64-usr`.
    pub board: String,
    /// Channels that may offer it.
    pub channels: Vec<String>,
    /// As in os-release; higher ones are newer.
    pub version: Version,
    /// Incremented when a stolen signing key is replaced. Releases of earlier epochs are older, whatever their
    /// version.
    pub epoch: u64,
    /// Unix time in seconds. Lower bound of the machine's clock.
    pub build_time: u64,
    /// Unix time in seconds. Not installed afterwards.
    pub expires: u64,
    /// The oldest version that can update to this one directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_from: Option<Version>,
    /// What a machine has after the update.
    pub images: Images,
    /// The full payload.
    pub full: Payload,
    /// Alternatives to `full`, at most one per older version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deltas: Vec<Delta>,
    /// For operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes_url: Option<String>,
}

/// The resulting images. Serialized as a list with the roles `usr` and `uki`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ImageEntry>", into = "Vec<ImageEntry>")]
pub struct Images {
    /// The file system of `/usr`.
    pub usr: Image,
    /// How the hash tree of `usr` is computed.
    pub verity: Verity,
    /// The boot image.
    pub uki: Image,
}

/// An image file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// In bytes.
    pub size: u64,
    /// Of the whole file.
    pub sha256: Digest,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageEntry {
    role: String,
    size: u64,
    sha256: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verity: Option<Verity>,
}

impl TryFrom<Vec<ImageEntry>> for Images {
    type Error = String;

    fn try_from(list: Vec<ImageEntry>) -> Result<Self, String> {
        let (mut usr, mut uki) = (None, None);
        for ImageEntry { role, size, sha256, verity } in list {
            let image = Image { size, sha256 };
            if size == 0 {
                return Err(format!("image `{role}` is empty"));
            }
            let is_duplicate = match (role.as_str(), verity) {
                ("usr", Some(verity)) => usr.replace((image, verity)).is_some(),
                ("uki", None) => uki.replace(image).is_some(),
                ("usr", None) => return Err("image `usr` lacks verity".to_owned()),
                ("uki", Some(_)) => return Err("image `uki` must not have verity".to_owned()),
                _ => return Err(format!("unknown image `{role}`: expected `usr` or `uki`")),
            };
            if is_duplicate {
                return Err(format!("duplicate image `{role}`"));
            }
        }
        match (usr, uki) {
            (Some((usr, verity)), Some(uki)) => Ok(Self { usr, verity, uki }),
            _ => Err("images `usr` and `uki` are required".to_owned()),
        }
    }
}

impl From<Images> for Vec<ImageEntry> {
    fn from(images: Images) -> Self {
        let entry = |role: &str, image: Image, verity| ImageEntry {
            role: role.to_owned(),
            size: image.size,
            sha256: image.sha256,
            verity,
        };
        vec![entry("usr", images.usr, Some(images.verity)), entry("uki", images.uki, None)]
    }
}

/// Parameters and root of the hash tree of `usr`. The tree is computed on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verity {
    /// The machine boots with it as `usrhash=`.
    pub root_hash: Digest,
    /// Prepended to each hashed block.
    pub salt: Digest,
    /// Of the superblock, in text form.
    pub uuid: String,
}

/// A file next to the metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Relative to the base URL of the release.
    pub url: FileName,
    /// In bytes.
    pub size: u64,
    /// Of the whole file.
    pub sha256: Digest,
}

/// A payload and its index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// The compressed segments.
    pub blob: Blob,
    /// Describes the segments.
    pub index: Blob,
    /// [`SEGMENTS`].
    pub algo: String,
}

/// A payload for machines with a certain older version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// The version that the machine runs.
    pub from_version: Version,
    /// Of the older version's `usr` image.
    pub from_sha256: Digest,
    /// Identifies the running `usr` image.
    pub from_root_hash: Digest,
    /// As `full`, for the same images.
    pub payload: Payload,
}

impl Release {
    const FILE: &str = crate::files::RELEASE;

    /// Parses verified metadata.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let release: Self = parse_strict(Self::FILE, bytes, MAX_RELEASE)?;
        release.check().map_err(|why| MetadataError::Invalid { file: Self::FILE, why })?;
        Ok(release)
    }

    /// The bytes to sign and serve.
    ///
    /// # Errors
    /// [`Release::parse`] would reject it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MetadataError> {
        to_canonical(Self::FILE, self, Self::parse)
    }

    /// All files except the metadata.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        let payloads = std::iter::once(&self.full).chain(self.deltas.iter().map(|delta| &delta.payload));
        payloads.flat_map(|payload| [&payload.blob, &payload.index])
    }

    fn check(&self) -> Result<(), String> {
        if self.channels.is_empty() {
            return Err("channels: must not be empty".to_owned());
        }
        if self.expires <= self.build_time {
            return Err("expires: must be later than `build_time`".to_owned());
        }
        let mut names = BTreeSet::new();
        for blob in self.blobs() {
            if !names.insert(&blob.url) {
                return Err(format!("duplicate file `{}`", blob.url));
            }
            if blob.size == 0 {
                return Err(format!("`{}` is empty", blob.url));
            }
        }
        let mut from = BTreeSet::new();
        for delta in &self.deltas {
            if !from.insert(delta.from_root_hash) {
                return Err(format!("two deltas from {}", delta.from_version));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::SCHEMA;

    fn blob(name: &str) -> Blob {
        Blob { url: name.parse().unwrap(), size: 10, sha256: Digest([1; 32]) }
    }

    fn payload(name: &str) -> Payload {
        Payload { blob: blob(name), index: blob(&format!("{name}.index")), algo: SEGMENTS.to_owned() }
    }

    fn release() -> Release {
        let verity = Verity {
            root_hash: Digest([2; 32]),
            salt: Digest([3; 32]),
            uuid: "00112233-4455-6677-8899-aabbccddeeff".to_owned(),
        };
        let image = || Image { size: 4096, sha256: Digest([4; 32]) };
        Release {
            schema: SCHEMA,
            appid: "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}".to_owned(),
            board: "amd64-usr".to_owned(),
            channels: vec!["alpha".to_owned(), "beta".to_owned()],
            version: Version::new(2, 0, 0),
            epoch: 1,
            build_time: 100,
            expires: 200,
            min_from: Some(Version::new(1, 0, 0)),
            images: Images { usr: image(), verity, uki: image() },
            full: payload("full"),
            deltas: vec![Delta {
                from_version: Version::new(1, 0, 0),
                from_sha256: Digest([5; 32]),
                from_root_hash: Digest([6; 32]),
                payload: payload("delta"),
            }],
            notes_url: None,
        }
    }

    #[test]
    fn a_release_round_trips() {
        let bytes = release().to_bytes().unwrap();
        assert_eq!(Release::parse(&bytes).unwrap(), release());
    }

    /// Ambiguous JSON: duplicate keys, keys that differ in case or look alike, unknown keys.
    #[test]
    fn ambiguous_or_invalid_metadata_is_rejected() {
        let good = String::from_utf8(release().to_bytes().unwrap()).unwrap();
        let check = |from: &str, to: &str, expect: &str| {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from}");
            let error = Release::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expect), "{from} -> {to}: {error}");
        };
        check("\"board\"", "\"board\": \"x\", \"board\"", "duplicate field `board`");
        check("\"board\"", "\"Board\": \"x\", \"board\"", "unknown field `Board`");
        check("\"board\"", "\"bo\u{430}rd\": \"x\", \"board\"", "unknown field");
        check("\"sha256\"", "\"sha256\": \"\", \"sha256\"", "line");
        check("\"role\": \"usr\"", "\"role\": \"usr\", \"role\": \"uki\"", "duplicate field `role`");
        check("\"role\": \"uki\"", "\"role\": \"usr\"", "`usr` lacks verity");
        check("\"role\": \"usr\"", "\"role\": \"uki\"", "`uki` must not have verity");
        check("\"role\": \"uki\"", "\"role\": \"efi\"", "unknown image `efi`");
        check("\"schema\": 1", "\"schema\": 2", "schema 2, supported is 1");
        check("\"full.index\"", "\"full\"", "duplicate file `full`");
        check("\"full\",", "\"../full\",", "invalid file name");
        check("\"expires\": 200", "\"expires\": 100", "must be later than `build_time`");
        check("\"version\": \"2.0.0\"", "\"version\": \"2.0\"", "line");
        check("\"size\": 4096", "\"size\": -1", "line");
        check("\"size\": 4096", "\"size\": 0", "`usr` is empty");
    }

    #[test]
    fn truncated_or_oversized_metadata_is_rejected() {
        let good = release().to_bytes().unwrap();
        for length in 0..good.len() - 1 {
            Release::parse(&good[..length]).unwrap_err();
        }
        let mut long = good.clone();
        long.resize(MAX_RELEASE + 1, b' ');
        assert!(matches!(Release::parse(&long), Err(MetadataError::TooLong { .. })));
        let mut twice = good.clone();
        twice.extend_from_slice(&good);
        Release::parse(&twice).unwrap_err();
    }
}
