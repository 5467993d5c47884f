//! Unified kernel images: kernel, initrd and command line as one program of UEFI.

use std::fs;
use std::path::Path;

use sandbox::Sandbox;

use crate::enrolment::SigningKey;
use crate::tool::{ToolError, command, run};
use crate::tree::{PathContext, TreeError};

/// The kernel command line of every image, below the checkout.
const COMMAND_LINE: &str = "os/cmdline";

#[derive(Debug, thiserror::Error)]
pub enum BootImageError {
    #[error("cannot read the kernel command line")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
}

#[derive(Debug)]
pub struct BootImage<'a> {
    /// `vmlinuz` in the folder of its modules, whose name is the kernel's version.
    pub kernel: &'a Path,
    pub initrd: &'a Path,
    pub command_line: &'a [String],
    /// `os-release` of the system.
    pub os_release: &'a Path,
    /// Unix time of the program.
    pub epoch: u64,
    pub sign: Option<&'a SigningKey>,
    pub tools: &'a Sandbox,
}

/// Arguments of every image's kernel; the root hash is missing.
pub fn command_line(checkout: &Path) -> Result<Vec<String>, BootImageError> {
    let file = checkout.join(COMMAND_LINE);
    let text = fs::read_to_string(&file).at(&file)?;
    let arguments = text.lines().filter_map(|line| line.split('#').next().map(str::trim));
    Ok(arguments.filter(|argument| !argument.is_empty()).map(str::to_owned).collect())
}

/// The argument by which the initrd finds `/usr`. `root_hash` is its dm-verity root hash in hex.
pub fn root_hash_argument(root_hash: &str) -> String {
    format!("usrhash={root_hash}")
}

impl BootImage<'_> {
    pub fn write(&self, to: &Path) -> Result<(), BootImageError> {
        let release = self.kernel.parent().and_then(Path::file_name).unwrap_or_default();
        let mut ukify = command(self.tools, "ukify")?;
        ukify
            .arg("build")
            .arg(format!("--linux={}", self.kernel.display()))
            .arg(format!("--initrd={}", self.initrd.display()))
            .arg(format!("--cmdline={}", self.command_line.join(" ")))
            .arg(format!("--os-release=@{}", self.os_release.display()))
            .arg(format!("--uname={}", release.to_string_lossy()))
            .arg("--stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
            .arg(format!("--output={}", to.display()))
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string());
        if let Some(sign) = self.sign {
            ukify
                .arg(format!("--secureboot-private-key={}", sign.key.display()))
                .arg(format!("--secureboot-certificate={}", sign.certificate.display()));
        }
        run(&mut ukify)?;
        Ok(())
    }
}
