//! The directory of unit files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use unit_file::{UNIT_BYTES, UnitFile, UnitName};

use crate::error::Error;
use crate::limits::MAX_UNRECOGNIZED;

/// Section with the units that want this one when it is enabled.
pub(crate) const INSTALL: &str = "Install";
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

pub(crate) struct UnitDirectory {
    /// Canonical, as systemd reports paths.
    path: PathBuf,
    /// Files that are no units and are logged already.
    unrecognized: Mutex<BTreeSet<OsString>>,
}

impl UnitDirectory {
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !path.is_dir() {
            fs::create_dir_all(path).map_err(|source| Error::file("make the folder", path, source))?;
            fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
                .map_err(|source| Error::file("open to all the folder", path, source))?;
        }
        let path = path.canonicalize().map_err(|source| Error::file("find the folder", path, source))?;
        Ok(Self { path, unrecognized: Mutex::default() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, name: &UnitName) -> PathBuf {
        self.path.join(name.as_str())
    }

    pub fn has(&self, name: &UnitName) -> bool {
        self.file(name).symlink_metadata().is_ok()
    }

    /// Whether `fragment`, systemd's path of the unit, is the file in this directory.
    pub fn owns_fragment(&self, name: &UnitName, fragment: &Path) -> bool {
        let file = self.file(name);
        fragment == file || fs::read_link(fragment).is_ok_and(|target| target == file)
    }

    /// Unit files of types that can run. An invalid file is returned without options, so that it differs from every
    /// desired unit.
    pub fn list_unit_files(&self) -> Result<BTreeMap<UnitName, UnitFile>, Error> {
        let entries = fs::read_dir(&self.path).map_err(|source| Error::file("read", &self.path, source))?;
        let mut files = BTreeMap::new();
        for entry in entries {
            let file_name = entry.map_err(|source| Error::file("read", &self.path, source))?.file_name();
            let name = file_name.to_str().and_then(|text| UnitName::parse(text).ok());
            let Some(name) = name.filter(|name| name.kind().runs() && !self.file(name).is_dir()) else {
                self.warn_unrecognized(file_name);
                continue;
            };
            let path = self.file(&name);
            match read(&path) {
                Ok(file) => {
                    files.insert(name, file);
                }
                Err(why) if path.symlink_metadata().is_ok() => {
                    tracing::warn!("{} is not read as a unit: {why}", path.display());
                    files.insert(name, UnitFile::from_options(Vec::new()));
                }
                // Removed meanwhile.
                Err(_) => {}
            }
        }
        Ok(files)
    }

    fn warn_unrecognized(&self, file_name: OsString) {
        let mut unrecognized = self.unrecognized.lock();
        if unrecognized.len() < MAX_UNRECOGNIZED && !unrecognized.contains(&file_name) {
            let path = self.path.join(&file_name);
            tracing::warn!("Found unrecognized file in {}, ignoring", path.display());
            unrecognized.insert(file_name);
        }
    }

    pub fn content(&self, name: &UnitName) -> Result<Option<Vec<u8>>, Error> {
        let path = self.file(name);
        match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::file("read", path, source)),
        }
    }

    /// Whether the file has an `[Install]` section, so that other units may want it. True if it cannot be parsed.
    pub fn has_install_section(&self, name: &UnitName) -> Result<bool, Error> {
        let Some(content) = self.content(name)? else { return Ok(true) };
        Ok(UnitFile::from_bytes(&content).map_or(true, |file| file.has_section(INSTALL)))
    }

    pub fn write(&self, name: &UnitName, content: &[u8]) -> Result<(), Error> {
        let path = self.file(name);
        service::file::replace(&path, content, FILE_MODE).map_err(|source| Error::file("write", path, source))
    }

    pub fn remove(&self, name: &UnitName) -> Result<(), Error> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::file("remove", path, source)),
            _ => Ok(()),
        }
    }
}

/// The error is for the log only.
fn read(path: &Path) -> Result<UnitFile, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One byte more than allowed, so that a longer file is refused.
        File::open(path)?.take(UNIT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| error.to_string())?;
    UnitFile::from_bytes(&bytes).map_err(|error| format!("{}: {error}", error.position))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        /// Returns what is logged meanwhile.
        fn of<T>(work: impl FnOnce() -> T) -> (T, String) {
            let log = Self::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).without_time();
            let subscriber = subscriber.with_ansi(false).with_target(false).finish();
            let done = tracing::subscriber::with_default(subscriber, work);
            let text = String::from_utf8(log.0.lock().clone()).unwrap();
            (done, text)
        }
    }

    fn new_directory() -> (tempfile::TempDir, UnitDirectory) {
        let temp_dir = tempfile::tempdir().unwrap();
        let directory = UnitDirectory::open(&temp_dir.path().join("run/units")).unwrap();
        (temp_dir, directory)
    }

    #[test]
    fn the_directory_is_created_world_readable() {
        let (_temp_dir, directory) = new_directory();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(directory.path()), 0o755);
        let name = UnitName::parse("a.service").unwrap();
        directory.write(&name, b"[Unit]\n").unwrap();
        assert_eq!(mode(&directory.file(&name)), 0o644);
        UnitDirectory::open(directory.path()).unwrap();
        UnitDirectory::open(&directory.file(&name)).err().unwrap();
    }

    #[test]
    fn units_are_listed_and_other_files_are_logged_once() {
        let (_temp_dir, directory) = new_directory();
        let text = "[Service]\nExecStart=/bin/true\n";
        for (name, content) in [
            ("hello.service", text.as_bytes()),
            ("hello@1.service", text.as_bytes()),
            ("x.target", b"[Unit]\nDescription=x\n"),
            ("garbage.service", b"[Service\n"),
            ("latin.service", b"[Service]\nA=\xff\n"),
            ("a.slice", text.as_bytes()),
            (".keelson-Kd83js", text.as_bytes()),
            ("README", b""),
        ] {
            fs::write(directory.path().join(name), content).unwrap();
        }
        fs::write(directory.path().join("long.service"), vec![b' '; UNIT_BYTES + 2]).unwrap();
        fs::create_dir(directory.path().join("d.service")).unwrap();
        symlink("nowhere", directory.path().join("gone.service")).unwrap();

        let (found, log) = Log::of(|| directory.list_unit_files().unwrap());
        let listed: Vec<_> = found.iter().map(|(name, file)| (name.as_str(), file.text())).collect();
        let expected = [
            ("garbage.service", ""),
            ("gone.service", ""),
            ("hello.service", text),
            ("hello@1.service", text),
            ("latin.service", ""),
            ("long.service", ""),
            ("x.target", "[Unit]\nDescription=x\n"),
        ];
        assert_eq!(listed, expected);
        for file_name in ["a.slice", ".keelson-Kd83js", "README", "d.service"] {
            let line =
                format!("Found unrecognized file in {}/{file_name}, ignoring\n", directory.path().display());
            assert_eq!(log.matches(&line).count(), 1, "{log}");
        }
        let why = "garbage.service is not read as a unit: line 1, column 1: unable to find end of section";
        assert!(log.contains(why), "{log}");
        let (again, log) = Log::of(|| directory.list_unit_files().unwrap());
        assert_eq!((again, log.contains("ignoring")), (found, false), "{log}");
    }
}
