//! The firmware of QEMU machines, from the tools tree.

use std::path::Path;
use std::process::Stdio;

use crate::backend::BackendError;
use crate::tools::Tools;

/// Firmware code, shared by all machines.
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// Firmware code with Secure Boot, which needs system management mode.
const CODE_SECURE_BOOT: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
/// Empty firmware variables, copied for each machine: Secure Boot starts in setup mode.
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

#[must_use]
pub const fn code(secure_boot: bool) -> &'static str {
    if secure_boot { CODE_SECURE_BOOT } else { CODE }
}

/// Copies the empty variables from the tools tree.
pub fn copy_variables(tools: &Tools, target: &Path) -> Result<(), BackendError> {
    let output = tools
        .command("cp")?
        .arg(VARIABLES)
        .arg(target)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| BackendError::Run("cp", source))?;
    if output.status.success() {
        return Ok(());
    }
    Err(BackendError::Tool {
        program: "cp",
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
