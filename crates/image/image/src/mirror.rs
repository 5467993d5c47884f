//! Where packages come from: the mirrors of this machine.
//!
//! The default is whatever the host's apt uses, so that a company's mirror, proxy and credentials count.
//! `KEELSON_MIRROR`, `KEELSON_SECURITY_MIRROR` and `KEELSON_SNAPSHOT` (each a space-separated list of URIs)
//! come before and after it: snapshot archives keep what mirrors drop.

use std::collections::BTreeSet;
use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::lock::Archive;

/// Base URIs in the order in which they are asked, each ending in `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    pub main: Vec<String>,
    pub security: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    #[error("cannot run apt-get to learn this machine's mirrors")]
    Apt(#[source] io::Error),
    #[error(
        "this machine's apt names no Debian mirror and KEELSON_MIRROR is not set \
         (KEELSON_MIRROR=http://mirror/debian/ KEELSON_SECURITY_MIRROR=http://mirror/debian-security/)"
    )]
    None,
}

impl Mirrors {
    /// Asks the environment and the host's apt.
    pub fn of_this_machine() -> Result<Self, MirrorError> {
        // Fetches nothing and wants no root. Unlike `indextargets` it knows sources that were never fetched: a container's,
        // and a cloud image's before its first update.
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
        let listed = |name: &str| -> Vec<String> {
            variable(name).unwrap_or_default().split_whitespace().map(with_slash).collect()
        };
        let mut mirrors =
            Self { main: listed("KEELSON_MIRROR"), security: listed("KEELSON_SECURITY_MIRROR") };
        for uri in uris {
            match last_segment(uri) {
                "debian" => mirrors.main.push(with_slash(uri)),
                "debian-security" => mirrors.security.push(with_slash(uri)),
                // Third parties' repositories: not Debian's packages.
                _ => {}
            }
        }
        for snapshot in listed("KEELSON_SNAPSHOT") {
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

/// Of the lines of `--print-uris`, the repositories' own URIs. A list of mirrors is read by `read`.
fn repositories(printed: &str, read: impl Fn(&Path) -> String) -> BTreeSet<String> {
    let quoted = printed.lines().filter_map(|line| line.strip_prefix('\'')?.split_once('\''));
    let mut uris = BTreeSet::new();
    for repository in quoted.filter_map(|(uri, _)| Some(uri.split_once("/dists/")?.0)) {
        match repository.strip_prefix("mirror+file:") {
            // Each line has a URI, and perhaps further words.
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

fn last_segment(uri: &str) -> &str {
    uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_come_first_and_snapshots_last() {
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

    /// As apt prints them of sources that were never fetched; a cloud image's are lists of mirrors.
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
    fn a_machine_without_debian_mirrors_is_told_what_to_set() {
        let error = Mirrors::choose(&["http://x.invalid/ubuntu".to_owned()].into(), |_| None).unwrap_err();
        assert!(error.to_string().contains("KEELSON_MIRROR="));
    }
}
