//! dpkg's status, by which scanners find the packages of a node. The node has no dpkg.

use std::io::{self, Read};
use std::path::Path;

use crate::lock::Package;

/// In a tree. `/var/lib/dpkg/status` of a node is a copy (`os/rootfs/usr/lib/tmpfiles.d/keelson.conf`).
pub const PATH: &str = "usr/lib/dpkg/status";
const CONTROL: &str = "control";
/// Of the largest control file, many times.
const MAX_CONTROL: u64 = 1 << 20;
/// As dpkg writes it for a package that is configured.
const INSTALLED: &str = "Status: install ok installed\n";

/// The package's entry, from its control archive.
pub fn entry(archive: impl Read, package: &Package) -> io::Result<String> {
    let mut files = tar::Archive::new(archive);
    for file in files.entries()? {
        let file = file?;
        let path = file.path()?;
        if path.strip_prefix("./").unwrap_or(&path) == Path::new(CONTROL) {
            let mut text = String::new();
            file.take(MAX_CONTROL).read_to_string(&mut text)?;
            return of_control(&text, package)
                .ok_or_else(|| invalid("its control file is another package's"));
        }
    }
    Err(invalid("its control archive has no control file"))
}

fn of_control(control: &str, package: &Package) -> Option<String> {
    let has = |name: &str, value: &str| {
        let line = |line: &str| {
            line.strip_prefix(name).and_then(|line| line.strip_prefix(':')).map(str::trim) == Some(value)
        };
        control.lines().any(line)
    };
    let (name, rest) = control.split_once('\n')?;
    let is_same = name.strip_prefix("Package:")?.trim() == package.name && has("Version", &package.version);
    is_same.then(|| format!("{name}\n{INSTALLED}{}\n", rest.trim_end()))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_is_the_control_file_of_an_installed_package() {
        let package = |name: &str, version: &str| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            source: None,
            path: String::new(),
            size: 0,
            sha256: String::new(),
            trees: Vec::new(),
        };
        let control =
            "Package: bash\nSource: bash-source\nVersion: 5.2-2\nDescription: a shell\n Version: 9\n .\n\n";
        let entry = "Package: bash\nStatus: install ok installed\nSource: bash-source\nVersion: 5.2-2\n\
                     Description: a shell\n Version: 9\n .\n";
        assert_eq!(of_control(control, &package("bash", "5.2-2")).as_deref(), Some(entry));
        assert_eq!(of_control(control, &package("dash", "5.2-2")), None);
        assert_eq!(of_control(control, &package("bash", "5.2-3")), None);
        assert_eq!(of_control(control, &package("bash", "9")), None);
        assert_eq!(of_control("", &package("bash", "5.2-2")), None);
    }
}
