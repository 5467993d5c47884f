//! What to install, from the command line and the running system.

use crate::flags::InstallFlags;

/// Names of channels that may be given as a version.
const CHANNELS: [&str; 3] = ["alpha", "beta", "stable"];
pub const CURRENT: &str = "current";
const DEFAULT_CHANNEL: &str = "stable";

/// Facts about the running system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// `None` if it is another distribution.
    pub version: Option<String>,
    /// `GROUP` of update.conf.
    pub group: Option<String>,
    /// Of its image.
    pub board: Option<String>,
    /// Its product: a UUID in braces.
    pub appid: Option<String>,
    /// Platform; empty for none.
    pub oem: String,
    /// `NAME` of os-release.
    pub name: Option<String>,
    /// `ID` of os-release.
    pub id: Option<String>,
    /// `uname -m`.
    pub architecture: String,
}

/// Resolved settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A version, or `current`.
    pub version: String,
    pub channel: String,
    pub board: String,
    /// Empty for none.
    pub oem: String,
    /// Without a trailing slash.
    pub base_url: Option<String>,
    /// The distribution's name, and its prefix in file names.
    pub product: String,
    pub id: String,
    /// Whether nothing chooses another image than the live system's.
    pub may_be_live: bool,
}

impl Settings {
    pub fn resolve(flags: &InstallFlags, running: &Running) -> Self {
        let default_version = running.version.as_deref().unwrap_or(CURRENT);
        let given = flags.version.as_deref();
        let channel_as_version = given.filter(|version| CHANNELS.contains(version));
        let version = match (given, &flags.channel) {
            _ if channel_as_version.is_some() => CURRENT,
            (Some(version), _) => version,
            (None, Some(_)) => CURRENT,
            (None, None) => default_version,
        };
        let channel = channel_as_version.or(flags.channel.as_deref()).or(running.group.as_deref());
        let board = flags.board.clone().or_else(|| running.board.clone());
        let others = [
            flags.version.is_some(),
            flags.channel.is_some(),
            flags.image.is_some(),
            flags.base_url.is_some(),
        ];
        Self {
            version: version.to_owned(),
            channel: channel.filter(|name| !name.is_empty()).unwrap_or(DEFAULT_CHANNEL).to_owned(),
            board: board.unwrap_or_else(|| default_board(&running.architecture).to_owned()),
            oem: flags.oem.clone().unwrap_or_else(|| running.oem.clone()),
            base_url: flags.base_url.as_deref().map(|url| url.strip_suffix('/').unwrap_or(url).to_owned()),
            product: running.name.clone().unwrap_or_else(|| "Keelson".to_owned()),
            id: running.id.clone().unwrap_or_else(|| "keelson".to_owned()),
            may_be_live: !others.contains(&true),
        }
    }

    /// Name of the image without encoding, as `keelson image build` names it.
    pub fn image_name(&self, version: &str) -> String {
        let oem = if self.oem.is_empty() { String::new() } else { format!("-{}", self.oem) };
        format!("{}-{version}-{}{oem}", self.id, self.channel)
    }

    /// The URL of the channel server whose images of this channel and board are at `base`, if it has the form of one.
    pub fn channel_server_of<'a>(&self, base: &'a str) -> Option<&'a str> {
        base.strip_suffix(&format!("/images/{}/{}", self.channel, self.board))
    }

    /// For the messages about the result.
    pub fn summary(&self, version: &str, channel: &str) -> String {
        let oem = if self.oem.is_empty() { String::new() } else { format!(" ({})", self.oem) };
        format!("{} {channel} {version}{oem}", self.product)
    }

    /// As the original prints them.
    pub fn print(&self, flags: &InstallFlags) -> String {
        let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let rows = [
            ("VERSION", Some(self.version.clone())),
            ("BOARD", Some(self.board.clone())),
            ("CHANNEL", Some(self.channel.clone())),
            ("OEM", Some(self.oem.clone())),
            ("CLOUD", flags.cloud_config.clone()),
            ("IGNITION", path(&flags.ignition)),
            ("BASEURL", self.base_url.clone()),
            ("KEYFILE", path(&flags.key)),
            ("IMAGE", path(&flags.image)),
        ];
        let line = |(name, value): (&str, Option<String>)| {
            let value = value.filter(|value| !value.is_empty());
            format!("    {:<9} {}\n", format!("{name}:"), value.as_deref().unwrap_or("(none)"))
        };
        format!("Settings:\n{}", rows.into_iter().map(line).collect::<String>())
    }
}

fn default_board(architecture: &str) -> &'static str {
    if architecture == "aarch64" { "arm64-usr" } else { "amd64-usr" }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::flags::Flags;

    fn resolve(line: &str, running: &Running) -> Settings {
        let words = std::iter::once("coreos-install").chain(line.split(' ').filter(|word| !word.is_empty()));
        Settings::resolve(&Flags::parse_from(words.map(|word| word.trim_matches('\''))).install, running)
    }

    fn node() -> Running {
        Running {
            version: Some("3.2.1".into()),
            group: Some("beta".into()),
            board: Some("amd64-usr".into()),
            appid: None,
            oem: "ec2".into(),
            name: Some("Keelson".into()),
            id: Some("keelson".into()),
            architecture: "x86_64".into(),
        }
    }

    #[test]
    fn defaults_are_the_running_system_s() {
        let check = |line: &str, running: &Running, expected: [&str; 4], live: bool| {
            let found = resolve(line, running);
            assert_eq!([&*found.version, &found.channel, &found.board, &found.oem], expected, "{line}");
            assert_eq!(found.may_be_live, live, "{line}");
        };
        let other = Running { architecture: "aarch64".into(), ..Running::default() };
        check("", &node(), ["3.2.1", "beta", "amd64-usr", "ec2"], true);
        check("", &other, ["current", "stable", "arm64-usr", ""], true);
        // A channel alone implies its current version.
        check("-C alpha", &node(), ["current", "alpha", "amd64-usr", "ec2"], false);
        check("-C alpha -V 9.0.0", &node(), ["9.0.0", "alpha", "amd64-usr", "ec2"], false);
        check("-V stable", &node(), ["current", "stable", "amd64-usr", "ec2"], false);
        check("-V stable -C alpha", &node(), ["current", "stable", "amd64-usr", "ec2"], false);
        check("-o '' -B x-usr", &node(), ["3.2.1", "beta", "x-usr", ""], true);
        check("-f disk.raw", &other, ["current", "stable", "arm64-usr", ""], false);
        check("-b http://m/", &other, ["current", "stable", "arm64-usr", ""], false);
        assert_eq!(resolve("-b http://m/", &other).base_url.as_deref(), Some("http://m"));
    }

    #[test]
    fn names_and_messages() {
        let found = resolve("", &node());
        assert_eq!(found.image_name("3.2.1"), "keelson-3.2.1-beta-ec2");
        assert_eq!(found.summary("3.2.1", "beta"), "Keelson beta 3.2.1 (ec2)");
        let plain = resolve("-o ''", &node());
        assert_eq!(plain.image_name("3.2.1"), "keelson-3.2.1-beta");
        assert_eq!(plain.summary("3.2.1", "beta"), "Keelson beta 3.2.1");
    }

    #[test]
    fn settings_are_printed_as_the_original_does() {
        let flags = Flags::parse_from(["coreos-install", "-c", "config.yml", "-o", ""]).install;
        let text = Settings::resolve(&flags, &node()).print(&flags);
        assert_eq!(
            text,
            "Settings:\n    VERSION:  3.2.1\n    BOARD:    amd64-usr\n    CHANNEL:  beta\n    OEM:      (none)\n    \
             CLOUD:    config.yml\n    IGNITION: (none)\n    BASEURL:  (none)\n    KEYFILE:  (none)\n    IMAGE:    (none)\n"
        );
    }
}
