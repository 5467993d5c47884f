//! The files that are served: live images of one folder, and the loaders.
//!
//! A name of a request is looked up here, whole. It is never joined to a path.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::limits::{FOLDER_FILES, NAME_BYTES};

const KERNEL: &str = "-pxe.vmlinuz";
const INITRD: &str = "-pxe-initrd.img";
const UKI: &str = "-pxe.efi";
/// CoreOS's names, for the newest image.
const CLASSIC_KERNEL: &str = "coreos_production_pxe.vmlinuz";
const CLASSIC_INITRD: &str = "coreos_production_pxe_image.cpio.gz";
/// Network boot program for a BIOS, which uses the driver of the firmware.
const BIOS_LOADER: &str = "undionly.kpxe";
/// Loaders for EFI, the preferred one first: it uses the driver of the firmware, and no other network adapter.
const EFI_LOADERS: [&str; 2] = ["snponly.efi", "ipxe.efi"];

/// A version of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// `9999.1.0`, or with a mark: `9999.1.0+a`.
    pub version: String,
    /// `alpha`
    pub channel: String,
    /// Name of the kernel.
    #[serde(skip)]
    pub kernel: String,
    /// Name of the initrd.
    #[serde(skip)]
    pub initrd: String,
    /// Name of the UKI for HTTP boot, if there is one.
    pub uki: Option<String>,
}

/// The files of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    files: BTreeMap<String, PathBuf>,
    /// The newest one last.
    images: Vec<Image>,
}

/// Why a folder cannot be listed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ScanError {
    #[error("cannot list {path}")]
    List { path: PathBuf, source: io::Error },
    #[error("{0} has more than {FOLDER_FILES} files")]
    Many(PathBuf),
}

/// Lists the files of a folder that have usable names: letters, digits and `.-_+`.
///
/// # Errors
/// The folder cannot be listed.
pub fn scan(folder: &Path) -> Result<Catalog, ScanError> {
    let failed = |source| ScanError::List { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in folder.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Links are the operator's own.
        if is_usable(&name) && entry.path().is_file() {
            if names.len() == FOLDER_FILES {
                return Err(ScanError::Many(folder.to_owned()));
            }
            names.push(name);
        }
    }
    Ok(Catalog::new(folder, names))
}

/// Such a name needs no quoting in scripts and on command lines.
fn is_usable(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
    name.len() <= NAME_BYTES && !name.starts_with('.') && name.bytes().all(allowed)
}

impl Catalog {
    fn new(folder: &Path, names: Vec<String>) -> Self {
        let files: BTreeMap<_, _> = names.into_iter().map(|name| (name.clone(), folder.join(name))).collect();
        let image = |kernel: &String| {
            let stem = kernel.strip_suffix(KERNEL)?;
            let (_, version_and_channel) = stem.split_once('-')?;
            let (version, channel) = version_and_channel.split_once('-')?;
            let existing = |name: String| files.contains_key(&name).then_some(name);
            Some(Image {
                version: version.to_owned(),
                channel: channel.to_owned(),
                kernel: kernel.clone(),
                initrd: existing(format!("{stem}{INITRD}"))?,
                uki: existing(format!("{stem}{UKI}")),
            })
        };
        let mut images: Vec<Image> = files.keys().filter_map(image).collect();
        images.sort_by_cached_key(|image| (order(&image.version), image.channel.clone()));
        Self { files, images }
    }

    /// All images, the newest one last.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The newest image of this version and channel. Of one version in several channels it is the last one by name.
    #[must_use]
    pub fn image(&self, version: Option<&str>, channel: Option<&str>) -> Option<&Image> {
        self.images.iter().rev().find(|image| {
            // A version without its mark stands for all marks.
            let plain = image.version.split('+').next();
            version.is_none_or(|version| version == image.version || Some(version) == plain)
                && channel.is_none_or(|channel| channel == image.channel)
        })
    }

    /// Whether the folder has the file.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// The path of a file that is part of an image, by its own or its classic name, or that a rule names.
    #[must_use]
    pub fn path(&self, name: &str, is_named: impl Fn(&str) -> bool) -> Option<&Path> {
        let newest = self.images.last();
        let name = match name {
            CLASSIC_KERNEL => newest.map_or(name, |image| &image.kernel),
            CLASSIC_INITRD => newest.map_or(name, |image| &image.initrd),
            name => name,
        };
        let suffixes = [KERNEL, INITRD, UKI];
        let is_part = suffixes.iter().any(|suffix| name.ends_with(suffix));
        let is_served = is_part || is_named(name);
        self.files.get(name).filter(|_| is_served).map(PathBuf::as_path)
    }

    /// The path of a UKI, for TFTP.
    #[must_use]
    pub fn uki_path(&self, name: &str, is_named: impl Fn(&str) -> bool) -> Option<&Path> {
        self.path(name, is_named).filter(|_| name.ends_with(".efi"))
    }
}

/// Versions by number, whatever their length.
fn order(version: &str) -> Vec<u64> {
    let plain = version.split('+').next().unwrap_or_default();
    plain.split('.').map(|part| part.parse().unwrap_or_default()).collect()
}

/// The programs of iPXE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaders {
    files: BTreeMap<&'static str, PathBuf>,
}

impl Loaders {
    /// The loaders that `folder` has.
    #[must_use]
    pub fn find(folder: &Path) -> Self {
        let names = std::iter::once(BIOS_LOADER).chain(EFI_LOADERS);
        let files = names.map(|name| (name, folder.join(name))).filter(|(_, path)| path.is_file());
        Self { files: files.collect() }
    }

    /// Name of the loader for a BIOS.
    #[must_use]
    pub fn bios(&self) -> Option<&'static str> {
        self.files.contains_key(BIOS_LOADER).then_some(BIOS_LOADER)
    }

    /// Name of the loader for EFI.
    #[must_use]
    pub fn efi(&self) -> Option<&'static str> {
        EFI_LOADERS.into_iter().find(|name| self.files.contains_key(name))
    }

    /// The path of a loader.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.files.get(name).map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(names: &[&str]) -> Catalog {
        Catalog::new(Path::new("/images"), names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn complete(versions: &[&str]) -> Catalog {
        let names: Vec<String> = versions
            .iter()
            .flat_map(|one| [KERNEL, INITRD].map(|suffix| format!("keelson-{one}{suffix}")))
            .collect();
        catalog(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn images_are_complete_pairs() {
        let catalog = catalog(&[
            "keelson-9999.1.0-alpha-pxe.vmlinuz",
            "keelson-9999.1.0-alpha-pxe-initrd.img",
            "keelson-9999.1.0-alpha-pxe.efi",
            "keelson-9999.2.0-alpha-pxe.vmlinuz",
            "keelson-9999.3.0-alpha-pxe-initrd.img",
            "keelson-9999.1.0-alpha.json",
        ]);
        let expect = Image {
            version: "9999.1.0".to_owned(),
            channel: "alpha".to_owned(),
            kernel: "keelson-9999.1.0-alpha-pxe.vmlinuz".to_owned(),
            initrd: "keelson-9999.1.0-alpha-pxe-initrd.img".to_owned(),
            uki: Some("keelson-9999.1.0-alpha-pxe.efi".to_owned()),
        };
        assert_eq!(catalog.images(), [expect]);
    }

    #[test]
    fn the_newest_image_is_selected_by_number() {
        let all =
            ["9999.9.0-alpha", "9999.10.0-beta", "9999.10.0+a-alpha", "9999.2.0-my-own", "9998.20.0-stable"];
        let catalog = complete(&all);
        let check = |version, channel, expect: Option<&str>| {
            let image = catalog.image(version, channel);
            let found = image.map(|image| format!("{}-{}", image.version, image.channel));
            assert_eq!(found.as_deref(), expect, "{version:?} {channel:?}");
        };
        check(None, None, Some("9999.10.0-beta"));
        check(None, Some("alpha"), Some("9999.10.0+a-alpha"));
        check(None, Some("my-own"), Some("9999.2.0-my-own"));
        check(Some("9999.10.0"), Some("alpha"), Some("9999.10.0+a-alpha"));
        check(Some("9999.9.0"), None, Some("9999.9.0-alpha"));
        check(Some("9999.9.0"), Some("beta"), None);
        check(Some("1.0.0"), None, None);
        assert_eq!(super::Catalog::default().image(None, None), None);
    }

    #[test]
    fn only_files_of_images_and_rules_are_served() {
        let mut names = vec!["user-data", "oem.cpio.gz", "key.pem"];
        names.extend([
            "keelson-1.0.0-a-pxe.vmlinuz",
            "keelson-1.0.0-a-pxe-initrd.img",
            "keelson-1.0.0-a-pxe.efi",
        ]);
        let catalog = catalog(&names);
        let is_named = |name: &str| name == "oem.cpio.gz";
        let check = |name: &str, expect: Option<&str>| {
            assert_eq!(catalog.path(name, is_named), expect.map(Path::new), "{name}");
        };
        check("keelson-1.0.0-a-pxe.vmlinuz", Some("/images/keelson-1.0.0-a-pxe.vmlinuz"));
        check("keelson-1.0.0-a-pxe.efi", Some("/images/keelson-1.0.0-a-pxe.efi"));
        check(CLASSIC_KERNEL, Some("/images/keelson-1.0.0-a-pxe.vmlinuz"));
        check(CLASSIC_INITRD, Some("/images/keelson-1.0.0-a-pxe-initrd.img"));
        check("oem.cpio.gz", Some("/images/oem.cpio.gz"));
        for name in ["user-data", "key.pem", "", ".", "..", "../images/oem.cpio.gz", "/images/oem.cpio.gz"] {
            check(name, None);
        }
        let uki = |name| catalog.uki_path(name, is_named).is_some();
        assert!(uki("keelson-1.0.0-a-pxe.efi"));
        assert!(!uki("keelson-1.0.0-a-pxe.vmlinuz") && !uki(CLASSIC_KERNEL) && !uki("oem.cpio.gz"));
    }

    #[test]
    fn a_folder_is_listed_without_hidden_files_folders_and_odd_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.img", ".hidden", "a b", "a${x}", "-pxe.efi"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let catalog = scan(folder.path()).unwrap();
        assert_eq!(catalog.files.keys().collect::<Vec<_>>(), ["-pxe.efi", "a.img"]);
        let error = scan(&folder.path().join("missing")).unwrap_err();
        assert!(error.to_string().contains("missing"));
    }

    #[test]
    fn loaders_are_those_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let find = || {
            let loaders = Loaders::find(folder.path());
            (loaders.bios(), loaders.efi(), loaders.path("snponly.efi").is_some())
        };
        assert_eq!(find(), (None, None, false));
        std::fs::write(folder.path().join("ipxe.efi"), "").unwrap();
        std::fs::write(folder.path().join("undionly.kpxe"), "").unwrap();
        assert_eq!(find(), (Some("undionly.kpxe"), Some("ipxe.efi"), false));
        std::fs::write(folder.path().join("snponly.efi"), "").unwrap();
        assert_eq!(find(), (Some("undionly.kpxe"), Some("snponly.efi"), true));
        assert_eq!(Loaders::find(folder.path()).path("../etc/passwd"), None);
    }
}
