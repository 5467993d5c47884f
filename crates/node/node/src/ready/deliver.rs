//! Delivers the report to the host over the channels that the host provides.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::root::Root;
use service::file::replace;

/// A virtio-serial port, connected to the host.
const PORT: &str = "/dev/virtio-ports/org.keelson.ready";
/// A folder that the host bind-mounts into a container.
const SHARED: &str = "/run/keelson/host";
const FILE: &str = "ready.json";
const FILE_MODE: u32 = 0o644;

#[derive(Debug, thiserror::Error)]
#[error("cannot write to {target}")]
pub struct DeliverError {
    target: PathBuf,
    source: io::Error,
}

/// Returns the channels that were written to.
pub fn deliver(root: &Root, line: &str) -> Result<Vec<String>, DeliverError> {
    let mut delivered = Vec::new();
    let shared = root.at(SHARED);
    if shared.is_dir() {
        let target = shared.join(FILE);
        replace(&target, line.as_bytes(), FILE_MODE).map_err(|source| DeliverError { target, source })?;
        delivered.push(format!("{SHARED}/{FILE}"));
    }
    // Last: a port without a reader may block.
    let port = root.at(PORT);
    if port.exists() {
        write_port(&port, line).map_err(|source| DeliverError { target: port, source })?;
        delivered.push(PORT.to_owned());
    }
    Ok(delivered)
}

/// Reports the boot's progress. Best effort: never blocks and ignores missing channels.
pub fn deliver_progress(root: &Root, line: &str) {
    let shared = root.at(SHARED);
    if shared.is_dir()
        && let Err(error) = replace(&shared.join(FILE), line.as_bytes(), FILE_MODE)
    {
        eprintln!("cannot write to {}: {error}", shared.display());
    }
    let flags = nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK;
    let port = OpenOptions::new().append(true).custom_flags(flags).open(root.at(PORT));
    let written = port.and_then(|mut port| port.write_all(line.as_bytes()));
    match written {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {}
        Err(error) => eprintln!("cannot write to {PORT}: {error}"),
    }
}

fn write_port(port: &PathBuf, line: &str) -> io::Result<()> {
    let mut port = OpenOptions::new().append(true).custom_flags(nix::libc::O_NOCTTY).open(port)?;
    // In one write: the host must not see a partial line.
    port.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_available_channels_are_used() {
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
    fn unopenable_port_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        fs::create_dir_all(root.at(PORT)).unwrap();
        let error = deliver(&root, "x\n").unwrap_err();
        assert!(error.to_string().ends_with("org.keelson.ready"), "{error}");
    }
}
