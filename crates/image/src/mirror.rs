//! Where packages come from: the mirrors of this machine.
//!
//! The default is whatever the host's apt uses, so that a company's mirror, proxy and credentials count.
//! `KEELSON_MIRROR`, `KEELSON_SECURITY_MIRROR` and `KEELSON_SNAPSHOT` (each a space-separated list of URIs)
//! come before and after it: snapshot archives keep what mirrors drop.

use std::collections::BTreeSet;
use std::env;
use std::io;
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
        let output = Command::new("apt-get")
            .args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
            .output();
        let targets = match output {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(_) if env::var_os("KEELSON_MIRROR").is_some() => String::new(),
            Err(error) => return Err(MirrorError::Apt(error)),
        };
        Self::choose(&targets, |name| env::var(name).ok())
    }

    fn choose(targets: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, MirrorError> {
        let listed = |name: &str| -> Vec<String> {
            variable(name).unwrap_or_default().split_whitespace().map(with_slash).collect()
        };
        let mut mirrors =
            Self { main: listed("KEELSON_MIRROR"), security: listed("KEELSON_SECURITY_MIRROR") };
        let unique: BTreeSet<&str> = targets.lines().collect();
        for uri in unique {
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
        let mirrors = Mirrors::choose(
            "http://m.invalid/debian/\nhttp://m.invalid/debian/\nhttp://m.invalid/debian-security\nhttp://x.invalid/node\n",
            |name| match name {
                "KEELSON_MIRROR" => Some("http://own.invalid/debian".into()),
                "KEELSON_SNAPSHOT" => Some("http://snap.invalid/debian-security/".into()),
                _ => None,
            },
        )
        .unwrap();
        assert_eq!(mirrors.main, ["http://own.invalid/debian/", "http://m.invalid/debian/"]);
        assert_eq!(
            mirrors.security,
            ["http://m.invalid/debian-security/", "http://snap.invalid/debian-security/"]
        );
    }

    #[test]
    fn a_machine_without_debian_mirrors_is_told_what_to_set() {
        let error = Mirrors::choose("http://x.invalid/ubuntu\n", |_| None).unwrap_err();
        assert!(error.to_string().contains("KEELSON_MIRROR="));
    }
}
