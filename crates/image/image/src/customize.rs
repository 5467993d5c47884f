//! Customization of a live system's medium or initrd: files for its OEM partition, and kernel arguments.
//!
//! All of it is in one archive, which the kernel unpacks over the initrd, and for an ISO image in the reserved ends of the
//! boot loaders' configurations. Everything else keeps its bytes, so that they can be restored.

pub(crate) mod archive;
mod error;
mod found;
mod initrd;
mod medium;
mod output;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::arguments_area;
use crate::iso_partition;
use crate::tree::{PathContext, walk};
use archive::{Files, OEM};
pub use error::CustomizeError;
use error::{MAX_ARCHIVE, MAX_FILES};
pub use found::{CustomFile, Customization};

/// What [`Contents`] has there: `keelson-installed-files` and `keelson-unattended-install` read it.
const USER_DATA: &str = "coreos-install/user_data";
const NETWORK: &str = "coreos-install/network";
const CERTIFICATES: &str = "coreos-install/certificates";
const INSTALL_ARGUMENTS: &str = "unattended-install/arguments";
const INSTALL_USER_DATA: &str = "unattended-install/user_data";
/// Readable by root only: it may have secrets.
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// What a live system gets.
#[derive(Debug, Default)]
pub struct Contents {
    /// Applied by the live system.
    pub user_data: Option<Vec<u8>>,
    /// Unit files of systemd-networkd, by name.
    pub network: Vec<(String, Vec<u8>)>,
    /// `smallest`, or the device that is installed without an operator.
    pub install: Option<String>,
    /// Applied by the installed system.
    pub install_user_data: Option<Vec<u8>>,
    /// Trusted certificates, PEM, by name.
    pub certificates: Vec<(String, Vec<u8>)>,
    /// Kernel arguments of an ISO image.
    pub arguments: Vec<String>,
    /// A folder whose files are added to the OEM files.
    pub oem: Option<PathBuf>,
}

enum Kind {
    Iso,
    Initrd,
}

fn kind(path: &Path) -> Result<Kind, CustomizeError> {
    let mut file = File::open(path).at(path)?;
    if iso_partition::is_iso(&mut file).at(path)? {
        return Ok(Kind::Iso);
    }
    match initrd::is_compressed_archive(&file).at(path)? {
        true => Ok(Kind::Initrd),
        false => Err(CustomizeError::Kind(path.to_path_buf())),
    }
}

/// Writes `file` with `contents` in place of those that it has to `to`, which is replaced when the new file is complete.
pub fn customize(
    file: &Path,
    contents: &Contents,
    to: &Path,
    cancel: &AtomicBool,
) -> Result<Customization, CustomizeError> {
    let files = files(contents)?;
    let arguments = &contents.arguments;
    if let Some(bad) = arguments.iter().find(|argument| !arguments_area::is_valid(argument)) {
        return Err(CustomizeError::Argument(bad.clone()));
    }
    write(file, &files, arguments, to, cancel)?;
    Ok(Customization { arguments: arguments.clone(), files: archive::list(&files) })
}

/// Writes `file` without a customization, as it was built, to `to`.
pub fn reset(file: &Path, to: &Path, cancel: &AtomicBool) -> Result<(), CustomizeError> {
    write(file, &Files::new(), &[], to, cancel)
}

/// What [`customize`] has put into a file.
pub fn customized(file: &Path) -> Result<Customization, CustomizeError> {
    match kind(file)? {
        Kind::Iso => medium::read(file),
        Kind::Initrd => initrd::read(file),
    }
}

fn write(
    file: &Path,
    files: &Files,
    arguments: &[String],
    to: &Path,
    cancel: &AtomicBool,
) -> Result<(), CustomizeError> {
    match kind(file)? {
        Kind::Iso => medium::write(file, files, arguments, to, cancel),
        Kind::Initrd => match arguments.first() {
            Some(argument) => Err(CustomizeError::NoArguments(argument.clone())),
            None => initrd::write(file, files, to, cancel),
        },
    }
}

/// The OEM files.
fn files(contents: &Contents) -> Result<Files, CustomizeError> {
    let mut files = Files::new();
    let mut add = |path: &str, mode: u32, content: Vec<u8>| {
        if files.len() == MAX_FILES {
            return Err(CustomizeError::Many);
        }
        match files.insert(path.to_owned(), (mode, content)) {
            Some(_) => Err(CustomizeError::Twice(path.to_owned())),
            None => Ok(()),
        }
    };
    if let Some(user_data) = &contents.user_data {
        add(USER_DATA, SECRET, user_data.clone())?;
    }
    for (folder, named) in [(NETWORK, &contents.network), (CERTIFICATES, &contents.certificates)] {
        for (name, content) in named {
            add(&format!("{folder}/{name}"), PUBLIC, content.clone())?;
        }
    }
    if let Some(device) = &contents.install {
        let is_path = device.starts_with("/dev/") && arguments_area::is_valid(device);
        if device != "smallest" && !is_path {
            return Err(CustomizeError::Device(device.clone()));
        }
        let mut arguments = format!("keelson.install={device}\n");
        if let Some(user_data) = &contents.install_user_data {
            add(INSTALL_USER_DATA, SECRET, user_data.clone())?;
            arguments += &format!("keelson.install.config=/{OEM}/{INSTALL_USER_DATA}\n");
        }
        add(INSTALL_ARGUMENTS, PUBLIC, arguments.into_bytes())?;
    }
    if let Some(folder) = &contents.oem {
        for (path, mode, content) in files_of(folder)? {
            add(&path, mode, content)?;
        }
    }
    Ok(files)
}

/// Path, mode and content of each file in a folder.
fn files_of(folder: &Path) -> Result<Vec<(String, u32, Vec<u8>)>, CustomizeError> {
    let mut files = Vec::new();
    let mut has = 0;
    for path in walk(folder)? {
        let file = folder.join(&path);
        let metadata = fs::symlink_metadata(&file).at(&file)?;
        if metadata.is_dir() {
            continue;
        }
        if !metadata.is_file() {
            return Err(CustomizeError::NotRegular(file));
        }
        has += usize::try_from(metadata.len()).unwrap_or(MAX_ARCHIVE);
        if has > MAX_ARCHIVE {
            return Err(CustomizeError::Large { has, max: MAX_ARCHIVE });
        }
        let content = fs::read(&file).at(&file)?;
        files.push((path.to_string_lossy().into_owned(), mode_of(&metadata), content));
    }
    Ok(files)
}

/// The permissions of a file: they may protect a secret.
fn mode_of(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o777
}

#[cfg(test)]
#[path = "customize/tests.rs"]
mod tests;
