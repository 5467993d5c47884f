//! A live system's initrd: two archives, and the customization's as a third one at the end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use cpio::newc;

use super::archive::{self, Files};
use super::error::{CustomizeError, MAX_ARCHIVE, damaged};
use super::found::Customization;
use super::output::Output;

use crate::live::IMAGE;
use crate::tree::PathContext;

/// The kernel reads an archive from a multiple of this offset.
const ALIGNMENT: u64 = 4;
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const CPIO: &[u8] = b"070701";

/// Whether the file is a compressed archive, which every initrd of a build begins with.
pub fn is_compressed_archive(mut file: &File) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut start = Vec::new();
    file.take(512).read_to_end(&mut start)?;
    if !start.starts_with(&ZSTD) {
        return Ok(false);
    }
    let mut name = [0; CPIO.len()];
    let decoded = zstd::Decoder::with_buffer(&*start).and_then(|mut decoder| decoder.read_exact(&mut name));
    Ok(decoded.is_ok() && name == *CPIO)
}

/// The length of the initrd as it was built.
fn original_length(file: &File) -> io::Result<u64> {
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    let mut system = zstd::Decoder::with_buffer(BufReader::new(file))?.single_frame();
    io::copy(&mut system, &mut io::sink())?;
    let mut archive = system.finish();
    while let [0, ..] = archive.fill_buf()? {
        archive.consume(1);
    }
    let mut is_live = false;
    loop {
        let entry = newc::Reader::new(archive)?;
        let is_end = entry.entry().is_trailer();
        is_live |= entry.entry().name() == IMAGE;
        archive = entry.finish()?;
        if is_end {
            break;
        }
    }
    let missing = || io::Error::new(io::ErrorKind::InvalidData, format!("it has no {IMAGE}"));
    if is_live { archive.stream_position() } else { Err(missing()) }
}

pub fn write(path: &Path, files: &Files, to: &Path, cancel: &AtomicBool) -> Result<(), CustomizeError> {
    let mut file = File::open(path).at(path)?;
    let length = original_length(&file).map_err(damaged(path))?;
    let archive = archive::bytes(files).at(path)?;
    if archive.len() > MAX_ARCHIVE {
        return Err(CustomizeError::Large { has: archive.len(), max: MAX_ARCHIVE });
    }
    file.seek(SeekFrom::Start(0)).at(path)?;
    let mut output = Output::new(to).at(to)?;
    output.copy(&mut file.take(length), cancel)?;
    if !archive.is_empty() {
        let padding = length.next_multiple_of(ALIGNMENT) - length;
        io::copy(&mut io::repeat(0).take(padding), output.file()).at(to)?;
        output.file().write_all(&archive).at(to)?;
    }
    Ok(output.finish().at(to)?)
}

pub fn read(path: &Path) -> Result<Customization, CustomizeError> {
    let mut file = File::open(path).at(path)?;
    let length = original_length(&file).map_err(damaged(path))?;
    file.seek(SeekFrom::Start(length.next_multiple_of(ALIGNMENT))).at(path)?;
    let mut archive = Vec::new();
    file.take(MAX_ARCHIVE as u64).read_to_end(&mut archive).at(path)?;
    let files = archive::read(&archive).map_err(damaged(path))?;
    Ok(Customization { arguments: Vec::new(), files })
}
