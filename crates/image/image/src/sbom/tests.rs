use std::collections::BTreeSet;
use std::path::Path;

use boon::{Compiler, Schemas};
use serde_json::{Value, json};

use super::*;
use crate::crates::LinkedCrate;
use crate::lock::Lock;
use crate::release::Release;

/// What CycloneDX 1.6 requires of the parts that are used; nothing else may be in the document.
fn schema() -> Value {
    let text = json!({ "type": "string", "minLength": 1 });
    let component = json!({
        "type": "object",
        "required": ["type", "name"],
        "additionalProperties": false,
        "properties": {
            "type": { "enum": ["application", "library", "operating-system"] },
            "bom-ref": text, "name": text, "version": text,
            "purl": { "type": "string", "pattern": "^pkg:[a-z]+/[^ ]+@[^ +]+$" },
            "hashes": { "type": "array", "items": {
                "type": "object", "required": ["alg", "content"], "additionalProperties": false,
                "properties": {
                    "alg": { "const": "SHA-256" },
                    "content": { "type": "string", "pattern": "^[a-fA-F0-9]{64}$" },
                },
            } },
            "licenses": { "type": "array", "maxItems": 1, "items": {
                "type": "object", "required": ["expression"], "additionalProperties": false,
                "properties": { "expression": text },
            } },
        },
    });
    let uuid = "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
    json!({
        "type": "object",
        "required": ["bomFormat", "specVersion", "version", "serialNumber", "metadata", "components", "dependencies"],
        "additionalProperties": false,
        "properties": {
            "$schema": { "const": "http://cyclonedx.org/schema/bom-1.6.schema.json" },
            "bomFormat": { "const": "CycloneDX" },
            "specVersion": { "const": "1.6" },
            "version": { "const": 1 },
            "serialNumber": { "type": "string", "pattern": uuid },
            "metadata": {
                "type": "object", "required": ["component", "tools"], "additionalProperties": false,
                "properties": {
                    "component": component,
                    "tools": { "type": "object", "required": ["components"], "properties": {
                        "components": { "type": "array", "minItems": 1, "items": component },
                    } },
                },
            },
            "components": { "type": "array", "uniqueItems": true, "items": component },
            "dependencies": { "type": "array", "items": {
                "type": "object", "required": ["ref"], "additionalProperties": false,
                "properties": { "ref": text, "dependsOn": { "type": "array", "uniqueItems": true, "items": text } },
            } },
        },
    })
}

/// Why the document is invalid.
fn problem(document: &Value) -> Option<String> {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("cyclonedx.json", schema()).unwrap();
    let index = compiler.compile("cyclonedx.json", &mut schemas).unwrap();
    schemas.validate(document, index).err().map(|error| error.to_string())
}

/// Both documents of the checkout's lock.
fn documents(programs: &[BuiltProgram], crates: &[LinkedCrate]) -> (Value, Value) {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let release = Release::read(&checkout.join("os/release.toml")).unwrap();
    let lock = Lock::read(&checkout.join("os/packages.lock")).unwrap();
    let bom = Bom::new(&release, &lock, programs, crates);
    (spdx::document(&bom), cyclonedx::document(&bom))
}

fn parts() -> (Vec<BuiltProgram>, Vec<LinkedCrate>) {
    let linked = |name: &str, version: &str, license: &str| LinkedCrate {
        name: name.into(),
        version: version.into(),
        license: license.into(),
        authors: Vec::new(),
        texts: Vec::new(),
    };
    let crates = vec![
        linked("syn", "2.0.0+x", "MIT OR Apache-2.0"),
        linked("syn", "3.0.0", "MIT"),
        linked("odd", "1.0.0", "NOASSERTION"),
    ];
    (vec![BuiltProgram { name: "etcd".into(), sha256: "a".repeat(64) }], crates)
}

#[test]
fn cyclonedx_is_valid_and_its_references_lead_to_components() {
    let (programs, crates) = parts();
    let (_, document) = documents(&programs, &crates);
    assert_eq!(problem(&document), None);
    let references: Vec<&str> = document["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["bom-ref"].as_str().unwrap())
        .collect();
    let unique: BTreeSet<&str> = references.iter().copied().collect();
    assert_eq!(unique.len(), references.len(), "each reference is unique");
    assert_eq!(document["dependencies"], json!([{ "ref": "image", "dependsOn": references }]));
    // The schema rejects what it should.
    for (path, value) in [
        ("/specVersion", json!("1.5")),
        ("/serialNumber", json!("urn:uuid:1")),
        ("/components/0/hashes/0/content", json!("a")),
        ("/components/0/purl", json!("pkg:deb/debian/a@1+2")),
        ("/components/0/type", json!("package")),
    ] {
        let mut damaged = document.clone();
        *damaged.pointer_mut(path).unwrap() = value;
        assert!(problem(&damaged).is_some(), "{path}");
    }
}

#[test]
fn both_documents_have_the_same_components() {
    let (programs, crates) = parts();
    let (spdx, cyclonedx) = documents(&programs, &crates);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let license =
        |value: &Value| Some(text(value)).filter(|license| license != "NOASSERTION").unwrap_or_default();
    let of_spdx: Vec<[String; 5]> = spdx["packages"].as_array().unwrap()[1..]
        .iter()
        .map(|one| {
            let purl = text(&one["externalRefs"][0]["referenceLocator"]);
            let digest = text(&one["checksums"][0]["checksumValue"]);
            [text(&one["name"]), text(&one["versionInfo"]), license(&one["licenseDeclared"]), digest, purl]
        })
        .collect();
    let of_cyclonedx: Vec<[String; 5]> = cyclonedx["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let digest = text(&one["hashes"][0]["content"]);
            let license = text(&one["licenses"][0]["expression"]);
            [text(&one["name"]), text(&one["version"]), license, digest, text(&one["purl"])]
        })
        .collect();
    assert_eq!(of_spdx, of_cyclonedx);
    assert!(of_spdx.len() > 100 + programs.len() + crates.len(), "the packages of the lock are listed");
    assert!(of_spdx.iter().any(|one| one[4] == "pkg:cargo/syn@2.0.0%2Bx"));
    assert_eq!(spdx["packages"][0]["versionInfo"], cyclonedx["metadata"]["component"]["version"]);
}

#[test]
fn the_serial_number_is_that_of_the_content() {
    let (programs, crates) = parts();
    let serial = |programs: &[BuiltProgram]| documents(programs, &crates).1["serialNumber"].clone();
    assert_eq!(serial(&programs), serial(&programs));
    let other = [BuiltProgram { sha256: "b".repeat(64), ..programs[0].clone() }];
    assert_ne!(serial(&programs), serial(&other));
}
