//! VirtualBox's guest properties.

use std::path::{Path, PathBuf};

use cloudinit::metadata::Metadata;
use cloudinit::provider::{Malformed, virtual_box};

use super::error::DatasourceError;
use super::transport;

/// Asks the hypervisor for one property.
const PROGRAM: &str = "VBoxControl";
/// A property that VirtualBox itself sets: whether it answers is what counts.
const ANY: &str = "/VirtualBox/HostInfo/GUI/LanguageID";

/// Whether there is a hypervisor that answers.
pub(super) fn is_there() -> Result<bool, DatasourceError> {
    let Some(program) = transport::find(&[PROGRAM]) else { return Ok(false) };
    ask(&program, ANY).map(|_| true)
}

pub(super) fn user_data() -> Result<Vec<u8>, DatasourceError> {
    let program = program()?;
    let malformed = |source| DatasourceError::Malformed { path: "guest property".into(), source };
    transport::with_keys(|key| ask(&program, key), virtual_box::user_data)?.map_err(malformed)
}

pub(super) fn metadata() -> Result<Metadata, DatasourceError> {
    let program = program()?;
    transport::with_keys(|key| ask(&program, key), virtual_box::metadata)
}

fn program() -> Result<PathBuf, DatasourceError> {
    let gone = || DatasourceError::Program { program: PROGRAM.into(), reason: "it is not there".to_owned() };
    transport::find(&[PROGRAM]).ok_or_else(gone)
}

fn ask(program: &Path, key: &str) -> Result<Option<String>, DatasourceError> {
    let said = transport::ask(program, &["--nologo", "guestproperty", "get", key])?;
    if !said.status.success() {
        let reason = format!("{}: {}", said.status, said.complaint);
        return Err(DatasourceError::Program { program: program.into(), reason });
    }
    let malformed = |_| DatasourceError::Malformed { path: key.into(), source: Malformed::NotText };
    let output = String::from_utf8(said.output).map_err(malformed)?;
    Ok(virtual_box::value(&output).map(str::to_owned))
}
