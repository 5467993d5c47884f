//! Unit names that systemd can run. It supports fewer than the cluster.

use unit_file::UnitName;

use crate::error::Error;

/// In bytes, exclusive.
const MAX_SYSTEMD_NAME_LENGTH: usize = 256;

fn unsupported_reason(name: &UnitName) -> Option<&'static str> {
    if name.is_template() {
        return Some("it is a template, only its instances run");
    }
    if name.stem().is_empty() {
        return Some("its name is nothing but a suffix");
    }
    if !name.kind().runs() {
        return Some("units of its type are not run from files here");
    }
    (name.as_str().len() >= MAX_SYSTEMD_NAME_LENGTH).then_some("systemd's names have at most 255 bytes")
}

pub(crate) fn is_supported(name: &UnitName) -> bool {
    unsupported_reason(name).is_none()
}

pub(crate) fn check_supported(name: &UnitName) -> Result<(), Error> {
    match unsupported_reason(name) {
        Some(why) => Err(Error::UnsupportedName { unit: name.clone(), why }),
        None => Ok(()),
    }
}
