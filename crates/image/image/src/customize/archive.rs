//! The archive of a customization, as the kernel unpacks it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use cpio::newc::{self, ModeFileType};
use sha2::{Digest, Sha256};

use super::found::CustomFile;
use crate::fetch::hex;

/// Files below this path replace the OEM partition of a live system.
pub const OEM: &str = "usr/share/oem";
/// Mode and content by path below the OEM files.
pub type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// Empty without files.
pub fn bytes(files: &Files) -> io::Result<Vec<u8>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let mut folders = BTreeSet::new();
    let paths: Vec<String> = files.keys().map(|path| format!("{OEM}/{path}")).collect();
    for path in &paths {
        folders.extend(path.match_indices('/').map(|(end, _)| &path[..end]));
    }
    let folders = folders.into_iter().map(|path| (path, ModeFileType::Directory, 0o755, &[][..]));
    let files = paths
        .iter()
        .zip(files.values())
        .map(|(path, (mode, content))| (&**path, ModeFileType::Regular, *mode, &**content));
    let mut out = Vec::new();
    // A folder is before its files, which have longer paths.
    for (number, (path, kind, mode, content)) in (1..).zip(folders.chain(files)) {
        let links = if matches!(kind, ModeFileType::Directory) { 2 } else { 1 };
        let header = newc::Builder::new(path).ino(number).nlink(links).mode(mode).set_mode_file_type(kind);
        let mut entry = header.write(out, u32::try_from(content.len()).map_err(io::Error::other)?);
        entry.write_all(content)?;
        out = entry.finish()?;
    }
    newc::trailer(out)
}

/// Reads the archive of [`bytes`]; zeros are an empty one.
pub fn read(archive: &[u8]) -> io::Result<Vec<CustomFile>> {
    let mut files = Vec::new();
    if archive.iter().all(|byte| *byte == 0) {
        return Ok(files);
    }
    let mut left = archive;
    loop {
        let mut entry = newc::Reader::new(left)?;
        if entry.entry().is_trailer() {
            return Ok(files);
        }
        let name = entry.entry().name().to_owned();
        let is_file = entry.entry().mode() & 0o170_000 == 0o100_000;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        if is_file {
            let path = name.strip_prefix(OEM).and_then(|path| path.strip_prefix('/')).unwrap_or(&name);
            files.push(describe(path, &content));
        }
        left = entry.finish()?;
    }
}

pub fn list(files: &Files) -> Vec<CustomFile> {
    files.iter().map(|(path, (_, content))| describe(path, content)).collect()
}

fn describe(path: &str, content: &[u8]) -> CustomFile {
    CustomFile { path: path.to_owned(), bytes: content.len() as u64, sha256: hex(&Sha256::digest(content)) }
}
