//! Whether this boot is a trial: the boot loader counts it, and another version can be booted instead.
//!
//! Only then may an unhealthy machine reboot. Otherwise it would reboot in a loop, or be unreachable because
//! its peers are not up yet.

use std::fs;
use std::io;
use std::path::Path;

use update_core::entry::EntryName;

use super::report;
use crate::os_release;
use crate::root::Root;

/// Set by systemd-boot if it counts this boot: 4 bytes of attributes, then the current path of the boot image
/// in UTF-16.
const VARIABLE: &str = "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
const ATTRIBUTES: usize = 4;
const IMAGES: &str = "/boot/EFI/Linux";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// This version is on trial and the loader can boot another one. With the reason.
    Running(String),
    /// The machine stays up whatever the result. With the reason.
    Over(String),
}

/// Evaluates the boot loader's variable and the boot images.
pub fn detect(root: &Root) -> Trial {
    let Some(path) = counted_boot_image(root) else {
        return Trial::Over("the boot loader does not count this version's tries".to_owned());
    };
    if report::is_healthy(root) {
        return Trial::Over("this boot was already healthy".to_owned());
    }
    let file = path.rsplit(['\\', '/']).next().unwrap_or_default();
    let Some(id) = os_release::value(root, "ID") else {
        return Trial::Over("the ID of this system cannot be read from os-release".to_owned());
    };
    match EntryName::parse(&id, file) {
        Some(name) => evaluate(&name, images(&root.at(IMAGES), &id)),
        None => Trial::Over(format!("the boot loader counts {file}, which is not a boot image of {id}")),
    }
}

fn evaluate(current: &EntryName, images: io::Result<Vec<EntryName>>) -> Trial {
    let Some(tries) = current.tries else {
        return Trial::Over(format!("version {} has booted successfully before", current.version));
    };
    if current.has_failed_after_good() {
        return Trial::Over(format!("version {} has booted successfully before", current.version));
    }
    let attempt = format!("try {} of version {}, {} left", tries.done, current.version, tries.left);
    match images {
        Ok(images) => {
            let other = images.into_iter().find(|name| name.version != current.version && !name.is_bad());
            match other {
                Some(other) => {
                    Trial::Running(format!("{attempt}; the fallback is version {}", other.version))
                }
                None => Trial::Over(format!("{attempt}; there is no version to fall back to")),
            }
        }
        // The boot loader may still be able to read them, and each reboot uses up a try.
        Err(error) => Trial::Running(format!("{attempt}; {IMAGES} cannot be read: {error}")),
    }
}

/// The path of the boot image, if the boot loader counts this boot.
fn counted_boot_image(root: &Root) -> Option<String> {
    let bytes = fs::read(root.at(VARIABLE)).ok()?;
    let units = bytes.get(ATTRIBUTES..)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<u16> = units.take_while(|word| *word != 0).collect();
    String::from_utf16(&units).ok()
}

fn images(folder: &Path, id: &str) -> io::Result<Vec<EntryName>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(EntryName::parse(id, &entry?.file_name().to_string_lossy()));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with this boot image, counted or not, and these images in its ESP (`None`: unreadable).
    fn check(booted: Option<&str>, images: Option<&[&str]>, expected: Result<&str, &str>) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        fs::create_dir_all(root.at("/usr/lib")).unwrap();
        fs::write(root.at("/usr/lib/os-release"), "ID=keelson\nVERSION_ID=2.0.0\n").unwrap();
        if let Some(booted) = booted {
            let path = format!("\\EFI\\Linux\\{booted}");
            let mut bytes = vec![6, 0, 0, 0];
            bytes.extend(path.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
            fs::create_dir_all(root.at(VARIABLE).parent().unwrap()).unwrap();
            fs::write(root.at(VARIABLE), bytes).unwrap();
        }
        if let Some(images) = images {
            fs::create_dir_all(root.at(IMAGES)).unwrap();
            for image in images {
                fs::write(root.at(IMAGES).join(image), "").unwrap();
            }
        }
        match (detect(&root), expected) {
            (Trial::Running(reason), Ok(expected)) | (Trial::Over(reason), Err(expected)) => {
                assert!(reason.contains(expected), "{reason}");
            }
            (seen, expected) => panic!("{seen:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_counted_boot_with_another_version_is_a_trial() {
        let new = "keelson_2.0.0+2-1.efi";
        check(
            Some(new),
            Some(&[new, "keelson_1.0.0.efi"]),
            Ok("try 1 of version 2.0.0, 2 left; the fallback is version 1.0.0"),
        );
        check(Some(new), Some(&[new, "keelson_1.0.0+1-2.efi"]), Ok("the fallback is version 1.0.0"));
        let last = "keelson_2.0.0+0-3.efi";
        check(Some(last), Some(&[last, "keelson_1.0.0.efi"]), Ok("try 3 of version 2.0.0, 0 left"));
    }

    #[test]
    fn no_trial_without_another_version() {
        let new = "keelson_2.0.0+2-1.efi";
        check(Some(new), Some(&[new]), Err("there is no version to fall back to"));
        check(Some(new), Some(&[new, "keelson_1.0.0+0-3.efi"]), Err("there is no version to fall back to"));
        check(
            Some(new),
            Some(&[new, "keelson_2.0.0.efi", "other_1.0.0.efi"]),
            Err("there is no version to fall back to"),
        );
        check(Some("keelson_2.0.0.efi"), Some(&["keelson_1.0.0.efi"]), Err("has booted successfully before"));
        check(
            Some("keelson_2.0.0+1-3.efi"),
            Some(&["keelson_2.0.0+1-3.efi", "keelson_1.0.0.efi"]),
            Err("has booted successfully before"),
        );
        check(Some("other.efi"), Some(&["keelson_1.0.0.efi"]), Err("not a boot image of keelson"));
    }

    #[test]
    fn uncounted_boot_is_no_trial() {
        check(None, Some(&["keelson_1.0.0.efi"]), Err("does not count"));
    }

    #[test]
    fn images_that_cannot_be_read_leave_the_loader_s_tries_and_no_more() {
        check(Some("keelson_2.0.0+0-3.efi"), None, Ok("cannot be read"));
        check(Some("keelson_2.0.0+0-4.efi"), None, Err("has booted successfully before"));
    }

    #[test]
    fn healthy_boot_ends_the_trial() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        fs::create_dir_all(root.at(VARIABLE).parent().unwrap()).unwrap();
        fs::write(root.at(VARIABLE), [6, 0, 0, 0, b'x', 0]).unwrap();
        fs::create_dir_all(root.at("/run/keelson")).unwrap();
        fs::write(root.at("/run/keelson/health.json"), "{\"state\":\"healthy\"}").unwrap();
        assert_eq!(detect(&root), Trial::Over("this boot was already healthy".into()));
    }
}
