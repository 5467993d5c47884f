//! One file of the RustSec advisory database: TOML between code fences, then Markdown.

use semver::{Comparator, Op, Prerelease, Version, VersionReq};
use serde::Deserialize;

const BEGIN: &str = "```toml\n";
const END: &str = "\n```";

/// Which versions of a crate have a problem.
#[derive(Debug, Clone, Deserialize)]
pub struct Advisory {
    #[serde(rename = "advisory")]
    pub about: About,
    pub versions: Versions,
    /// Set from the first heading.
    #[serde(skip)]
    pub title: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct About {
    pub id: String,
    pub package: String,
    /// `None` for vulnerabilities.
    pub informational: Option<Informational>,
    /// Date of the withdrawal.
    pub withdrawn: Option<String>,
}

/// What is not itself a vulnerability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Informational {
    Notice,
    Unmaintained,
    Unsound,
    /// A kind that was added later.
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Versions {
    patched: Vec<VersionReq>,
    #[serde(default)]
    unaffected: Vec<VersionReq>,
}

impl Advisory {
    /// Parses a file; the error has no file name.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let rest = text.strip_prefix(BEGIN).ok_or_else(|| anyhow::anyhow!("line 1: expected ```toml"))?;
        let (front, body) =
            rest.split_once(END).ok_or_else(|| anyhow::anyhow!("the front matter has no closing ```"))?;
        // The first line keeps the line numbers of the file.
        let mut advisory: Self = toml::from_str(&format!("\n{front}"))?;
        let heading = body.lines().find_map(|line| line.strip_prefix("# "));
        advisory.title = heading.unwrap_or_default().trim().to_owned();
        Ok(advisory)
    }

    /// Whether this version has the problem.
    pub fn affects(&self, version: &Version) -> bool {
        let sound = self.versions.patched.iter().chain(&self.versions.unaffected);
        self.about.withdrawn.is_none() && !sound.into_iter().any(|requirement| matches(requirement, version))
    }

    /// The fixed versions, for messages.
    pub fn patched(&self) -> String {
        let patched: Vec<String> = self.versions.patched.iter().map(ToString::to_string).collect();
        if patched.is_empty() {
            "no fixed version".to_owned()
        } else {
            format!("fixed in {}", patched.join(" or "))
        }
    }
}

/// As cargo does, except for pre-releases: they are compared by their order. Cargo would take `2.0.0-rc.1` for a version
/// that `>= 1.0.0` does not contain.
fn matches(requirement: &VersionReq, version: &Version) -> bool {
    if version.pre.is_empty() {
        return requirement.matches(version);
    }
    requirement.comparators.iter().all(|comparator| contains(comparator, version))
}

fn contains(comparator: &Comparator, version: &Version) -> bool {
    let base = Version {
        pre: comparator.pre.clone(),
        ..Version::new(comparator.major, comparator.minor.unwrap_or(0), comparator.patch.unwrap_or(0))
    };
    let next_major = || Version::new(comparator.major + 1, 0, 0);
    let next_minor = || match comparator.minor {
        Some(minor) => Version::new(comparator.major, minor + 1, 0),
        None => next_major(),
    };
    // The first version after those that a partial version stands for.
    let end = || match comparator.patch {
        Some(patch) => Version::new(comparator.major, comparator.minor.unwrap_or(0), patch + 1),
        None => next_minor(),
    };
    // Pre-releases of the end are outside, too: `^0.7.1` does not contain `0.8.0-rc.1`.
    let before = |end: Version| *version < Version { pre: lowest_pre_release(), ..end };
    let is_exact = comparator.patch.is_some();
    match comparator.op {
        Op::Exact | Op::Wildcard if !is_exact => *version >= base && before(end()),
        Op::Exact => *version == base,
        Op::Greater if is_exact => *version > base,
        Op::Greater => *version >= end(),
        Op::GreaterEq => *version >= base,
        Op::Less => *version < base,
        Op::LessEq if is_exact => *version <= base,
        Op::LessEq => before(end()),
        Op::Tilde => *version >= base && before(next_minor()),
        Op::Caret => {
            let end = match (comparator.major, comparator.minor) {
                (0, Some(0)) => end(),
                (0, Some(_)) => next_minor(),
                _ => next_major(),
            };
            *version >= base && before(end)
        }
        // An operator that was added later: no reason to take the version for a fixed one.
        _ => false,
    }
}

fn lowest_pre_release() -> Prerelease {
    // invariant: `0` is a valid identifier.
    Prerelease::new("0").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2026-0001\"\npackage = \"a\"\ndate = \"2026-01-01\"\n\
        [versions]\npatched = [\">= 1.2.3, < 1.3.0\", \">= 1.4.0\"]\nunaffected = [\"< 1.0.0\"]\n```\n\n# It reads beyond\n";

    #[test]
    fn fixed_and_older_versions_are_not_affected() {
        let advisory = Advisory::parse(TEXT).unwrap();
        assert_eq!((&*advisory.about.id, &*advisory.title), ("RUSTSEC-2026-0001", "It reads beyond"));
        assert_eq!(advisory.patched(), "fixed in >=1.2.3, <1.3.0 or >=1.4.0");
        let check = |version: &str, expect: bool| {
            assert_eq!(advisory.affects(&version.parse().unwrap()), expect, "{version}");
        };
        for version in ["1.0.0", "1.2.2", "1.3.0", "1.3.9", "1.4.0-rc.1"] {
            check(version, true);
        }
        for version in
            ["0.9.9", "1.2.3", "1.2.9", "1.4.0", "2.0.0", "2.0.0-alpha.1", "1.2.4-rc.1", "1.0.0-rc.1"]
        {
            check(version, false);
        }
        let withdrawn = TEXT.replace("package", "withdrawn = \"2026-02-01\"\npackage");
        assert!(!Advisory::parse(&withdrawn).unwrap().affects(&"1.0.0".parse().unwrap()));
    }

    #[test]
    fn pre_releases_have_their_place_in_the_order() {
        let check = |requirement: &str, version: &str, expect: bool| {
            let requirement: VersionReq = requirement.parse().unwrap();
            assert_eq!(matches(&requirement, &version.parse().unwrap()), expect, "{requirement} {version}");
        };
        for (requirement, contained, other) in [
            ("^1.2.3", "1.3.0-rc.1", "2.0.0-rc.1"),
            ("^0.10.0", "0.10.1-alpha.3", "0.10.0-alpha.3"),
            ("^0.0.3-rc.1", "0.0.3-rc.2", "0.0.4-rc.1"),
            ("~1.2", "1.2.9-rc.1", "1.1.9-rc.1"),
            ("> 1.2", "1.3.0", "1.2.9-rc.1"),
            ("> 1.2.3", "1.2.4-rc.1", "1.2.3-rc.1"),
            (">= 1.2.3-rc.2", "1.2.3-rc.2", "1.2.3-rc.1"),
            ("<= 1.2", "1.2.9-rc.1", "1.3.0-rc.1"),
            ("<= 1.2.3", "1.2.3-rc.1", "1.2.4-rc.1"),
            ("= 1.2", "1.2.1-rc.1", "1.1.1-rc.1"),
            ("1.*", "1.5.0-rc.1", "2.0.0-rc.1"),
        ] {
            check(requirement, contained, true);
            check(requirement, other, false);
        }
    }

    #[test]
    fn malformed_files_are_errors_with_a_line() {
        let check = |text: &str, expect: &str| {
            let error = format!("{:#}", Advisory::parse(text).unwrap_err());
            assert!(error.contains(expect), "{error}");
        };
        check("# A title\n", "line 1: expected ```toml");
        check("```toml\n[advisory]\n", "no closing ```");
        check(&TEXT.replace("id = ", "name = "), "line 2");
        check(&TEXT.replace(">= 1.4.0", ">= 1.x.y.z"), "line 7");
    }
}
