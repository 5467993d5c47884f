//! `cloud-config-url=` on the kernel command line (contract 5.10).

use std::path::Path;

use super::error::DatasourceError;
use super::local;
use super::url::Url;
use crate::log::Log;

const KEY: &str = "cloud-config-url";

/// The URL of the last such argument. `_` in a key counts as `-`; quotes have no meaning.
///
/// # Errors
/// The command line cannot be read.
pub(super) fn url(path: &Path, log: &Log) -> Result<Option<Url>, DatasourceError> {
    let Some(content) = local::read_optional(path)? else { return Ok(None) };
    Ok(find(String::from_utf8_lossy(&content).trim_end_matches('\n'), log))
}

fn find(arguments: &str, log: &Log) -> Option<Url> {
    let mut url = None;
    for argument in arguments.split(' ') {
        let (key, value) = match argument.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (argument, None),
        };
        if key.replace('_', "-") != KEY {
            continue;
        }
        match value {
            Some(value) => url = Some(Url::new(value)),
            None => log.warning(format!("Skipping kernel argument {key}: it has no value")),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_counts() {
        for (arguments, expect) in [
            ("", None),
            ("quiet xcloud-config-url=http://a", None),
            ("cloud-config-url", None),
            ("a cloud-config-url=http://a b", Some("http://a")),
            ("cloud-config-url=http://a cloud_config_url=http://b/=c", Some("http://b/=c")),
            ("cloud-config-url=http://a cloud-config_url=", Some("")),
            ("cloud-config-url=\"http://a\"", Some("\"http://a\"")),
        ] {
            let url = find(arguments, &Log::from_environment());
            assert_eq!(url.as_ref().map(Url::unredacted).as_deref(), expect, "{arguments}");
        }
    }
}
