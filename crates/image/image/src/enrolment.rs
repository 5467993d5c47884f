//! The keys on the boot partition of a signed image, from which a machine's firmware learns whom to trust.
//!
//! They stand where systemd-boot looks for them (loader.conf(5), `secure-boot-enroll`): where the firmware is in
//! setup mode it enrols them, in virtual machines by itself, on hardware from its menu. Platform key, key exchange key
//! and list of signers are one certificate, the image's own.

use std::path::{Path, PathBuf};

use sandbox::Sandbox;

use crate::tool::{ToolError, command, run};
use crate::tree::{At, TreeError, make_folder, put, remove};

/// Their folder on the boot partition.
pub const FOLDER: &str = "loader/keys/auto";
/// Their names, in the order of what depends on what.
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

/// What the keys are made of.
pub(crate) struct Order<'a> {
    pub sign: &'a SigningKey,
    /// The unpacked packages, with `bootctl`.
    pub base: &'a Path,
    /// The time of the keys' signatures, in seconds since 1970: the same for the same release.
    pub epoch: u64,
    pub tools: &'a Sandbox,
}

/// Puts them on the boot partition that is being made in the folder `esp`; `scratch` is a folder to work in.
pub(crate) fn put_keys(order: &Order<'_>, scratch: &Path, esp: &Path) -> Result<(), EnrolmentError> {
    // It installs a whole boot loader, of which only the keys are taken. Of what is no root of a file system it says
    // that it is no boot partition: a shared folder is one inside of the sandbox.
    let kernel = scratch.join("kernel");
    make_folder(&kernel)?;
    let bootctl = order.base.join("usr/bin/bootctl");
    // It needs systemd's library, which the tools have: one lock, one version.
    run(command(&order.tools.clone().share(scratch), &bootctl.to_string_lossy())?
        .arg("install")
        .arg(format!("--esp-path={}", scratch.display()))
        .args(["--no-variables", "--random-seed=no", "--make-entry-directory=no"])
        .arg("--secure-boot-auto-enroll=yes")
        .arg(format!("--private-key={}", order.sign.key.display()))
        .arg(format!("--certificate={}", order.sign.certificate.display()))
        .env("SYSTEMD_RELAX_ESP_CHECKS", "1")
        // Without a machine id, which the sandbox has where its host has one, it would write a word into /etc/kernel.
        .env("KERNEL_INSTALL_CONF_ROOT", &kernel)
        .env("SOURCE_DATE_EPOCH", order.epoch.to_string()))?;
    for name in FILES {
        let made = scratch.join(FOLDER).join(name);
        put(&esp.join(FOLDER).join(name), &std::fs::read(&made).at(&made)?, 0o644)?;
    }
    Ok(remove(scratch)?)
}
