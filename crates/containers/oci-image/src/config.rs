//! Image configurations: what the layers contain and how a container starts.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::digest::{Digest, DigestError};
use crate::document::RequiredPlatform;
use crate::limits::{MAX_CONFIG, MAX_LAYERS};
use crate::platform::Platform;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct ImageConfig {
    /// What the image's programs run on.
    pub platform: Platform,
    /// Digests of the uncompressed layers, from the lowest to the highest.
    pub diff_ids: Vec<Digest>,
    /// How a container starts.
    pub config: ContainerConfig,
    /// The same as the image has it, with what is not read here, such as labels.
    pub raw_config: Value,
}

/// How a container of the image starts, by the image: `config` of its configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// `USER[:GROUP]`.
    pub user: Option<String>,
    /// `NUMBER[/PROTOCOL]`.
    pub exposed_ports: Option<NameSet>,
    /// `NAME=VALUE`.
    pub env: Option<Vec<String>>,
    /// The program and its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// Further arguments of the entrypoint. Without one: the program and its arguments.
    pub cmd: Option<Vec<String>>,
    /// Mount points.
    pub volumes: Option<NameSet>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// A signal's name or number.
    pub stop_signal: Option<String>,
}

/// A set of names, which the specification writes as an object with empty values.
pub type NameSet = BTreeMap<String, IgnoredAny>;

#[derive(Deserialize)]
struct ImageConfiguration {
    #[serde(flatten)]
    platform: RequiredPlatform,
    #[serde(default)]
    config: Value,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<String>,
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
        let config = Option::<ContainerConfig>::deserialize(&parsed.config);
        let RootFs { kind, diff_ids } = parsed.rootfs;
        if kind != "layers" {
            return Err(ConfigError::RootFs(kind));
        }
        if diff_ids.len() != layers || layers > MAX_LAYERS {
            return Err(ConfigError::Count { diff_ids: diff_ids.len(), layers });
        }
        let digests = diff_ids.iter().enumerate().map(|(index, text)| {
            text.parse().map_err(|source| ConfigError::DiffId { number: index + 1, source })
        });
        Ok(Self {
            platform: Platform::from(&parsed.platform),
            diff_ids: digests.collect::<Result<_, _>>()?,
            config: config.map_err(ConfigError::Json)?.unwrap_or_default(),
            raw_config: parsed.config,
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

    /// Each field is under the specification's name: crate `oci-spec` writes the document.
    #[test]
    fn the_specifications_fields_are_read() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let config = oci_spec::image::ConfigBuilder::default()
            .user("alice:users")
            .exposed_ports(names(&["80/tcp", "53/udp"]))
            .env(names(&["A=1"]))
            .entrypoint(names(&["/bin/app"]))
            .cmd(names(&["--verbose"]))
            .volumes(names(&["/data"]))
            .working_dir("/home/alice")
            .stop_signal("SIGINT")
            .build()
            .unwrap();
        let rootfs = oci_spec::image::RootFsBuilder::default()
            .typ("layers")
            .diff_ids([Digest::of(b"a").to_string()])
            .build()
            .unwrap();
        let document = oci_spec::image::ImageConfigurationBuilder::default()
            .architecture("arm")
            .os("linux")
            .config(config)
            .rootfs(rootfs)
            .build()
            .unwrap();
        let mut document = serde_json::to_value(document).unwrap();
        document["variant"] = json!("v6");
        document["config"]["Labels"] = json!({ "a": "b" });
        let parsed = ImageConfig::parse(document.to_string().as_bytes(), 1).unwrap();
        assert_eq!(parsed.platform.to_string(), "linux/arm/v6");
        assert_eq!(parsed.raw_config, document["config"]);
        let ContainerConfig { user, exposed_ports, env, entrypoint, cmd, volumes, working_dir, stop_signal } =
            parsed.config;
        let text = |text: Option<String>| text.unwrap_or_default();
        assert_eq!(
            [text(user), text(working_dir), text(stop_signal)],
            ["alice:users", "/home/alice", "SIGINT"]
        );
        let lists = [env, entrypoint, cmd].map(Option::unwrap_or_default);
        assert_eq!(lists, [names(&["A=1"]), names(&["/bin/app"]), names(&["--verbose"])]);
        let sets =
            [exposed_ports, volumes].map(|set| set.unwrap_or_default().into_keys().collect::<Vec<_>>());
        assert_eq!(sets, [names(&["53/udp", "80/tcp"]), names(&["/data"])]);
    }
}
