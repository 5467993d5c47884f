//! An ISO 9660 image with the files of a config drive.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sandbox::{Sandbox, SandboxError};

use crate::disk::set_times;
use crate::tool::{ToolError, command, run};
use crate::tree::{PathContext, TreeError, write_file};

/// Volume label by which machines find the drive.
pub const LABEL: &str = "config-2";
/// Folder of the files, as OpenStack defines it.
const FOLDER: &str = "openstack/latest";
/// Unix time of all files: 1980, the first that every file system has.
const TIME: u64 = 315_532_800;

#[derive(Debug, thiserror::Error)]
pub enum ConfigIsoError {
    #[error("cannot write the config drive")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Writes files, by name in `openstack/latest`, to `to`, which only its owner can read. The same files give the same bytes.
/// `tools` is a tools tree with xorriso.
pub fn write(tools: &Path, files: &[(&str, Vec<u8>)], to: &Path) -> Result<(), ConfigIsoError> {
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::canonicalize(parent).at(parent)?;
    let scratch = tempfile::Builder::new().prefix(".config-drive-").tempdir_in(&folder).at(&folder)?;
    let (content, iso) = (scratch.path().join("content"), scratch.path().join("drive.iso"));
    for (name, bytes) in files {
        write_file(&content.join(FOLDER).join(name), bytes, 0o644)?;
    }
    set_times(&content, TIME)?;
    let tools = Sandbox::new(tools)?.share(&folder);
    run(command(&tools, "xorriso")?
        .args(["-no_rc", "-as", "mkisofs", "-quiet", "-rational-rock", "-joliet", "-volid", LABEL])
        .arg("-o")
        .arg(&iso)
        .arg(&content)
        .env("SOURCE_DATE_EPOCH", TIME.to_string())
        .env("TZ", "UTC"))?;
    let file = File::open(&iso).at(&iso)?;
    file.set_permissions(Permissions::from_mode(0o600)).at(&iso)?;
    file.sync_all().at(&iso)?;
    let to: PathBuf = folder.join(to.file_name().unwrap_or_default());
    fs::rename(&iso, &to).at(&to)?;
    Ok(File::open(&folder).and_then(|folder| folder.sync_all()).at(&folder)?)
}
