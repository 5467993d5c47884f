//! cloud-init's network config, versions 1 and 2, as in the file `network-config` of a NoCloud seed.
//!
//! A value that cannot be is an error. A part that is not supported is a note with its line, and is left out.

mod stack;
mod value;
mod version1;
mod version2;

use super::interface::{ConvertError, Network};
use crate::yaml;
use stack::Stack;
use value::{Value, wrong};

pub(super) fn convert(text: &str) -> Result<Network, ConvertError> {
    let document = yaml::read(text.as_bytes()).map_err(|error| {
        // The message may quote the text.
        ConvertError(format!("network-config is not YAML (line {})", error.location.line))
    })?;
    let Some(root) = document.root.as_deref().filter(|root| !root.is_null()) else {
        return Ok(Network::default());
    };
    let root = Value(root);
    // The whole may be in a mapping of its own.
    let root = root.get("network")?.unwrap_or(root);
    let mut stack = Stack::default();
    match root.get("version")?.map(|version| version.number()).transpose()? {
        Some(1) => version1::read(root, &mut stack)?,
        Some(2) => version2::read(root, &mut stack)?,
        _ => return Err(wrong(root.0.location, "version is neither 1 nor 2")),
    }
    stack.finish()
}

#[cfg(test)]
mod tests;
