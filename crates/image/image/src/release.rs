//! `os/release.toml`: identification of the distribution, and the files on the node that contain it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::programs::Profile;

/// The field of `os-release` with the build profile.
const VARIANT: &str = "VARIANT_ID";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub name: String,
    pub id: String,
    pub id_like: String,
    /// Three numbers, `9999.1.0`.
    pub version: String,
    pub codename: String,
    pub board: String,
    pub home_url: String,
    pub bug_report_url: String,
    /// Unix time.
    pub epoch: u64,
    pub update: Update,
    #[serde(default)]
    pub secure_boot: SecureBoot,
    /// Set if the build deviates from the lock; otherwise empty.
    #[serde(skip)]
    pub mark: String,
    /// Build profile of the programs.
    #[serde(skip)]
    pub profile: Profile,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// A UUID in braces.
    pub appid: String,
    pub server: String,
}

/// Secure Boot settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecureBoot {
    /// Paths of PEM certificates, relative to the checkout.
    pub certificates: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} does not describe a release")]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("invalid version `{0}`: expected numbers and dots, such as 9999.1.0")]
    Version(String),
    #[error("invalid channel `{0}`: expected letters, digits, - and .")]
    Channel(String),
}

impl Release {
    pub fn read(path: &Path) -> Result<Self, ReleaseError> {
        let text =
            fs::read_to_string(path).map_err(|source| ReleaseError::Read { path: path.into(), source })?;
        toml::from_str(&text)
            .map_err(|source| ReleaseError::Syntax { path: path.into(), source: Box::new(source) })
    }

    pub fn with_version(mut self, version: &str) -> Result<Self, ReleaseError> {
        let well_formed = version.split('.').count() == 3
            && version
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        if !well_formed {
            return Err(ReleaseError::Version(version.to_owned()));
        }
        version.clone_into(&mut self.version);
        Ok(self)
    }

    /// The version with the mark as build metadata: `9999.1.0+relocked`.
    #[must_use]
    pub fn full_version(&self) -> String {
        if self.mark.is_empty() { self.version.clone() } else { format!("{}+{}", self.version, self.mark) }
    }

    /// Content of `/usr/lib/os-release`.
    #[must_use]
    pub fn os_release(&self) -> String {
        let Self { name, id, id_like, version, codename, board, home_url, bug_report_url, .. } = self;
        let full = self.full_version();
        // Release builds have no variant.
        let variant = match self.profile {
            Profile::Node => String::new(),
            other => format!("{VARIANT}={other}\n"),
        };
        format!(
            "NAME=\"{name}\"\nID={id}\nID_LIKE=\"{id_like}\"\nVERSION={full}\nVERSION_ID={version}\n\
             IMAGE_ID={id}\nIMAGE_VERSION={full}\nPRETTY_NAME=\"{name} {full} ({codename})\"\n\
             VERSION_CODENAME={}\nANSI_COLOR=\"38;5;75\"\nHOME_URL=\"{home_url}\"\n\
             BUG_REPORT_URL=\"{bug_report_url}\"\nCOREOS_BOARD=\"{board}\"\nDEFAULT_HOSTNAME=localhost\n\
             {variant}",
            codename.to_lowercase(),
        )
    }

    /// Content of `/usr/share/coreos/lsb-release`.
    #[must_use]
    pub fn lsb_release(&self) -> String {
        let Self { name, codename, .. } = self;
        let full = self.full_version();
        format!(
            "DISTRIB_ID=\"{name}\"\nDISTRIB_RELEASE={full}\nDISTRIB_CODENAME=\"{codename}\"\n\
             DISTRIB_DESCRIPTION=\"{name} {full} ({codename})\"\n"
        )
    }

    /// Content of `/usr/share/coreos/release`.
    #[must_use]
    pub fn coreos_release(&self) -> String {
        format!(
            "COREOS_RELEASE_VERSION={}\nCOREOS_RELEASE_BOARD={}\nCOREOS_RELEASE_APPID={}\n",
            self.version, self.board, self.update.appid
        )
    }

    /// Content of `/usr/share/coreos/update.conf`, without GROUP, which is stored outside of `/usr`.
    #[must_use]
    pub fn update_conf(&self) -> String {
        format!("SERVER={}\nREBOOT_STRATEGY=best-effort\n", self.update.server)
    }
}

/// The build profile according to the content of `os-release`.
pub fn profile_in(os_release: &str) -> Result<Profile, String> {
    let variant = os_release.lines().find_map(|line| line.strip_prefix(VARIANT)?.strip_prefix('='));
    variant.map_or(Ok(Profile::Node), str::parse)
}

/// Checks that a channel's name is valid in file names and update requests.
pub fn check_channel(channel: &str) -> Result<(), ReleaseError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if channel.is_empty() || !channel.bytes().all(allowed) {
        return Err(ReleaseError::Channel(channel.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_s_release_is_complete_and_shows_the_mark() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../os/release.toml");
        let mut release = Release::read(&path).unwrap().with_version("1.2.3").unwrap();
        assert!(release.os_release().contains("\nVERSION=1.2.3\nVERSION_ID=1.2.3\n"));
        release.mark = "relocked".into();
        assert!(release.os_release().contains("\nVERSION=1.2.3+relocked\nVERSION_ID=1.2.3\n"));
        assert!(!release.update_conf().contains("GROUP"));
        assert!(!release.os_release().contains("VARIANT"), "what is shipped is no variant");
        assert_eq!(profile_in(&release.os_release()), Ok(Profile::Node));
        let shipped = format!("{release:?}");
        release.profile = Profile::Quick;
        assert_ne!(format!("{release:?}"), shipped, "it is part of the key of what is made of a release");
        assert!(release.os_release().ends_with("\nVARIANT_ID=quick\n"));
        assert_eq!(profile_in(&release.os_release()), Ok(Profile::Quick));
        assert!(profile_in("VARIANT_ID=other\n").is_err());
        assert!(release.with_version("1.2").is_err());
    }
}
