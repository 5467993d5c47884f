//! Reads facts about the running system.

use std::fs;
use std::path::Path;

use update_core::conf::{ConfFile, lookup};
use update_engine::Paths;

use crate::settings::Running;

const RELEASE: &str = "usr/share/coreos/release";
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
/// In order of precedence.
const OEM_RELEASE: [&str; 2] = ["etc/oem-release", "usr/share/oem/oem-release"];

/// Missing files are those of another distribution.
pub fn read(root: &Path) -> Running {
    let paths = Paths::new(root);
    let files =
        |names: &[&str]| -> Vec<ConfFile> { names.iter().filter_map(|name| file(&paths.at(name))).collect() };
    let value = |files: &[ConfFile], key: &str| lookup(files, key).map(|found| found.value);
    let release = files(&[RELEASE]);
    let os_release = files(&OS_RELEASE);
    let version = value(&release, "COREOS_RELEASE_VERSION");
    let is_own = version.is_some();
    let settings: Vec<_> = paths.settings().iter().filter_map(|path| file(path)).collect();
    Running {
        version,
        group: value(&settings, "GROUP").filter(|group| !group.is_empty()),
        board: value(&release, "COREOS_RELEASE_BOARD"),
        appid: value(&release, "COREOS_RELEASE_APPID"),
        oem: value(&files(&OEM_RELEASE), "ID").unwrap_or_default(),
        name: value(&os_release, "NAME").filter(|_| is_own),
        id: value(&os_release, "ID").filter(|_| is_own),
        architecture: std::env::consts::ARCH.to_owned(),
    }
}

fn file(path: &Path) -> Option<ConfFile> {
    let text = fs::read_to_string(path).ok()?;
    Some(ConfFile { path: path.display().to_string(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_distribution_has_no_version() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("etc/os-release", "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"13\"\n");
        let running = read(root.path());
        assert_eq!((running.version, running.name, running.id, running.group), (None, None, None, None));
        put(RELEASE, "COREOS_RELEASE_VERSION=3.2.1\nCOREOS_RELEASE_BOARD=amd64-usr\n");
        put("etc/os-release", "NAME=\"Keelson\"\nID=keelson\n");
        put("usr/share/coreos/update.conf", "GROUP=alpha\n");
        put("etc/coreos/update.conf", "GROUP=beta\n");
        put("usr/share/oem/oem-release", "ID=vmware\n");
        let running = read(root.path());
        assert_eq!((running.version.as_deref(), running.group.as_deref()), (Some("3.2.1"), Some("beta")));
        assert_eq!((&*running.oem, running.name.as_deref()), ("vmware", Some("Keelson")));
    }
}
