//! The vulnerabilities of installed packages.

use std::cmp::Ordering;

use serde::Serialize;

use crate::feed::{Feed, Kind, Urgency, Vulnerability};
use crate::status::Installed;
use crate::version::compare;

/// A vulnerability of an installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `CVE-2025-0001`, or the tracker's temporary name.
    pub id: String,
    /// Name of the binary package.
    pub package: String,
    /// Installed version of the binary package.
    pub installed: String,
    /// Name of the source package.
    pub source: String,
    /// Version of the source package.
    pub source_version: String,
    /// Estimated severity.
    pub urgency: Urgency,
    /// Whether it is exploitable over the network; `None` if that is not known.
    pub remote: Option<bool>,
    /// Whether the release has a fixed version.
    pub fix_available: bool,
    /// Version of the source package that fixes it in the release: the lowest not vulnerable one above the installed.
    /// The feed does not say of which release a version is.
    pub fixed_in: Option<String>,
    /// Version of the source package that fixes it in unstable.
    pub fixed_in_unstable: Option<String>,
    /// One line.
    pub description: String,
}

/// The findings of all packages: most urgent first, then by name.
///
/// Which packages are vulnerable is decided as by debsecan 0.4. A package is found by the name of its source package, and
/// only if the feed has none of that name, by its own.
#[must_use]
pub fn findings(feed: &Feed, packages: &[Installed]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let vulnerabilities =
            feed.of(&package.source).or_else(|| feed.of(&package.package)).unwrap_or_default();
        let found = vulnerabilities.iter().filter_map(|vulnerability| {
            vulnerable_version(vulnerability, package).map(|version| finding(vulnerability, package, version))
        });
        findings.extend(found);
    }
    findings.sort_by(|one, other| {
        let key = |finding: &Finding| (finding.urgency, !finding.fix_available);
        key(one)
            .cmp(&key(other))
            .then_with(|| by_number(&one.id, &other.id))
            .then_with(|| one.package.cmp(&other.package))
    });
    findings.dedup();
    findings
}

/// The version that counts, of the binary or source package, if it is vulnerable.
fn vulnerable_version<'a>(vulnerability: &Vulnerability, package: &'a Installed) -> Option<&'a str> {
    let is_before_fix = |version: &str| {
        vulnerability.unstable_version.as_ref().is_none_or(|fixed| compare(version, fixed).is_lt())
    };
    if vulnerability.kind == Kind::Binary && package.package == vulnerability.package {
        return Some(&*package.version).filter(|version| is_before_fix(version));
    }
    let version = &*package.source_version;
    let is_fixed = || vulnerability.other_versions.iter().any(|fixed| compare(version, fixed).is_eq());
    (package.source == vulnerability.package && is_before_fix(version) && !is_fixed()).then_some(version)
}

fn finding(vulnerability: &Vulnerability, package: &Installed, version: &str) -> Finding {
    let fixed = vulnerability.other_versions.iter().chain(&vulnerability.unstable_version);
    let above = fixed.filter(|fixed| compare(fixed, version).is_gt());
    let lowest = above.min_by(|one, other| compare(one, other)).cloned();
    Finding {
        id: vulnerability.id.clone(),
        package: package.package.clone(),
        installed: package.version.clone(),
        source: package.source.clone(),
        source_version: package.source_version.clone(),
        urgency: vulnerability.urgency,
        remote: vulnerability.remote,
        fix_available: vulnerability.fix_available,
        fixed_in: lowest.filter(|_| vulnerability.fix_available),
        fixed_in_unstable: vulnerability.unstable_version.clone(),
        description: vulnerability.description.clone(),
    }
}

/// `CVE-2025-999` before `CVE-2025-1000`.
fn by_number(one: &str, other: &str) -> Ordering {
    compare(one, other).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `vulnerabilities`: lines of the second section, without index.
    fn check(
        vulnerability: &str,
        installed: (&str, &str, Option<&str>),
        expect: Option<(Option<&str>, Option<&str>)>,
    ) {
        let (package, rest) = vulnerability.split_once(',').unwrap();
        let text = format!("VERSION 1\nCVE-1,,d\n\n{package},0,{rest}\n\n");
        let feed = Feed::parse(text.as_bytes()).unwrap();
        let (name, version, source) = installed;
        let found = findings(&feed, &[Installed::new(name, version, source).unwrap()]);
        let fixed = found.first().map(|one| (one.fixed_in.as_deref(), one.fixed_in_unstable.as_deref()));
        assert_eq!(fixed, expect, "{vulnerability} {installed:?}");
    }

    #[test]
    fn the_version_of_the_source_decides() {
        let bash = |version| ("bash", version, None);
        check("bash,S  F,5.3-1,5.2-2", bash("5.2-1"), Some((Some("5.2-2"), Some("5.3-1"))));
        check("bash,S  F,5.3-1,5.2-2", bash("5.2-2"), None);
        check("bash,S  F,5.3-1,5.2-2", bash("5.3-1"), None);
        check("bash,S  F,5.3-1,", bash("5.2-2"), Some((Some("5.3-1"), Some("5.3-1"))));
        check("bash,S   ,5.3-1,5.1-9", bash("5.2-2"), Some((None, Some("5.3-1"))));
        check("bash,S   ,,", bash("9"), Some((None, None)));
        check("bash,S   ,,9", bash("9"), None);
        // A fix of an older release is no fix for a newer one.
        check("bash,S  F,5.3-1,5.1-9", bash("5.2-2"), Some((Some("5.3-1"), Some("5.3-1"))));
        let rebuilt = ("bash", "5.2-2+b1", Some("bash (5.2-2)"));
        check("bash,S  F,5.3-1,5.2-2", rebuilt, None);
        let libc = ("libc6", "2.41-1", Some("glibc"));
        check("glibc,S  F,2.41-2,", libc, Some((Some("2.41-2"), Some("2.41-2"))));
        check("libc6,S  F,2.41-2,", libc, None);
    }

    #[test]
    fn a_vulnerability_of_a_binary_package_concerns_that_one() {
        let mapper = ("dmsetup", "2:1.02-1", Some("lvm2 (2.03-1)"));
        check("dmsetup,B  F,2:1.03-1,", mapper, Some((Some("2:1.03-1"), Some("2:1.03-1"))));
        check("dmsetup,B  F,2:1.01-1,", mapper, None);
        check("dmsetup,B   ,,", mapper, Some((None, None)));
        check("lvm2,B  F,2.04-1,", mapper, Some((Some("2.04-1"), Some("2.04-1"))));
    }

    #[test]
    fn the_most_urgent_come_first() {
        let text = "VERSION 1\nCVE-2025-1000,,\nCVE-2025-999,,\nCVE-2025-5,,\n\n\
            a,0,SL  ,,\na,1,SL  ,,\na,2,SH  ,,\na,0,SL  ,,\n\n";
        let found =
            findings(&Feed::parse(text.as_bytes()).unwrap(), &[Installed::new("a", "1", None).unwrap()]);
        let ids: Vec<_> = found.iter().map(|finding| &*finding.id).collect();
        assert_eq!(ids, ["CVE-2025-5", "CVE-2025-999", "CVE-2025-1000"]);
    }
}
