//! VirtualBox's guest properties, read from the kernel's device: no guest additions are needed.

use std::fs;
use std::path::{Path, PathBuf};

use cloudinit::metadata::Metadata;
use cloudinit::provider::{Malformed, virtual_box};

use super::error::DatasourceError;
use super::guest_property::{Client, Ioctl};
use super::properties::read_keys;

// Relative to the root.
const DEVICE: &str = "dev/vboxguest";
const PCI_DEVICES: &str = "sys/bus/pci/devices";
/// Vendor and device of the adapter that connects a guest to VirtualBox.
const ADAPTER: (&str, &str) = ("0x80ee", "0xcafe");

/// Whether this machine has the adapter, which the kernel's driver makes a device of.
pub(super) fn has_adapter(root: &Path) -> bool {
    let Ok(devices) = fs::read_dir(root.join(PCI_DEVICES)) else { return false };
    let is = |file: PathBuf, value| fs::read_to_string(file).is_ok_and(|text| text.trim() == value);
    devices
        .flatten()
        .map(|device| device.path())
        .any(|path| is(path.join("vendor"), ADAPTER.0) && is(path.join("device"), ADAPTER.1))
}

/// The device, which exists once the driver is loaded.
pub(super) fn device(root: &Path) -> PathBuf {
    root.join(DEVICE)
}

pub(super) fn user_data(root: &Path) -> Result<Vec<u8>, DatasourceError> {
    let malformed = |source| DatasourceError::Malformed { path: "guest property".into(), source };
    let (path, mut client) = connect(root)?;
    read_keys(|key| query(&path, &mut client, key), virtual_box::user_data)?.map_err(malformed)
}

pub(super) fn metadata(root: &Path) -> Result<Metadata, DatasourceError> {
    let (path, mut client) = connect(root)?;
    read_keys(|key| query(&path, &mut client, key), virtual_box::metadata)
}

fn connect(root: &Path) -> Result<(PathBuf, Client<fs::File>), DatasourceError> {
    let path = device(root);
    let opened = fs::File::options().read(true).write(true).open(&path).and_then(Client::connect);
    match opened {
        Ok(client) => Ok((path, client)),
        Err(source) => Err(DatasourceError::Read { path, source }),
    }
}

fn query(path: &Path, client: &mut Client<impl Ioctl>, key: &str) -> Result<Option<String>, DatasourceError> {
    let value = client.get(key).map_err(|source| DatasourceError::Read { path: path.into(), source })?;
    let malformed = |_| DatasourceError::Malformed { path: key.into(), source: Malformed::NotUtf8 };
    value.map(|value| String::from_utf8(value).map_err(malformed)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adapter_is_found() {
        let root = tempfile::tempdir().unwrap();
        assert!(!has_adapter(root.path()));
        for (address, vendor, device, expect) in [
            ("0000:00:01.0", "0x80ee", "0xbeef", false),
            ("0000:00:02.0", "0x8086", "0xcafe", false),
            ("0000:00:04.0", "0x80ee", "0xcafe", true),
        ] {
            let folder = root.path().join(PCI_DEVICES).join(address);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("vendor"), format!("{vendor}\n")).unwrap();
            fs::write(folder.join("device"), format!("{device}\n")).unwrap();
            assert_eq!(has_adapter(root.path()), expect, "{address}");
        }
    }
}
