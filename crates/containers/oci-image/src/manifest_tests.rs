use serde_json::Value;

use super::*;
use crate::media_type::OCI_LAYER;

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(content.as_bytes()), "size": content.len() })
}

fn image(media_type: &str, config: &str, layers: &[&str]) -> Value {
    let layers: Vec<Value> = layers.iter().map(|layer| descriptor(layer, "layer")).collect();
    json!({
        "schemaVersion": 2, "mediaType": media_type, "config": descriptor(config, "config"), "layers": layers,
    })
}

fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    *document.pointer_mut(pointer).unwrap() = value;
    document
}

fn and(mut document: Value, field: &str, value: Value) -> Value {
    document[field] = value;
    document
}

/// `expected`: compressions of the layers, or an excerpt of the error.
fn check(document: &Value, announced: Option<&str>, expected: Result<&[Compression], &str>) {
    match (parse(document.to_string().as_bytes(), announced), expected) {
        (Ok(Document::Manifest(manifest)), Ok(compressions)) => {
            let found: Vec<_> = manifest.layers.iter().map(|layer| layer.compression).collect();
            assert_eq!(found, compressions, "{document}");
            assert_eq!(manifest.config, Blob { digest: Digest::of(b"config"), size: 6 });
            let again = parse(&manifest.to_json(), Some(OCI_MANIFEST)).unwrap();
            assert_eq!(again, Document::Manifest(manifest));
        }
        (Err(error), Err(excerpt)) => {
            let text = format!(
                "{error}: {}",
                std::error::Error::source(&error).map_or_else(String::new, ToString::to_string)
            );
            assert!(text.contains(excerpt), "{document}: {text}");
        }
        (other, _) => panic!("{document}: {other:?}, expected {expected:?}"),
    }
}

#[test]
fn manifests_of_oci_and_docker() {
    use Compression::{Gzip, None as Plain, Zstd};
    let layers = [
        OCI_LAYER,
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
    ];
    let oci = image(OCI_MANIFEST, OCI_CONFIG, &layers);
    check(&oci, None, Ok(&[Plain, Gzip, Zstd]));
    check(&oci, Some(OCI_MANIFEST), Ok(&[Plain, Gzip, Zstd]));
    check(&oci, Some(&format!("{OCI_MANIFEST}; charset=utf-8")), Ok(&[Plain, Gzip, Zstd]));
    check(&oci, Some("application/octet-stream"), Ok(&[Plain, Gzip, Zstd]));
    let docker =
        image(DOCKER_MANIFEST, DOCKER_CONFIG, &["application/vnd.docker.image.rootfs.diff.tar.gzip"]);
    check(&docker, Some(DOCKER_MANIFEST), Ok(&[Gzip]));
    check(&image(OCI_MANIFEST, OCI_CONFIG, &[]), None, Ok(&[]));
}

#[test]
fn other_documents_are_refused() {
    let oci = || image(OCI_MANIFEST, OCI_CONFIG, &[OCI_LAYER]);
    check(&oci(), Some(OCI_INDEX), Err("was announced as"));
    check(&and(oci(), "manifests", json!([])), None, Err("both `manifests` and `layers`"));
    check(
        &json!({"schemaVersion": 2, "manifests": [], "config": {}}),
        None,
        Err("both `manifests` and `config`"),
    );
    check(&json!({"schemaVersion": 2}), None, Err("neither"));
    check(&json!({"schemaVersion": 1, "fsLayers": []}), None, Err("schema version 1"));
    check(&json!([]), None, Err("no manifest"));
    check(&with(oci(), "/mediaType", json!("a/b")), None, Err("\"a/b\" is not supported"));
    check(
        &with(oci(), "/config/mediaType", json!("application/vnd.cncf.helm.config.v1+json")),
        None,
        Err("no container image"),
    );
    check(&with(oci(), "/config/size", json!(9 << 20)), None, Err("the configuration has 9437184 bytes"));
    check(&with(oci(), "/layers/0/size", json!(65u64 << 30)), None, Err("layer 1 has"));
    check(&with(oci(), "/layers/0/size", json!(-1)), None, Err("no manifest"));
    check(&with(oci(), "/layers/0/mediaType", json!("text/plain")), None, Err("layer 1 has media type"));
    let foreign = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    check(&with(oci(), "/layers/0/mediaType", foreign), None, Err("may not be distributed"));
    check(&with(oci(), "/layers/0/digest", json!("sha256:../../x")), None, Err("the digest of layer 1"));
    check(
        &with(oci(), "/layers/0/digest", json!(format!("sha512:{}", "0".repeat(128)))),
        None,
        Err("layer 1"),
    );
    let many = vec![OCI_LAYER; MAX_LAYERS + 1];
    check(&image(OCI_MANIFEST, OCI_CONFIG, &many), None, Err("513 layers"));
    let long = and(oci(), "annotations", json!({ "a": "x".repeat(4 << 20) }));
    check(&long, None, Err("at most 4194304"));
}

#[test]
fn an_index_lists_images_only() {
    let mut entry = descriptor(OCI_MANIFEST, "one");
    entry["platform"] = json!({ "os": "linux", "architecture": "arm64", "variant": "v8" });
    entry["annotations"] = json!({ REF_NAME: "latest", FULL_NAME: "docker.io/library/a:latest" });
    let mut tagged = descriptor(DOCKER_MANIFEST, "two");
    tagged["annotations"] = json!({ REF_NAME: "a:1" });
    let document = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [entry, tagged, descriptor("application/spdx+json", "sbom")],
    });
    let Document::Index(index) = parse(document.to_string().as_bytes(), None).unwrap() else { panic!() };
    let found: Vec<_> = index
        .manifests
        .iter()
        .map(|entry| (entry.platform.as_ref().map(ToString::to_string), entry.name.as_deref()))
        .collect();
    let expected =
        [(Some("linux/arm64".to_owned()), Some("docker.io/library/a:latest")), (None, Some("a:1"))];
    assert_eq!(found, expected);
}

#[test]
fn a_signature_is_an_annotation_of_its_payload() {
    let mut document =
        image(OCI_MANIFEST, OCI_CONFIG, &["application/vnd.dev.cosign.simplesigning.v1+json", OCI_LAYER]);
    document["layers"][0]["annotations"] = json!({ COSIGN_SIGNATURE: "MEUC" });
    let found = signed_payloads(document.to_string().as_bytes()).unwrap();
    let blob = Blob { digest: Digest::of(b"layer"), size: 5 };
    assert_eq!(found, [SignedPayload { blob, signature: "MEUC".to_owned() }]);
}

/// Each field is under the specification's name: crate `oci-spec` writes the documents.
#[test]
fn the_specifications_fields_are_read() {
    use oci_spec::image::{
        DescriptorBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType, PlatformBuilder,
    };

    let digest: oci_spec::image::Digest = Digest::of(b"a").to_string().parse().unwrap();
    let descriptor = |media_type: MediaType| {
        DescriptorBuilder::default()
            .media_type(media_type)
            .digest(digest.clone())
            .size(7_u64)
            .annotations([(REF_NAME.to_owned(), "1.0".to_owned())])
    };
    let blob = Blob { digest: Digest::of(b"a"), size: 7 };
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .config(descriptor(MediaType::ImageConfig).build().unwrap())
        .layers([descriptor(MediaType::ImageLayerZstd).build().unwrap()])
        .build()
        .unwrap();
    let layer = Layer { blob, compression: Compression::Zstd };
    let parsed = parse(manifest.to_string().unwrap().as_bytes(), None).unwrap();
    assert_eq!(parsed, Document::Manifest(Manifest { config: blob, layers: vec![layer] }));
    let platform = PlatformBuilder::default().os("linux").architecture("arm").variant("v6").build().unwrap();
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .manifests([descriptor(MediaType::ImageManifest).platform(platform).build().unwrap()])
        .build()
        .unwrap();
    let parsed = parse(index.to_string().unwrap().as_bytes(), None).unwrap();
    let platform = Some(Platform::new("linux", "arm", "v6"));
    let entry = IndexEntry { blob, platform, name: Some("1.0".to_owned()) };
    assert_eq!(parsed, Document::Index(Index { manifests: vec![entry] }));
}
