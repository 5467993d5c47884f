//! `release.json`.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{MetadataError, read, write};
use crate::name::FileName;

/// Most bytes of `release.json`.
pub const MAX_RELEASE: usize = 1 << 20;
/// Most bytes of a signature.
pub const MAX_SIGNATURE: usize = 4 << 10;
/// How deltas and full payloads are made: zstd frames, one for each segment of the result.
pub const SEGMENTS: &str = "zstd-segments";

/// `release.json`: every byte of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub schema: u32,
    /// A UUID in braces: what product this is.
    pub appid: String,
    /// `amd64-usr`.
    pub board: String,
    /// Channels that it may be promoted to.
    pub channels: Vec<String>,
    pub version: Version,
    /// Counts up when the signing keys were changed after one was stolen: what was signed before is older than
    /// everything since, whatever its version.
    pub epoch: u64,
    /// Seconds since 1970: the time that the image believes in at least.
    pub build_time: u64,
    /// Seconds since 1970, from when on it is not installed any more.
    pub expires: u64,
    /// The oldest version that can go to this one directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_from: Option<Version>,
    pub images: Images,
    /// All of it, without anything of an older version.
    pub full: Payload,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deltas: Vec<Delta>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes_url: Option<String>,
}

/// What stands on the disk at the end. In the file a list, each with its role: `usr` and `uki`, once each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<InList>", into = "Vec<InList>")]
pub struct Images {
    /// The slot's file system.
    pub usr: Image,
    pub verity: Verity,
    /// The boot image.
    pub uki: Image,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Bytes.
    pub size: u64,
    pub sha256: Digest,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InList {
    role: String,
    size: u64,
    sha256: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verity: Option<Verity>,
}

impl TryFrom<Vec<InList>> for Images {
    type Error = String;

    fn try_from(list: Vec<InList>) -> Result<Self, String> {
        let (mut usr, mut uki) = (None, None);
        for InList { role, size, sha256, verity } in list {
            let image = Image { size, sha256 };
            if size == 0 {
                return Err(format!("image `{role}` has no bytes"));
            }
            let second = match (role.as_str(), verity) {
                ("usr", Some(verity)) => usr.replace((image, verity)).is_some(),
                ("uki", None) => uki.replace(image).is_some(),
                ("usr", None) => return Err("image `usr` wants verity".to_owned()),
                ("uki", Some(_)) => return Err("image `uki` has no verity".to_owned()),
                _ => return Err(format!("image `{role}` is not known: `usr` and `uki` are")),
            };
            if second {
                return Err(format!("image `{role}` stands twice"));
            }
        }
        match (usr, uki) {
            (Some((usr, verity)), Some(uki)) => Ok(Self { usr, verity, uki }),
            _ => Err("images `usr` and `uki` are wanted, both".to_owned()),
        }
    }
}

impl From<Images> for Vec<InList> {
    fn from(images: Images) -> Self {
        let in_list = |role: &str, image: Image, verity| InList {
            role: role.to_owned(),
            size: image.size,
            sha256: image.sha256,
            verity,
        };
        vec![in_list("usr", images.usr, Some(images.verity)), in_list("uki", images.uki, None)]
    }
}

/// How the hash tree of an image is made, and what comes out: the tree itself does not travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verity {
    pub root_hash: Digest,
    pub salt: Digest,
    pub uuid: String,
}

/// A file beside the metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    pub url: FileName,
    /// Bytes.
    pub size: u64,
    pub sha256: Digest,
}

/// What is downloaded, and the table of where each part of it belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    pub blob: Blob,
    pub index: Blob,
    /// [`SEGMENTS`].
    pub algo: String,
}

/// A payload for those that have a certain older version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    pub from_version: Version,
    /// Of the older version's `usr` image.
    pub from_sha256: Digest,
    /// What the running machine knows its `usr` image by.
    pub from_root_hash: Digest,
    pub payload: Payload,
}

impl Release {
    const FILE: &str = crate::files::RELEASE;

    /// Reads what was checked against a signature.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let release: Self = read(Self::FILE, bytes, MAX_RELEASE)?;
        release.check().map_err(|why| MetadataError::Meaning { file: Self::FILE, why })?;
        Ok(release)
    }

    /// What is to be signed and served.
    ///
    /// # Errors
    /// When [`Release::parse`] would not take it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MetadataError> {
        write(Self::FILE, self, Self::parse)
    }

    /// Every file that belongs to it, besides the metadata.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        let payloads = std::iter::once(&self.full).chain(self.deltas.iter().map(|delta| &delta.payload));
        payloads.flat_map(|payload| [&payload.blob, &payload.index])
    }

    fn check(&self) -> Result<(), String> {
        if self.channels.is_empty() {
            return Err("channels: it may be promoted to none".to_owned());
        }
        if self.expires <= self.build_time {
            return Err("expires: it was out of date when it was built".to_owned());
        }
        let mut names = BTreeSet::new();
        for blob in self.blobs() {
            if !names.insert(&blob.url) {
                return Err(format!("`{}` is named twice", blob.url));
            }
            if blob.size == 0 {
                return Err(format!("`{}` has no bytes", blob.url));
            }
        }
        let mut from = BTreeSet::new();
        for delta in &self.deltas {
            if !from.insert(delta.from_root_hash) {
                return Err(format!("two deltas are from {}", delta.from_version));
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
    fn what_is_written_is_read_again() {
        let bytes = release().to_bytes().unwrap();
        assert_eq!(Release::parse(&bytes).unwrap(), release());
    }

    /// Attacks on readers of JSON: keys twice, keys that differ in case or by a look-alike, keys nobody knows.
    #[test]
    fn nothing_that_could_be_read_in_two_ways_is_read() {
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
        check("\"role\": \"uki\"", "\"role\": \"usr\"", "`usr` wants verity");
        check("\"role\": \"usr\"", "\"role\": \"uki\"", "`uki` has no verity");
        check("\"role\": \"uki\"", "\"role\": \"efi\"", "`efi` is not known");
        check("\"schema\": 1", "\"schema\": 2", "schema 2, this machine reads 1");
        check("\"full.index\"", "\"full\"", "`full` is named twice");
        check("\"full\",", "\"../full\",", "no file's name");
        check("\"expires\": 200", "\"expires\": 100", "out of date when it was built");
        check("\"version\": \"2.0.0\"", "\"version\": \"2.0\"", "line");
        check("\"size\": 4096", "\"size\": -1", "line");
        check("\"size\": 4096", "\"size\": 0", "`usr` has no bytes");
    }

    #[test]
    fn every_cut_and_what_is_too_long_is_refused() {
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
