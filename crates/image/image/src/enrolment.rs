//! The Secure Boot keys on the ESP of a signed image.
//!
//! Their location is that of systemd-boot (loader.conf(5), `secure-boot-enroll`): if the firmware is in setup mode,
//! they are enrolled automatically in virtual machines, and from the menu on hardware. PK, KEK and db contain the
//! same certificate, the image's own.

use std::path::{Path, PathBuf};

use sandbox::Sandbox;

use crate::tool::{ToolError, command, run};
use crate::tree::{PathContext, TreeError, make_folder, remove, write_file};

/// Folder of the keys on the ESP.
pub const FOLDER: &str = "loader/keys/auto";
/// Key files, in order of dependency.
pub const FILES: [&str; 3] = ["PK.auth", "KEK.auth", "db.auth"];

/// A signing key and its certificate, both PEM.
#[derive(Debug, Clone)]
pub struct SigningKey {
    pub key: PathBuf,
    pub certificate: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    #[error("cannot write the keys to enrol")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// The inputs of the keys.
pub(crate) struct KeyRequest<'a> {
    pub sign: &'a SigningKey,
    /// The unpacked packages, which contain `bootctl`.
    pub base: &'a Path,
    /// Unix time of the keys' signatures; constant for a release.
    pub epoch: u64,
    pub tools: &'a Sandbox,
}

/// Writes the keys to `esp`, the future content of the ESP; `scratch` is a temporary folder.
pub(crate) fn write_keys(request: &KeyRequest<'_>, scratch: &Path, esp: &Path) -> Result<(), EnrolmentError> {
    // bootctl installs a complete boot loader, of which only the keys are used. It requires the root of a file
    // system, which a shared folder is inside the sandbox.
    let kernel = scratch.join("kernel");
    make_folder(&kernel)?;
    let bootctl = request.base.join("usr/bin/bootctl");
    // bootctl needs systemd's library from the tools tree, which has the same locked version.
    run(command(&request.tools.clone().share(scratch), &bootctl.to_string_lossy())?
        .arg("install")
        .arg(format!("--esp-path={}", scratch.display()))
        .args(["--no-variables", "--random-seed=no", "--make-entry-directory=no"])
        .arg("--secure-boot-auto-enroll=yes")
        .arg(format!("--private-key={}", request.sign.key.display()))
        .arg(format!("--certificate={}", request.sign.certificate.display()))
        .env("SYSTEMD_RELAX_ESP_CHECKS", "1")
        // Without a machine id bootctl would write to /etc/kernel; whether the sandbox has one depends on the host.
        .env("KERNEL_INSTALL_CONF_ROOT", &kernel)
        .env("SOURCE_DATE_EPOCH", request.epoch.to_string()))?;
    for name in FILES {
        let generated = scratch.join(FOLDER).join(name);
        write_file(&esp.join(FOLDER).join(name), &std::fs::read(&generated).at(&generated)?, 0o644)?;
    }
    Ok(remove(scratch)?)
}
