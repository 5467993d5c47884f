//! The config drive of a node: its user-data, name, keys and address.
//!
//! OpenStack layout: `openstack/latest/{user_data,meta_data.json,network_data.json}`. In QEMU it is a FAT file system
//! with the label `config-2`; nspawn nodes get the same files in a folder. A NoCloud seed has `user-data` and `meta-data`
//! in its root directory, and the label `cidata`.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cluster::{LAN_PREFIX, Node};
use crate::limits;

/// Volume label by which the guest finds the drive.
pub const LABEL: [u8; 11] = *b"config-2   ";
/// The label of a seed, as tools for FAT write it.
const SEED_LABEL: [u8; 11] = *b"CIDATA     ";
/// Folder of the files on a config drive.
pub const FOLDER: &str = "openstack/latest";

#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error("user-data has {has} bytes; the maximum is {max}", max = limits::USER_DATA_MAX)]
    Large { has: usize },
    #[error("cannot write the config drive {path}")]
    Write { path: PathBuf, source: io::Error },
}

/// The files of a drive, by name in its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    label: [u8; 11],
    folder: &'static str,
    pub files: Vec<(&'static str, Vec<u8>)>,
}

impl Drive {
    /// `user_data` is passed on unchanged; `None` writes no file.
    pub fn new(node: &Node, public_key: &str, user_data: Option<&[u8]>) -> Result<Self, DriveError> {
        let meta = json!({
            "hostname": node.name,
            "name": node.name,
            "uuid": node.uuid,
            "public_keys": { "keelson": public_key },
        });
        let network = json!({
            "links": [{ "id": "lan", "type": "phy", "ethernet_mac_address": node.mac, "mtu": 1500 }],
            "networks": [{
                "id": "lan",
                "type": "ipv4",
                "link": "lan",
                "ip_address": node.address.to_string(),
                "netmask": netmask(LAN_PREFIX).to_string(),
                "routes": [],
            }],
            "services": [],
        });
        let mut files = vec![
            ("meta_data.json", format!("{meta:#}\n").into_bytes()),
            ("network_data.json", format!("{network:#}\n").into_bytes()),
        ];
        files.extend(checked(user_data)?.map(|data| ("user_data", data)));
        Ok(Self::of(files))
    }

    /// A NoCloud seed. It has no address: a node's LAN is a credential.
    pub fn seed(node: &Node, public_key: &str, user_data: Option<&[u8]>) -> Result<Self, DriveError> {
        // JSON is YAML.
        let meta = json!({
            "instance-id": node.uuid,
            "local-hostname": node.name,
            "public-keys": [public_key],
        });
        let mut files = vec![("meta-data", format!("{meta:#}\n").into_bytes())];
        files.extend(checked(user_data)?.map(|data| ("user-data", data)));
        Ok(Self { label: SEED_LABEL, folder: "", files })
    }

    /// A config drive with these files.
    #[must_use]
    pub fn of(files: Vec<(&'static str, Vec<u8>)>) -> Self {
        Self { label: LABEL, folder: FOLDER, files }
    }

    pub fn write_image(&self, path: &Path) -> Result<(), DriveError> {
        let failed = |source| DriveError::Write { path: path.to_path_buf(), source };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        self.fill_image(file.as_file_mut()).map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Overwrites the image file in place, since a running machine has it open and would not see a renamed file. The
    /// machine reads the drive only while it boots.
    pub fn overwrite_image(&self, path: &Path) -> Result<(), DriveError> {
        let failed = |source| DriveError::Write { path: path.to_path_buf(), source };
        let mut image = tempfile::tempfile().map_err(failed)?;
        self.fill_image(&mut image).map_err(failed)?;
        image.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut target = File::options().write(true).open(path).map_err(failed)?;
        io::copy(&mut image, &mut target).map_err(failed)?;
        target.sync_all().map_err(failed)
    }

    /// Replaces the folder's files; removes those that the drive no longer has. Without files the folder is empty.
    pub fn write_folder(&self, path: &Path) -> Result<(), DriveError> {
        if self.files.is_empty() {
            let emptied = match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => std::fs::create_dir_all(path),
            };
            return emptied.map_err(|source| DriveError::Write { path: path.to_path_buf(), source });
        }
        let folder = path.join(FOLDER);
        for name in ["user_data", "meta_data.json", "network_data.json"] {
            let file = folder.join(name);
            let written = match self.files.iter().find(|(has, _)| *has == name) {
                Some((_, content)) => crate::store::replace(&file, content),
                None => match std::fs::remove_file(&file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                },
            };
            written.map_err(|source| DriveError::Write { path: file, source })?;
        }
        Ok(())
    }

    fn fill_image(&self, file: &mut File) -> io::Result<()> {
        file.set_len(limits::CONFIG_DRIVE_BYTES)?;
        let options = fatfs::FormatVolumeOptions::new().volume_label(self.label).volume_id(0x6b65_656c);
        fatfs::format_volume(&mut *file, options)?;
        file.seek(SeekFrom::Start(0))?;
        let volume = fatfs::FileSystem::new(&mut *file, fatfs::FsOptions::new().update_accessed_date(false))?;
        {
            let parts = self.folder.split('/').filter(|part| !part.is_empty());
            let folder =
                parts.into_iter().try_fold(volume.root_dir(), |folder, part| folder.create_dir(part))?;
            for (name, content) in &self.files {
                let mut target = folder.create_file(name)?;
                target.write_all(content)?;
                target.flush()?;
            }
        }
        volume.unmount()?;
        file.sync_all()
    }
}

/// User-data as it is, unless it is too large.
fn checked(user_data: Option<&[u8]>) -> Result<Option<Vec<u8>>, DriveError> {
    match user_data {
        Some(data) if u64::try_from(data.len()).unwrap_or(u64::MAX) > limits::USER_DATA_MAX => {
            Err(DriveError::Large { has: data.len() })
        }
        data => Ok(data.map(<[u8]>::to_vec)),
    }
}

fn netmask(prefix: u8) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::cluster::{Cluster, ClusterSpec, tests::image};

    fn node() -> Node {
        Cluster::new("default", &ClusterSpec::default(), image()).nodes.remove(0)
    }

    fn read(path: &Path, name: &str) -> Option<Vec<u8>> {
        read_at(path, &format!("{FOLDER}/{name}"))
    }

    fn read_at(path: &Path, name: &str) -> Option<Vec<u8>> {
        let volume = fatfs::FileSystem::new(File::open(path).unwrap(), fatfs::FsOptions::new()).unwrap();
        let root = volume.root_dir();
        let mut file = root.open_file(name).ok()?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        Some(content)
    }

    #[test]
    fn an_open_image_shows_the_overwritten_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drive.img");
        Drive::new(&node(), "key", Some(b"old, and longer")).unwrap().write_image(&path).unwrap();
        let open = File::open(&path).unwrap();
        Drive::new(&node(), "key", Some(b"new")).unwrap().overwrite_image(&path).unwrap();
        let copy = folder.path().join("seen");
        io::copy(&mut &open, &mut File::create(&copy).unwrap()).unwrap();
        assert_eq!(read(&copy, "user_data").unwrap(), b"new");
    }

    #[test]
    fn the_image_contains_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drive.img");
        let data: Vec<u8> = (0..10 * 1024 * 1024_u32).map(|i| i.to_le_bytes()[0] ^ 0x5a).collect();
        Drive::new(&node(), "ssh-ed25519 AAAA me", Some(&data)).unwrap().write_image(&path).unwrap();
        assert_eq!(read(&path, "user_data").unwrap(), data);
        let meta: serde_json::Value =
            serde_json::from_slice(&read(&path, "meta_data.json").unwrap()).unwrap();
        assert_eq!(meta["hostname"], "core-01");
        assert_eq!(meta["public_keys"]["keelson"], "ssh-ed25519 AAAA me");
        let net: serde_json::Value =
            serde_json::from_slice(&read(&path, "network_data.json").unwrap()).unwrap();
        assert_eq!(net["networks"][0]["ip_address"], "10.77.0.11");
        assert_eq!(net["networks"][0]["netmask"], "255.255.255.0");
        assert_eq!(net["links"][0]["ethernet_mac_address"], node().mac);
        let volume = fatfs::FileSystem::new(File::open(&path).unwrap(), fatfs::FsOptions::new()).unwrap();
        assert_eq!(volume.volume_label().trim_end(), "config-2");
        assert_eq!(volume.read_volume_label_from_root_dir().unwrap().as_deref(), Some("config-2"));
        // Without user-data an existing file is removed.
        Drive::new(&node(), "k", None).unwrap().write_image(&path).unwrap();
        assert_eq!(read(&path, "user_data"), None);
    }

    #[test]
    fn a_seed_has_its_files_in_the_root_directory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed.img");
        Drive::seed(&node(), "ssh-ed25519 AAAA me", Some(b"#cloud-config\n"))
            .unwrap()
            .write_image(&path)
            .unwrap();
        assert_eq!(read_at(&path, "user-data").unwrap(), b"#cloud-config\n");
        let meta: serde_json::Value = serde_json::from_slice(&read_at(&path, "meta-data").unwrap()).unwrap();
        assert_eq!(
            (&meta["local-hostname"], &meta["public-keys"][0]),
            (&json!("core-01"), &json!("ssh-ed25519 AAAA me"))
        );
        let volume = fatfs::FileSystem::new(File::open(&path).unwrap(), fatfs::FsOptions::new()).unwrap();
        assert_eq!(volume.read_volume_label_from_root_dir().unwrap().as_deref(), Some("CIDATA"));
        let large = vec![0; usize::try_from(limits::USER_DATA_MAX).unwrap() + 1];
        Drive::seed(&node(), "k", Some(&large)).unwrap_err();
    }

    #[test]
    fn a_folder_without_files_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let drive = folder.path().join("drive");
        Drive::new(&node(), "k", Some(b"#cloud-config\n")).unwrap().write_folder(&drive).unwrap();
        Drive::of(Vec::new()).write_folder(&drive).unwrap();
        assert_eq!(std::fs::read_dir(&drive).unwrap().count(), 0);
    }

    #[test]
    fn the_folder_drops_removed_files() {
        let folder = tempfile::tempdir().unwrap();
        Drive::new(&node(), "k", Some(b"#cloud-config\n")).unwrap().write_folder(folder.path()).unwrap();
        let data = folder.path().join(FOLDER).join("user_data");
        assert_eq!(std::fs::read(&data).unwrap(), b"#cloud-config\n");
        Drive::new(&node(), "k", None).unwrap().write_folder(folder.path()).unwrap();
        assert!(!data.exists());
        assert!(folder.path().join(FOLDER).join("meta_data.json").exists());
    }

    #[test]
    fn oversized_user_data_is_rejected() {
        let data = vec![b'#'; usize::try_from(limits::USER_DATA_MAX).unwrap() + 1];
        assert!(matches!(Drive::new(&node(), "k", Some(&data)), Err(DriveError::Large { .. })));
    }
}
