//! Reads the inputs of the configuration.

use std::io::ErrorKind;

use fleet_config::{Facts, File, config_path};

pub fn gather(args: &[String]) -> Facts {
    let file = match config_path(args).map(std::fs::read_to_string) {
        None => File::Missing,
        Some(Ok(text)) => File::Text(text),
        Some(Err(error)) if error.kind() == ErrorKind::NotFound => File::Missing,
        Some(Err(error)) => File::Unreadable(error.to_string()),
    };
    Facts { args: args.to_vec(), environment: environment(), file }
}

/// Variables that are not UTF-8 are ignored.
fn environment() -> std::collections::BTreeMap<String, String> {
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.collect()
}
