//! Image configurations: what the layers contain and how a container starts.

use oci_spec::image::{Config, ImageConfiguration};
use serde_json::json;

use crate::digest::{Digest, DigestError};
use crate::limits::{MAX_CONFIG, MAX_LAYERS};
use crate::platform::Platform;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct ImageConfig {
    /// What the image's programs run on.
    pub platform: Platform,
    /// Digests of the uncompressed layers, from the lowest to the highest.
    pub diff_ids: Vec<Digest>,
    /// How a container starts; all of it is optional.
    pub config: Config,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ConfigError {
    #[error("the image configuration has {0} bytes, at most {MAX_CONFIG} are accepted")]
    Large(usize),
    #[error("the image configuration cannot be parsed")]
    Json(#[source] serde_json::Error),
    #[error("the configuration's rootfs has type {0:?}; expected \"layers\"")]
    RootFs(String),
    #[error("diff id {number} of the configuration")]
    DiffId { number: usize, source: DigestError },
    #[error("the configuration has {diff_ids} diff ids, but the manifest has {layers} layers")]
    Count { diff_ids: usize, layers: usize },
}

impl ImageConfig {
    /// Parses the configuration of an image with `layers` layers.
    ///
    /// # Errors
    /// It is too large, cannot be parsed, or belongs to another number of layers.
    pub fn parse(bytes: &[u8], layers: usize) -> Result<Self, ConfigError> {
        if bytes.len() as u64 > MAX_CONFIG {
            return Err(ConfigError::Large(bytes.len()));
        }
        let parsed: ImageConfiguration = serde_json::from_slice(bytes).map_err(ConfigError::Json)?;
        let rootfs = parsed.rootfs();
        if rootfs.typ() != "layers" {
            return Err(ConfigError::RootFs(rootfs.typ().clone()));
        }
        let diff_ids = rootfs.diff_ids();
        if diff_ids.len() != layers || layers > MAX_LAYERS {
            return Err(ConfigError::Count { diff_ids: diff_ids.len(), layers });
        }
        let digests = diff_ids.iter().enumerate().map(|(index, text)| {
            text.parse().map_err(|source| ConfigError::DiffId { number: index + 1, source })
        });
        let variant = parsed.variant().as_deref().unwrap_or_default();
        Ok(Self {
            platform: Platform::new(&parsed.os().to_string(), &parsed.architecture().to_string(), variant),
            diff_ids: digests.collect::<Result<_, _>>()?,
            config: parsed.config().clone().unwrap_or_default(),
        })
    }
}

/// The configuration of an image that is one archive of a root file system: no command, no environment.
#[must_use]
pub fn of_rootfs(architecture: &str, diff_id: Digest) -> Vec<u8> {
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_checked() {
        let check = |text: &str, layers: usize, expected: Result<&str, &str>| match (
            ImageConfig::parse(text.as_bytes(), layers),
            expected,
        ) {
            (Ok(config), Ok(platform)) => {
                assert_eq!((config.platform.to_string().as_str(), config.diff_ids.len()), (platform, layers));
            }
            (Err(error), Err(excerpt)) => assert!(error.to_string().contains(excerpt), "{text}: {error}"),
            (other, _) => panic!("{text}: {other:?}"),
        };
        let digest = Digest::of(b"a");
        let one = String::from_utf8(of_rootfs("amd64", digest)).unwrap();
        check(&one, 1, Ok("linux/amd64"));
        check(&one, 2, Err("1 diff ids, but the manifest has 2 layers"));
        check(&one.replace("sha256", "sha512"), 1, Err("diff id 1"));
        check(&one.replace("\"layers\"", "\"other\""), 1, Err("expected \"layers\""));
        check(
            r#"{"architecture":"arm64","variant":"v8","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
            0,
            Ok("linux/arm64"),
        );
        // A field of the wrong type, and none.
        check(&one.replace("\"config\":{}", "\"config\":{\"Env\":1}"), 1, Err("cannot be parsed"));
        check("{}", 0, Err("cannot be parsed"));
        check(&" ".repeat(9 << 20), 0, Err("at most"));
    }
}
