//! The image's software bill of materials: SPDX 2.3 as JSON.

use serde_json::{Value, json};

use crate::crates::LinkedCrate;
use crate::lock::{Lock, Tree};
use crate::release::Release;

/// Prefix of the SPDX identifiers of crates.
pub const CRATE_ID: &str = "SPDXRef-crate-";

/// A program that was built from this repository: name and hex SHA-256.
#[derive(Debug, Clone)]
pub struct BuiltProgram {
    pub name: String,
    pub sha256: String,
}

/// Lists the packages and programs in `/usr` with their digests, and the crates that are linked into programs.
#[must_use]
pub fn sbom(release: &Release, lock: &Lock, programs: &[BuiltProgram], crates: &[LinkedCrate]) -> Value {
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-image", "name": release.id, "versionInfo": release.full_version(),
        "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
    })];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")];
    for package in lock.of(Tree::System) {
        let id = format!("SPDXRef-deb-{}", identifier(&package.name));
        relations.push(relation("SPDXRef-image", "CONTAINS", &id));
        packages.push(json!({
            "SPDXID": id, "name": package.name, "versionInfo": package.version,
            "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
            "checksums": [{ "algorithm": "SHA256", "checksumValue": package.sha256 }],
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                "referenceLocator": format!(
                    "pkg:deb/debian/{}@{}?arch={}&distro=trixie",
                    package.name, package.version.replace('+', "%2B").replace(':', "%3A"), package.architecture
                ),
            }],
        }));
    }
    for program in programs {
        let id = format!("SPDXRef-program-{}", identifier(&program.name));
        relations.push(relation("SPDXRef-image", "CONTAINS", &id));
        packages.push(json!({
            "SPDXID": id, "name": program.name, "versionInfo": release.full_version(),
            "downloadLocation": "NOASSERTION", "filesAnalyzed": false, "licenseDeclared": "Apache-2.0",
            "checksums": [{ "algorithm": "SHA256", "checksumValue": program.sha256 }],
        }));
    }
    for LinkedCrate { name, version, license, .. } in crates {
        let id = format!("{CRATE_ID}{}-{}", identifier(name), identifier(version));
        relations.push(relation("SPDXRef-image", "CONTAINS", &id));
        packages.push(json!({
            "SPDXID": id, "name": name, "versionInfo": version,
            "downloadLocation": "NOASSERTION", "filesAnalyzed": false, "licenseDeclared": license,
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                "referenceLocator": format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")),
            }],
        }));
    }
    json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{}-{}", release.id, release.full_version()),
        "documentNamespace": format!("{}spdx/{}", release.home_url, release.full_version()),
        "creationInfo": { "creators": ["Tool: keelson"], "created": "1970-01-01T00:00:00Z" },
        "packages": packages, "relationships": relations,
    })
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// SPDX identifiers consist of letters, digits, `.` and `-`.
fn identifier(name: &str) -> String {
    name.chars().map(|char| if char.is_ascii_alphanumeric() || char == '.' { char } else { '-' }).collect()
}
