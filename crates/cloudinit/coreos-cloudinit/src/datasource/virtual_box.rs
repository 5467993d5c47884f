//! VirtualBox's guest properties.

use std::path::{Path, PathBuf};

use cloudinit::metadata::Metadata;
use cloudinit::provider::{Malformed, virtual_box};

use super::error::DatasourceError;
use super::guest_tool;

/// Queries one guest property.
const PROGRAM: &str = "VBoxControl";
/// A property that VirtualBox sets itself; used as a probe.
const PROBE_KEY: &str = "/VirtualBox/HostInfo/GUI/LanguageID";

/// Whether a hypervisor answers.
pub(super) fn is_available() -> Result<bool, DatasourceError> {
    let Some(program) = guest_tool::find(&[PROGRAM]) else { return Ok(false) };
    query(&program, PROBE_KEY).map(|_| true)
}

pub(super) fn user_data() -> Result<Vec<u8>, DatasourceError> {
    let program = program()?;
    let malformed = |source| DatasourceError::Malformed { path: "guest property".into(), source };
    guest_tool::read_keys(|key| query(&program, key), virtual_box::user_data)?.map_err(malformed)
}

pub(super) fn metadata() -> Result<Metadata, DatasourceError> {
    let program = program()?;
    guest_tool::read_keys(|key| query(&program, key), virtual_box::metadata)
}

fn program() -> Result<PathBuf, DatasourceError> {
    let missing =
        || DatasourceError::Program { program: PROGRAM.into(), reason: "it is not there".to_owned() };
    guest_tool::find(&[PROGRAM]).ok_or_else(missing)
}

fn query(program: &Path, key: &str) -> Result<Option<String>, DatasourceError> {
    let output = guest_tool::run(program, &["--nologo", "guestproperty", "get", key])?;
    if !output.status.success() {
        let reason = format!("{}: {}", output.status, output.error_line);
        return Err(DatasourceError::Program { program: program.into(), reason });
    }
    let malformed = |_| DatasourceError::Malformed { path: key.into(), source: Malformed::NotUtf8 };
    let output = String::from_utf8(output.stdout).map_err(malformed)?;
    Ok(virtual_box::property_value(&output).map(str::to_owned))
}
