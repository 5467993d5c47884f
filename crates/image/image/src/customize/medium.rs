//! An ISO image: the archive is in a file of its boot partition with a fixed size, the arguments at the end of the boot
//! loaders' configurations.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use fatfs::FileSystem;

use super::archive::{self, Files};
use super::error::{CustomizeError, damaged};
use super::found::Customization;
use super::output::Output;

use crate::arguments_area::{self, Loader};
use crate::fat::Window;
use crate::iso::{CUSTOM, CUSTOM_BYTES};
use crate::iso_partition;
use crate::tree::PathContext;

/// Configurations with an area for arguments.
const CONFIGURATIONS: [(&str, Loader); 2] =
    [("loader/entries/live.conf", Loader::SystemdBoot), ("grub/arguments.cfg", Loader::Grub)];

pub fn write(
    iso: &Path,
    files: &Files,
    arguments: &[String],
    to: &Path,
    cancel: &AtomicBool,
) -> Result<(), CustomizeError> {
    let mut archive = archive::bytes(files).at(iso)?;
    if archive.len() > CUSTOM_BYTES {
        return Err(CustomizeError::Large { has: archive.len(), max: CUSTOM_BYTES });
    }
    archive.resize(CUSTOM_BYTES, 0);
    let mut areas = Vec::new();
    for (name, loader) in CONFIGURATIONS {
        let area = arguments_area::format(loader, arguments);
        areas.push((
            name,
            area.map_err(|has| CustomizeError::LongArguments { has, max: arguments_area::MAX })?,
        ));
    }
    let mut source = std::fs::File::open(iso).at(iso)?;
    let mut output = Output::new(to).at(to)?;
    output.copy(&mut source, cancel)?;
    let partition = iso_partition::open_file(output.file(), iso)?;
    check_areas(&partition, iso)?;
    replace(&partition, CUSTOM, CUSTOM_BYTES, &archive).at(iso)?;
    for (name, area) in &areas {
        replace(&partition, name, arguments_area::BYTES, area.as_bytes()).at(iso)?;
    }
    partition.unmount().at(iso)?;
    Ok(output.finish().at(to)?)
}

pub fn read(iso: &Path) -> Result<Customization, CustomizeError> {
    let partition = iso_partition::open(iso)?;
    check_areas(&partition, iso)?;
    let files = archive::read(&end(&partition, CUSTOM, CUSTOM_BYTES).at(iso)?).map_err(damaged(iso))?;
    let [(name, loader), _] = CONFIGURATIONS;
    let area = end(&partition, name, arguments_area::BYTES).at(iso)?;
    let arguments = arguments_area::parse(loader, &String::from_utf8_lossy(&area));
    Ok(Customization { arguments, files })
}

/// Fails for an image without the areas, or with one that is no area.
fn check_areas(partition: &FileSystem<Window>, iso: &Path) -> Result<(), CustomizeError> {
    let no_area = || CustomizeError::NoArea(iso.to_path_buf());
    let custom = length(partition, CUSTOM).map_err(|_| no_area())?;
    if custom != CUSTOM_BYTES as u64 {
        return Err(no_area());
    }
    for (name, loader) in CONFIGURATIONS {
        let area = end(partition, name, arguments_area::BYTES).map_err(|_| no_area())?;
        if !arguments_area::is_area(loader, &area) {
            return Err(no_area());
        }
    }
    Ok(())
}

fn length(partition: &FileSystem<Window>, name: &str) -> io::Result<u64> {
    partition.root_dir().open_file(name)?.seek(SeekFrom::End(0))
}

/// The last bytes of a file.
fn end(partition: &FileSystem<Window>, name: &str, bytes: usize) -> io::Result<Vec<u8>> {
    let mut file = partition.root_dir().open_file(name)?;
    file.seek(SeekFrom::End(-i64::try_from(bytes).map_err(io::Error::other)?))?;
    let mut content = vec![0; bytes];
    file.read_exact(&mut content)?;
    Ok(content)
}

/// Overwrites the last bytes of a file.
fn replace(partition: &FileSystem<Window>, name: &str, bytes: usize, content: &[u8]) -> io::Result<()> {
    let mut file = partition.root_dir().open_file(name)?;
    file.seek(SeekFrom::End(-i64::try_from(bytes).map_err(io::Error::other)?))?;
    file.write_all(content)?;
    file.flush()
}
