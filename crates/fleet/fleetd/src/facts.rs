//! What is found before anything is decided.

use std::io::ErrorKind;

use fleet_config::{Facts, File, file_wanted};

pub fn gather(args: &[String]) -> Facts {
    let file = match file_wanted(args).map(std::fs::read_to_string) {
        None => File::Missing,
        Some(Ok(text)) => File::Text(text),
        Some(Err(error)) if error.kind() == ErrorKind::NotFound => File::Missing,
        Some(Err(error)) => File::Unreadable(error.to_string()),
    };
    Facts { args: args.to_vec(), environment: environment(), file }
}

/// Names and values that are no text mean nothing to anybody here.
fn environment() -> std::collections::BTreeMap<String, String> {
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.collect()
}
