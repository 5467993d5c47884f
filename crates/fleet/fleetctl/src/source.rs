//! Finds the contents of a unit: its file, the template in the registry, or the template's file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use unit_file::{UNIT_BYTES, UnitFile, UnitName, unit_name_from_argument};

use crate::failure::Failure;
use crate::registry::Registry;

/// The contents of a unit, and where they were found.
pub struct Source {
    pub file: UnitFile,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    /// The template's file, in the directory in which the unit's file would be.
    TemplateFile(PathBuf),
    Template,
}

/// Prefixes the failures of this module.
pub fn creation_failure(cause: impl std::fmt::Display) -> Failure {
    Failure::new(format!("Error creating units: {cause}"))
}

/// The path that an argument refers to: `hello` is `hello.service`.
fn path_of(argument: &str) -> PathBuf {
    let name = unit_name_from_argument(argument);
    match argument.rsplit_once('/') {
        Some((directory, _)) => Path::new(&format!("{directory}/")).join(name),
        None => PathBuf::from(name),
    }
}

/// Reads the unit's own file, else its template's file in the same directory.
pub fn local_source(argument: &str, name: &UnitName) -> Result<Option<Source>, Failure> {
    let path = path_of(argument);
    if let Some(file) = read(&path, name)? {
        return Ok(Some(Source { file, origin: Origin::File(path) }));
    }
    let Some(template) = name.template().filter(|template| template != name) else {
        return Ok(None);
    };
    let path = path.with_file_name(template.as_str());
    let file = read(&path, &template)?;
    Ok(file.map(|file| Source { file, origin: Origin::TemplateFile(path) }))
}

/// Contents for a unit that is not in the registry, in this order: its file, the template in the registry, the
/// template's file.
pub async fn find_source(registry: &Registry, argument: &str, name: &UnitName) -> Result<Source, Failure> {
    let local_source = local_source(argument, name)?;
    if let Some(source) = local_source.as_ref().filter(|source| matches!(source.origin, Origin::File(_))) {
        let (file, origin) = (source.file.clone(), source.origin.clone());
        return Ok(Source { file, origin });
    }
    let Some(template) = name.template().filter(|template| template != name) else {
        return Err(creation_failure(format_args!(
            "unable to find Unit({name}) in Registry or on filesystem"
        )));
    };
    let in_registry = registry.unit(template.as_str()).await.map_err(|error| {
        creation_failure(format_args!("error retrieving Unit({template}) from Registry: {error}"))
    })?;
    match (in_registry, local_source) {
        (Some(unit), _) => Ok(Source { file: unit.file(), origin: Origin::Template }),
        (None, Some(source)) => Ok(source),
        (None, None) => Err(creation_failure(format_args!(
            "failed getting Unit({name}) from template: \
             unable to find template Unit({template}) in Registry or on filesystem"
        ))),
    }
}

const TOO_LONG_HINT: &str = "put long content into a file on the machines, and refer to it in the unit";

const EXAMPLE_UNIT: &str = "[Service]\nExecStart=/usr/bin/sleep 60";

/// Reads one byte more than is valid, which is enough to detect a file that is too long.
fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(UNIT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns `None` if the file does not exist. Errors in an existing file include their position.
fn read(path: &Path, name: &UnitName) -> Result<Option<UnitFile>, Failure> {
    let failed = |cause: &dyn std::fmt::Display| {
        creation_failure(format_args!("failed getting Unit({name}) from file: {cause}"))
    };
    if path.is_dir() {
        return Ok(None);
    }
    let bytes = match read_limited(path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(&format_args!("open {}: {error}", path.display()))),
    };
    if bytes.len() > UNIT_BYTES {
        return Err(failed(&format_args!(
            "unit file too long (max {UNIT_BYTES} bytes)\n{}: {TOO_LONG_HINT}",
            path.display()
        )));
    }
    let read = UnitFile::from_bytes(&bytes);
    if read.as_ref().is_ok_and(|file| file.options().is_empty()) {
        return Err(failed(&format_args!(
            "no option in any [Section]\n{}: write one, as in\n{EXAMPLE_UNIT}",
            path.display()
        )));
    }
    // The first line is the original's message; the position follows on the second.
    read.map(Some)
        .map_err(|error| failed(&format_args!("{}\n{}: {}", error.kind, path.display(), error.position)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let (path, name) = (folder.path().join("a.service"), UnitName::parse("a.service").unwrap());
        let longest = format!("[S]\nA=b\n{}", "\n".repeat(UNIT_BYTES - 8));
        std::fs::write(&path, &longest).unwrap();
        assert!(read(&path, &name).is_ok_and(|source| source.is_some()));
        std::fs::write(&path, longest + "\n").unwrap();
        let Err(failure) = read(&path, &name) else { panic!("it was taken") };
        let expected = format!(
            "Error creating units: failed getting Unit(a.service) from file: unit file too long (max 1048576 bytes)\n\
             {}: {TOO_LONG_HINT}",
            path.display()
        );
        assert_eq!(failure.text, Some(expected));
    }

    #[test]
    fn a_file_without_options_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let (path, name) = (folder.path().join("a.service"), UnitName::parse("a.service").unwrap());
        for text in ["", "# nothing yet\n", "[Service]\n"] {
            std::fs::write(&path, text).unwrap();
            let Err(failure) = read(&path, &name) else { panic!("{text:?} was taken") };
            assert!(failure.text.is_some_and(|text| text.contains("no option in any [Section]")), "{text:?}");
        }
    }

    #[test]
    fn paths_of_arguments() {
        let check = |argument: &str, expect: &str| assert_eq!(path_of(argument), PathBuf::from(expect));
        check("hello", "hello.service");
        check("hello.service", "hello.service");
        check("./units/hello", "./units/hello.service");
        check("/a/b.timer", "/a/b.timer");
        check("/hello", "/hello.service");
    }
}
