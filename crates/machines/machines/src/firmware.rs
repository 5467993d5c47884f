//! The firmware of QEMU machines, as the tools tree has it.

use std::path::Path;
use std::process::Stdio;

use crate::backend::BackendError;
use crate::tools::Tools;

/// Its code, which all machines share.
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// The same with Secure Boot, which it guards in system management mode.
const CODE_SECURE_BOOT: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
/// Its empty variables, of which each machine has a copy: with Secure Boot that is setup mode.
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The firmware's code.
#[must_use]
pub const fn code(secure_boot: bool) -> &'static str {
    if secure_boot { CODE_SECURE_BOOT } else { CODE }
}

/// Copies the firmware's empty variables out of the tools tree.
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
    Err(BackendError::Tool { program: "cp", said: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}
