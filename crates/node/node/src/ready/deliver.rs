//! Gives the line to the host, in the ways that the host has made.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::root::Root;
use service::file::replace;

/// A virtio-serial port; whatever is written to it appears on the host.
const PORT: &str = "/dev/virtio-ports/org.keelson.ready";
/// A folder that the host has bound into a container.
const SHARED: &str = "/run/keelson/host";
const FILE: &str = "ready.json";
const FILE_MODE: u32 = 0o644;

#[derive(Debug, thiserror::Error)]
#[error("cannot write to {place}")]
pub struct DeliverError {
    place: PathBuf,
    source: io::Error,
}

/// The places that were told.
pub fn deliver(root: &Root, line: &str) -> Result<Vec<String>, DeliverError> {
    let mut told = Vec::new();
    let shared = root.at(SHARED);
    if shared.is_dir() {
        let place = shared.join(FILE);
        replace(&place, line.as_bytes(), FILE_MODE).map_err(|source| DeliverError { place, source })?;
        told.push(format!("{SHARED}/{FILE}"));
    }
    // Last, since a port that nobody reads may block.
    let port = root.at(PORT);
    if port.exists() {
        write_port(&port, line).map_err(|source| DeliverError { place: port, source })?;
        told.push(PORT.to_owned());
    }
    Ok(told)
}

/// Tells how far the boot has come. Nobody depends on it: where it cannot be told at once, it is not.
pub fn tell(root: &Root, line: &str) {
    let shared = root.at(SHARED);
    if shared.is_dir()
        && let Err(error) = replace(&shared.join(FILE), line.as_bytes(), FILE_MODE)
    {
        eprintln!("{}: {error}", shared.display());
    }
    let flags = nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK;
    let port = OpenOptions::new().append(true).custom_flags(flags).open(root.at(PORT));
    let told = port.and_then(|mut port| port.write_all(line.as_bytes()));
    match told {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {}
        Err(error) => eprintln!("{PORT}: {error}"),
    }
}

fn write_port(port: &PathBuf, line: &str) -> io::Result<()> {
    let mut port = OpenOptions::new().append(true).custom_flags(nix::libc::O_NOCTTY).open(port)?;
    // One write: the host must not see half of the line as a whole one.
    port.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_way_that_is_there_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        assert!(deliver(&root, "x\n").unwrap().is_empty());

        fs::create_dir_all(root.at(SHARED)).unwrap();
        assert_eq!(deliver(&root, "one\n").unwrap(), ["/run/keelson/host/ready.json"]);
        assert_eq!(deliver(&root, "two\n").unwrap(), ["/run/keelson/host/ready.json"]);
        assert_eq!(fs::read_to_string(root.at(SHARED).join(FILE)).unwrap(), "two\n");

        fs::create_dir_all(root.at("/dev/virtio-ports")).unwrap();
        fs::write(root.at(PORT), "").unwrap();
        assert_eq!(deliver(&root, "three\n").unwrap().len(), 2);
        assert_eq!(fs::read_to_string(root.at(PORT)).unwrap(), "three\n");
        let names: Vec<_> =
            fs::read_dir(root.at(SHARED)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE], "no temporary file stays");
    }

    #[test]
    fn a_port_that_cannot_be_opened_is_an_error_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        fs::create_dir_all(root.at(PORT)).unwrap();
        let error = deliver(&root, "x\n").unwrap_err();
        assert!(error.to_string().ends_with("org.keelson.ready"), "{error}");
    }
}
