//! CycloneDX 1.6 (ECMA-424): <https://cyclonedx.org/docs/1.6/json/>.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::components::{Bom, Component, Kind};
use crate::fetch::hex;

/// Reference of the image within the document.
const IMAGE: &str = "image";

/// The document of an image, as JSON.
#[must_use]
pub fn document(bom: &Bom<'_>) -> Value {
    let release = bom.release;
    let components: Vec<Value> = bom.components.iter().map(component).collect();
    let references: Vec<String> = bom.components.iter().map(reference).collect();
    let image = json!({
        "type": "operating-system", "bom-ref": IMAGE, "name": release.id, "version": release.full_version(),
    });
    // No time stamp: the same image has the same document.
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": serial_number(&image, &components),
        "metadata": {
            "component": image,
            "tools": { "components": [{ "type": "application", "name": "keelson" }] },
        },
        "components": components,
        "dependencies": [{ "ref": IMAGE, "dependsOn": references }],
    })
}

fn component(component: &Component<'_>) -> Value {
    let kind = if component.kind == Kind::Program { "application" } else { "library" };
    let mut value = json!({
        "type": kind, "bom-ref": reference(component), "name": component.name, "version": component.version,
    });
    if let Some(license) = component.license.filter(|license| *license != "NOASSERTION") {
        value["licenses"] = json!([{ "expression": license }]);
    }
    if let Some(sha256) = component.sha256 {
        value["hashes"] = json!([{ "alg": "SHA-256", "content": sha256 }]);
    }
    if let Some(purl) = &component.purl {
        value["purl"] = json!(purl);
    }
    value
}

/// Unique within the document.
fn reference(component: &Component<'_>) -> String {
    component.purl.clone().unwrap_or_else(|| format!("program/{}", component.name))
}

/// A UUID (version 8) of the content.
fn serial_number(image: &Value, components: &[Value]) -> String {
    let mut digest = Sha256::digest(json!([image, components]).to_string());
    digest[6] = digest[6] & 0x0f | 0x80;
    digest[8] = digest[8] & 0x3f | 0x80;
    let digits = hex(&digest);
    let [a, b, c, d, e] = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..32]];
    format!("urn:uuid:{a}-{b}-{c}-{d}-{e}")
}
