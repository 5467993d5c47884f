//! OpenStack's config drive, as a mounted directory (contract 5.4).

use std::path::Path;

use cloudinit::metadata::Metadata;
use cloudinit::provider::openstack::{META_DATA, MetaData, NETWORK_DATA, USER_DATA};

use super::error::DatasourceError;
use super::local;

const FOLDER: &str = "openstack";

/// Whether the directory has a drive's content. Empty, it may be the mount point of a drive that is not mounted.
pub(super) fn has_content(drive: &Path) -> bool {
    drive.join(FOLDER).exists()
}

pub(super) fn user_data(drive: &Path) -> Result<Vec<u8>, DatasourceError> {
    item(drive, USER_DATA)
}

pub(super) fn metadata(drive: &Path) -> Result<Metadata, DatasourceError> {
    let mut meta = MetaData::read(&item(drive, META_DATA)?)?;
    let config = match meta.network_config() {
        Some(path) => item(drive, &path)?,
        None => Vec::new(),
    };
    Ok(meta.metadata(&item(drive, NETWORK_DATA)?, &config)?)
}

/// A missing file counts as empty.
fn item(drive: &Path, path: &str) -> Result<Vec<u8>, DatasourceError> {
    Ok(local::read_optional(&drive.join(path))?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudinit::metadata::NetworkSource;

    #[test]
    fn reads_metadata_user_data_and_network() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(metadata(folder.path()).unwrap(), Metadata::default());
        assert_eq!(user_data(folder.path()).unwrap(), b"");
        let put = |name: &str, text: &str| {
            let path = folder.path().join("openstack").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("latest/user_data", "#cloud-config\n");
        put(
            "latest/meta_data.json",
            r#"{"hostname": "core-01", "network_config": {"content_path": "/content/0000"}}"#,
        );
        let network = r#"{"networks": [{"type": "ipv4", "ip_address": "10.0.0.7"}]}"#;
        put("latest/network_data.json", network);
        let metadata = super::metadata(folder.path()).unwrap();
        assert_eq!(metadata.hostname.as_deref(), Some("core-01"));
        assert_eq!(metadata.addresses.private_ipv4.as_deref(), Some("10.0.0.7"));
        assert_eq!(metadata.network, Some(NetworkSource::OpenStack(serde_json::from_str(network).unwrap())));
        put("content/0000", "auto eth0\n");
        let metadata = super::metadata(folder.path()).unwrap();
        assert_eq!(metadata.network, Some(NetworkSource::Debian("auto eth0\n".into())));
        assert_eq!(user_data(folder.path()).unwrap(), b"#cloud-config\n");
        put("latest/meta_data.json", "{");
        let error = super::metadata(folder.path()).unwrap_err();
        assert!(
            service::error::chain(&error).starts_with("openstack/latest/meta_data.json is not valid: "),
            "{error}"
        );
    }
}
