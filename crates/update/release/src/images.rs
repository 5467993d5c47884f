//! `images.json`: the image files of a version, for new machines. Machines that update ignore it.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{MetadataError, parse_strict, to_canonical};
use crate::metadata::Release;
use crate::name::FileName;

/// Maximum size of `images.json` in bytes.
pub const MAX_IMAGE_LIST: usize = 256 << 10;
/// Maximum number of image files of a version.
pub const MAX_IMAGE_FILES: usize = 128;
const MAX_WORD: usize = 64;
/// Of names that a server or a publisher gives to other files at the same place.
const RESERVED_ENDINGS: [&str; 2] = [".DIGESTS", ".part"];
const CLASSIC: &str = "coreos_production";

/// `images.json`: every image file of a version. Signed as a target of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageList {
    /// [`SCHEMA`](crate::SCHEMA).
    pub schema: u32,
    /// `amd64-usr`.
    pub board: String,
    /// As in os-release.
    pub version: Version,
    /// Of `/usr` in each image: the `root_hash` of the release.
    pub root_hash: Digest,
    /// At least one; names are unique.
    pub files: Vec<ImageFile>,
}

/// An image file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFile {
    /// `keelson-VERSION-CHANNEL.raw.zst`.
    pub name: FileName,
    /// The channel that machines of this image follow.
    pub channel: String,
    /// As `keelson image build --format` names it.
    pub format: String,
    /// Of the file, in bytes.
    pub size: u64,
    /// Of the whole file.
    pub sha256: Digest,
    /// Of the disk inside, in bytes.
    pub virtual_size: u64,
}

/// Why a list is not one of a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum NotOfRelease {
    #[error("the images are for board {found}, the release is for {expected}")]
    Board { found: String, expected: String },
    #[error("the images are of version {found}, the release has version {expected}")]
    Version { found: String, expected: Version },
    #[error(
        "the images contain another build of version {version}: their /usr has root hash {found}, that of the release {expected}"
    )]
    RootHash { version: Version, found: String, expected: Digest },
    #[error("the images are for channel {channel}, the release is for {}", .allowed.join(", "))]
    Channel { channel: String, allowed: Vec<String> },
}

impl ImageList {
    const FILE: &str = crate::files::IMAGES;

    /// Parses a verified list.
    ///
    /// # Errors
    /// It is malformed, or ambiguous.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let list: Self = parse_strict(Self::FILE, bytes, MAX_IMAGE_LIST)?;
        list.check().map_err(|why| MetadataError::Invalid { file: Self::FILE, why })?;
        Ok(list)
    }

    /// The bytes to sign and serve.
    ///
    /// # Errors
    /// [`ImageList::parse`] would reject it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MetadataError> {
        to_canonical(Self::FILE, self, Self::parse)
    }

    /// The file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&ImageFile> {
        self.files.iter().find(|file| file.name.as_str() == name)
    }

    /// Fails unless the images are those of a release.
    ///
    /// # Errors
    /// They are of another version, build, board or channel.
    pub fn ensure_of(&self, release: &Release) -> Result<(), NotOfRelease> {
        if self.board != release.board {
            let (found, expected) = (self.board.clone(), release.board.clone());
            return Err(NotOfRelease::Board { found, expected });
        }
        if self.version != release.version {
            let (found, expected) = (self.version.to_string(), release.version.clone());
            return Err(NotOfRelease::Version { found, expected });
        }
        let expected = release.images.verity.root_hash;
        if self.root_hash != expected {
            let (version, found) = (self.version.clone(), self.root_hash.to_string());
            return Err(NotOfRelease::RootHash { version, found, expected });
        }
        match self.files.iter().find(|file| !release.channels.contains(&file.channel)) {
            Some(file) => {
                let (channel, allowed) = (file.channel.clone(), release.channels.clone());
                Err(NotOfRelease::Channel { channel, allowed })
            }
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.files.is_empty() || self.files.len() > MAX_IMAGE_FILES {
            return Err(format!("{} files, expected 1 to {MAX_IMAGE_FILES}", self.files.len()));
        }
        if !is_word(&self.board) {
            return Err("invalid `board`".to_owned());
        }
        let mut names = BTreeSet::new();
        for file in &self.files {
            let name = file.name.as_str();
            if !is_word(&file.channel) || !is_word(&file.format) {
                return Err(format!("`{name}`: invalid `channel` or `format`"));
            }
            let prefix = image_name(&self.version, &file.channel);
            if !name.starts_with(&prefix) || RESERVED_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                return Err(format!("`{name}` is not named {prefix}.EXTENSION"));
            }
            if file.size == 0 {
                return Err(format!("`{name}` is empty"));
            }
            if !names.insert(name) {
                return Err(format!("duplicate file `{name}`"));
            }
        }
        Ok(())
    }
}

/// Safe in paths and URLs, as names of channels are.
fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('.')
}

/// What the names of a version's image files begin with.
#[must_use]
pub fn image_name(version: &Version, channel: &str) -> String {
    format!("keelson-{version}-{channel}")
}

/// CoreOS's names of an image file of a version, without the version and the channel. Empty if CoreOS had none.
#[must_use]
pub fn classic_names(version: &Version, file: &ImageFile) -> Vec<String> {
    let prefix = image_name(version, &file.channel);
    let names: &[&str] = match file.name.as_str().strip_prefix(&prefix).unwrap_or_default() {
        ".raw" => &["_image.bin"],
        ".raw.gz" => &["_image.bin.gz"],
        ".raw.zst" => &["_image.bin.zst"],
        ".qcow2" => &["_qemu_uefi_image.img"],
        "-vmware.ova" => &["_vmware_ova.ova"],
        "-vagrant-virtualbox.box" => &["_vagrant.box", "_vagrant_virtualbox.box"],
        "-ec2.vmdk" => &["_ami_vmdk_image.vmdk"],
        "-openstack.qcow2" => &["_openstack_image.img"],
        "-gce.tar.gz" => &["_gce.tar.gz"],
        "-azure.vhd" => &["_azure_image.vhd"],
        ".iso" => &["_iso_image.iso"],
        "-pxe.vmlinuz" => &["_pxe.vmlinuz"],
        _ => &[],
    };
    names.iter().map(|name| format!("{CLASSIC}{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::SCHEMA;

    fn list() -> ImageList {
        let file = |suffix: &str, format: &str| ImageFile {
            name: format!("keelson-2.0.0-alpha{suffix}").parse().unwrap(),
            channel: "alpha".to_owned(),
            format: format.to_owned(),
            size: 10,
            sha256: Digest([1; 32]),
            virtual_size: 4096,
        };
        ImageList {
            schema: SCHEMA,
            board: "amd64-usr".to_owned(),
            version: Version::new(2, 0, 0),
            root_hash: Digest([2; 32]),
            files: vec![file(".raw.zst", "raw.zst"), file("-vagrant-libvirt.box", "box-libvirt")],
        }
    }

    #[test]
    fn a_list_round_trips() {
        let bytes = list().to_bytes().unwrap();
        assert_eq!(ImageList::parse(&bytes).unwrap(), list());
        assert!(list().file("keelson-2.0.0-alpha.raw.zst").is_some() && list().file("x").is_none());
    }

    #[test]
    fn ambiguous_or_invalid_lists_are_rejected() {
        let good = String::from_utf8(list().to_bytes().unwrap()).unwrap();
        let check = |from: &str, to: &str, expect: &str| {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from}");
            let error = ImageList::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expect), "{from} -> {to}: {error}");
        };
        check("\"board\"", "\"board\": \"x\", \"board\"", "duplicate field `board`");
        check("\"format\"", "\"url\": \"x\", \"format\"", "unknown field `url`");
        check("\"schema\": 1", "\"schema\": 2", "images.json has schema 2, supported is 1");
        check("\"size\": 10", "\"size\": 0", "is empty");
        check("\"amd64-usr\"", "\"../x\"", "invalid `board`");
        check("\"raw.zst\"", "\"a/b\"", "invalid `channel` or `format`");
        check("keelson-2.0.0-alpha.raw.zst", "../x", "invalid file name");
        check("keelson-2.0.0-alpha.raw.zst", "version.txt", "is not named keelson-2.0.0-alpha.EXTENSION");
        check("alpha.raw.zst", "beta.raw.zst", "is not named keelson-2.0.0-alpha.EXTENSION");
        check("alpha.raw.zst", "alpha.raw.DIGESTS", "is not named keelson-2.0.0-alpha.EXTENSION");
        check("alpha.raw.zst", "alpha-vagrant-libvirt.box", "duplicate file");
        let mut none = list();
        none.files.clear();
        none.to_bytes().unwrap_err();
        let mut long = good.clone().into_bytes();
        long.resize(MAX_IMAGE_LIST + 1, b' ');
        assert!(matches!(ImageList::parse(&long), Err(MetadataError::TooLong { .. })));
        for length in 0..good.len() - 1 {
            ImageList::parse(&good.as_bytes()[..length]).unwrap_err();
        }
    }

    #[test]
    fn classic_names_are_those_of_coreos() {
        let of = |name: &str| {
            let version = Version::new(2, 0, 0);
            classic_names(&version, &ImageFile { name: name.parse().unwrap(), ..list().files[0].clone() })
        };
        assert_eq!(of("keelson-2.0.0-alpha.raw"), ["coreos_production_image.bin"]);
        let vagrant = of("keelson-2.0.0-alpha-vagrant-virtualbox.box");
        assert_eq!(vagrant, ["coreos_production_vagrant.box", "coreos_production_vagrant_virtualbox.box"]);
        for none in ["alpha-vagrant-libvirt.box", "beta.raw", "alpha.json"] {
            assert!(of(&format!("keelson-2.0.0-{none}")).is_empty(), "{none}");
        }
        assert!(of("keelson-2.0.1-alpha.raw").is_empty(), "of another version");
    }
}
