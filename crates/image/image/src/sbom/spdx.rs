//! SPDX 2.3: <https://spdx.github.io/spdx-spec/v2.3/>.

use serde_json::{Value, json};

use super::components::{Bom, Component, Kind};

/// Prefix of the SPDX identifiers of crates.
pub const CRATE_ID: &str = "SPDXRef-crate-";

/// The document of an image, as JSON.
#[must_use]
pub fn document(bom: &Bom<'_>) -> Value {
    let release = bom.release;
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-image", "name": release.id, "versionInfo": release.full_version(),
        "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
    })];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")];
    for component in &bom.components {
        let id = id(component);
        relations.push(relation("SPDXRef-image", "CONTAINS", &id));
        packages.push(package(component, &id));
    }
    json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{}-{}", release.id, release.full_version()),
        "documentNamespace": format!("{}spdx/{}", release.home_url, release.full_version()),
        "creationInfo": { "creators": ["Tool: keelson"], "created": "1970-01-01T00:00:00Z" },
        "packages": packages, "relationships": relations,
    })
}

fn package(component: &Component<'_>, id: &str) -> Value {
    let mut package = json!({
        "SPDXID": id, "name": component.name, "versionInfo": component.version,
        "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
    });
    if let Some(license) = component.license {
        package["licenseDeclared"] = json!(license);
    }
    if let Some(sha256) = component.sha256 {
        package["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": sha256 }]);
    }
    if let Some(purl) = &component.purl {
        package["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl,
        }]);
    }
    package
}

fn id(component: &Component<'_>) -> String {
    let name = identifier(component.name);
    match component.kind {
        Kind::Package => format!("SPDXRef-deb-{name}"),
        Kind::Program => format!("SPDXRef-program-{name}"),
        Kind::Crate => format!("{CRATE_ID}{name}-{}", identifier(&component.version)),
    }
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// SPDX identifiers consist of letters, digits, `.` and `-`.
fn identifier(name: &str) -> String {
    name.chars().map(|char| if char.is_ascii_alphanumeric() || char == '.' { char } else { '-' }).collect()
}
