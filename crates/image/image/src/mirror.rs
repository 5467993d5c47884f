//! The package mirrors of the build host.
//!
//! The default mirrors are those of the host's apt, so that a local mirror, proxy and credentials apply.
//! `KEELSON_MIRROR` and `KEELSON_SECURITY_MIRROR` (space-separated URIs) take precedence; those in `KEELSON_SNAPSHOT`
//! come last: snapshot archives keep packages that mirrors have removed. `KEELSON_SECURITY_MIRROR=none` accepts that there
//! is no mirror for security updates.

use std::collections::BTreeSet;
use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::lock::Archive;

/// Base URIs in order of preference, each with a trailing `/`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Mirrors {
    pub main: Vec<String>,
    pub security: Vec<String>,
    /// Packages may be resolved without security updates.
    pub without_security: bool,
}

const NO_MIRROR: &str = "none";

#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    #[error("cannot run apt-get to list this machine's mirrors")]
    Apt(#[source] io::Error),
    #[error(
        "this machine's apt configuration has no Debian mirror, and KEELSON_MIRROR is not set \
         (KEELSON_MIRROR=http://mirror/debian/ KEELSON_SECURITY_MIRROR=http://mirror/debian-security/)"
    )]
    None,
    #[error(
        "no mirror for security updates is known (KEELSON_SECURITY_MIRROR=http://mirror/debian-security/, or \
         KEELSON_SECURITY_MIRROR=none to resolve packages without security updates)"
    )]
    NoSecurity,
}

impl Mirrors {
    /// Reads the environment and the host's apt configuration.
    pub fn of_host() -> Result<Self, MirrorError> {
        // Downloads nothing and needs no root. Unlike `indextargets` it includes sources that were never updated, as
        // in containers and new cloud images.
        let output = Command::new("apt-get").args(["update", "--print-uris"]).output();
        let uris = match output {
            Ok(output) => repositories(&String::from_utf8_lossy(&output.stdout), |list| {
                std::fs::read_to_string(list).unwrap_or_default()
            }),
            Err(_) if env::var_os("KEELSON_MIRROR").is_some() => BTreeSet::new(),
            Err(error) => return Err(MirrorError::Apt(error)),
        };
        Self::choose(&uris, |name| env::var(name).ok())
    }

    fn choose(
        uris: &BTreeSet<String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, MirrorError> {
        let from_variable = |name: &str| -> Vec<String> {
            variable(name).unwrap_or_default().split_whitespace().map(with_slash).collect()
        };
        let without_security =
            variable("KEELSON_SECURITY_MIRROR").is_some_and(|value| value.trim() == NO_MIRROR);
        let mut mirrors = Self {
            main: from_variable("KEELSON_MIRROR"),
            security: if without_security { Vec::new() } else { from_variable("KEELSON_SECURITY_MIRROR") },
            without_security,
        };
        for uri in uris {
            match last_segment(uri) {
                "debian" => mirrors.main.push(with_slash(uri)),
                "debian-security" if !without_security => mirrors.security.push(with_slash(uri)),
                // Repositories of third parties are not Debian mirrors.
                _ => {}
            }
        }
        if mirrors.security.is_empty() && !without_security {
            mirrors.security = mirrors.main.iter().filter_map(|main| security_beside(main)).collect();
        }
        for snapshot in from_variable("KEELSON_SNAPSHOT") {
            if last_segment(&snapshot) == "debian-security" {
                mirrors.security.push(snapshot);
            } else {
                mirrors.main.push(snapshot);
            }
        }
        if mirrors.main.is_empty() { Err(MirrorError::None) } else { Ok(mirrors) }
    }

    #[must_use]
    pub fn of(&self, archive: Archive) -> &[String] {
        match archive {
            Archive::Main => &self.main,
            Archive::Security => &self.security,
        }
    }
}

/// The repository URIs in the output of `--print-uris`. `read` reads mirror list files.
fn repositories(printed: &str, read: impl Fn(&Path) -> String) -> BTreeSet<String> {
    let quoted = printed.lines().filter_map(|line| line.strip_prefix('\'')?.split_once('\''));
    let mut uris = BTreeSet::new();
    for repository in quoted.filter_map(|(uri, _)| Some(uri.split_once("/dists/")?.0)) {
        match repository.strip_prefix("mirror+file:") {
            // Each line has a URI, optionally followed by options.
            Some(list) => {
                let text = read(Path::new(list));
                uris.extend(
                    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned),
                );
            }
            None => drop(uris.insert(repository.to_owned())),
        }
    }
    uris
}

fn with_slash(uri: &str) -> String {
    format!("{}/", uri.trim_end_matches('/'))
}

/// `http://m/debian-security/` of `http://m/debian/`.
fn security_beside(main: &str) -> Option<String> {
    Some(format!("{}/debian-security/", main.trim_end_matches('/').strip_suffix("/debian")?))
}

fn last_segment(uri: &str) -> &str {
    uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_mirrors_come_first_and_snapshots_last() {
        let uris = ["http://m.invalid/debian/", "http://m.invalid/debian-security", "http://x.invalid/node"];
        let mirrors = Mirrors::choose(&uris.map(str::to_owned).into(), |name| match name {
            "KEELSON_MIRROR" => Some("http://own.invalid/debian".into()),
            "KEELSON_SNAPSHOT" => Some("http://snap.invalid/debian-security/".into()),
            _ => None,
        })
        .unwrap();
        assert_eq!(mirrors.main, ["http://own.invalid/debian/", "http://m.invalid/debian/"]);
        assert_eq!(
            mirrors.security,
            ["http://m.invalid/debian-security/", "http://snap.invalid/debian-security/"]
        );
    }

    /// Output of apt for sources that were never updated; a cloud image uses mirror lists.
    #[test]
    fn sources_that_were_never_fetched_are_known() {
        let printed = "'http://m.invalid/debian/dists/bookworm/InRelease' m_InRelease 0 \n\
            'http://m.invalid/debian/dists/bookworm/main/binary-amd64/Packages.xz' m_Packages 0 \n\
            'mirror+file:/etc/apt/mirrors/debian-security.list/dists/x-security/InRelease' l_InRelease 0 \n\
            E: some error\n";
        let read = |list: &Path| {
            assert_eq!(list, Path::new("/etc/apt/mirrors/debian-security.list"));
            "https://s.invalid/debian-security\tpriority:1\n\n".to_owned()
        };
        let uris: Vec<String> = repositories(printed, read).into_iter().collect();
        assert_eq!(uris, ["http://m.invalid/debian", "https://s.invalid/debian-security"]);
    }

    #[test]
    fn security_updates_are_expected_beside_the_main_archive() {
        let choose = |main: &str| Mirrors::choose(&[main.to_owned()].into(), |_| None).unwrap();
        assert_eq!(choose("http://m.invalid/debian").security, ["http://m.invalid/debian-security/"]);
        let own = |name: &str| (name == "KEELSON_MIRROR").then(|| "http://m.invalid/trixie".to_owned());
        assert!(Mirrors::choose(&BTreeSet::new(), own).unwrap().security.is_empty());
        let uris = ["http://m.invalid/debian", "http://m.invalid/debian-security"].map(str::to_owned);
        let none = |name: &str| (name == "KEELSON_SECURITY_MIRROR").then(|| "none".to_owned());
        let mirrors = Mirrors::choose(&uris.into(), none).unwrap();
        assert!(mirrors.security.is_empty() && mirrors.without_security);
    }

    #[test]
    fn a_host_without_debian_mirrors_gets_a_suggestion() {
        let error = Mirrors::choose(&["http://x.invalid/ubuntu".to_owned()].into(), |_| None).unwrap_err();
        assert!(error.to_string().contains("KEELSON_MIRROR="));
    }
}
