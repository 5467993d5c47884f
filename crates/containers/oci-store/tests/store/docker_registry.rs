//! Debian's `docker-registry`, with images that the tests push: plain HTTP, passwords, TLS, signatures.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64_of::base64;
use oci_image::credentials::{Credentials, Login};
use oci_image::manifest::{Blob, Layer, Manifest};
use oci_image::media_type::{Compression, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use oci_image::signature::Trust;
use oci_image::{Digest, Platform, Reference};
use oci_store::{PullOptions, Pulled, RegistryOptions, Store, TrustPolicy};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::images::{chain, config, config_for, gzip, layer, listing, unpack_options, zstd};

const PROGRAM: &str = "docker-registry";
/// For a slow host.
const START_DEADLINE: Duration = Duration::from_secs(60);
const USER: &str = "user";
const PASSWORD: &str = "pass word";

/// A running registry, in a folder of its own.
struct Registry {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
    login: Option<Login>,
    agent: ureq::Agent,
    secure: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Plain,
    Password,
    Tls,
}

impl Registry {
    /// `None`, with a message, where the program is absent.
    fn start(test: &str, access: Access) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let address = loopback_port::reserve().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut settings = json!({
            "version": "0.1",
            "log": { "level": "error", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": path("storage") } },
            "http": { "addr": address.to_string() },
        });
        match access {
            Access::Plain => {}
            Access::Password => {
                let hash = bcrypt::hash(PASSWORD, 4).unwrap();
                fs::write(path("htpasswd"), format!("{USER}:{hash}\n")).unwrap();
                settings["auth"] = json!({ "htpasswd": { "realm": "test", "path": path("htpasswd") } });
            }
            Access::Tls => {
                let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
                fs::write(path("certificate.pem"), certified.cert.pem()).unwrap();
                fs::write(path("key.pem"), certified.signing_key.serialize_pem()).unwrap();
                settings["http"]["tls"] =
                    json!({ "certificate": path("certificate.pem"), "key": path("key.pem") });
            }
        }
        // YAML is a superset of JSON.
        fs::write(path("settings.yml"), settings.to_string()).unwrap();
        let started = Command::new(PROGRAM)
            .args(["serve", &path("settings.yml")])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("log")).unwrap())
            .spawn();
        let Ok(child) = started else {
            eprintln!("SKIPPED: {test}: there is no {PROGRAM} (apt-get install {PROGRAM})");
            return None;
        };
        let login = Login { user: USER.to_owned(), password: PASSWORD.to_owned() };
        let tls =
            ureq::tls::TlsConfig::builder().disable_verification(true).unversioned_rustls_crypto_provider(
                std::sync::Arc::new(rustls::crypto::ring::default_provider()),
            );
        let agent = ureq::Agent::config_builder().http_status_as_error(false).tls_config(tls.build()).build();
        let mut registry = Self {
            child,
            address,
            folder,
            login: (access == Access::Password).then_some(login),
            agent: agent.new_agent(),
            secure: access == Access::Tls,
        };
        registry.wait();
        Some(registry)
    }

    fn wait(&mut self) {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{PROGRAM} exited ({status}): {}", log());
            }
            assert!(
                start.elapsed() < START_DEADLINE,
                "{PROGRAM} does not listen on {}: {}",
                self.address,
                log()
            );
            std::thread::yield_now();
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.secure { "https" } else { "http" }, self.address)
    }

    fn authorization(&self) -> String {
        self.login.as_ref().map_or_else(|| "none".to_owned(), Login::basic)
    }

    fn push_blob(&self, repository: &str, bytes: &[u8]) -> Blob {
        let blob = Blob { digest: Digest::of(bytes), size: bytes.len() as u64 };
        let started = self
            .agent
            .post(self.url(&format!("/v2/{repository}/blobs/uploads/")))
            .header("authorization", self.authorization())
            .send_empty()
            .unwrap();
        assert_eq!(started.status(), 202);
        let location = started.headers()["location"].to_str().unwrap().to_owned();
        let separator = if location.contains('?') { '&' } else { '?' };
        let stored = self
            .agent
            .put(format!("{location}{separator}digest={}", blob.digest))
            .header("authorization", self.authorization())
            .header("content-type", "application/octet-stream")
            .send(bytes)
            .unwrap();
        assert_eq!(stored.status(), 201);
        blob
    }

    fn push_manifest(&self, repository: &str, tag: &str, media_type: &str, manifest: &[u8]) -> Digest {
        let mut stored = self
            .agent
            .put(self.url(&format!("/v2/{repository}/manifests/{tag}")))
            .header("authorization", self.authorization())
            .header("content-type", media_type)
            .send(manifest)
            .unwrap();
        assert_eq!(stored.status(), 201, "{}", stored.body_mut().read_to_string().unwrap());
        Digest::of(manifest)
    }

    fn push(&self, repository: &str, tag: &str, config: &[u8], layers: &[(Vec<u8>, Compression)]) -> Digest {
        let layers = layers.iter().map(|(bytes, compression)| Layer {
            blob: self.push_blob(repository, bytes),
            compression: *compression,
        });
        let layers = layers.collect();
        let manifest = Manifest { config: self.push_blob(repository, config), layers }.to_json();
        self.push_manifest(repository, tag, OCI_MANIFEST, &manifest)
    }

    fn name(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }

    fn pull(&self, store: &Store, rest: &str, options: RegistryOptions) -> Result<Pulled, String> {
        pull(store, &self.name(rest), options, TrustPolicy::Insecure)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn pull(
    store: &Store,
    name: &Reference,
    registry: RegistryOptions,
    trust: TrustPolicy<'_>,
) -> Result<Pulled, String> {
    let platform = Platform::linux(std::env::consts::ARCH);
    let options = PullOptions { platform, trust, minisign: Vec::new(), registry };
    store.pull(name, &options, &mut |_| ()).map_err(|error| chain(&error))
}

fn http() -> RegistryOptions {
    RegistryOptions { http: true, ..RegistryOptions::default() }
}

fn check(store: &Store, pulled: Result<Pulled, String>, expected: Result<&[&str], &str>) {
    match (pulled, expected) {
        (Ok(pulled), Ok(files)) => {
            let tree = store.unpack(pulled.manifest, &unpack_options()).unwrap();
            assert_eq!(listing(&tree.rootfs()), files);
        }
        (Err(error), Err(excerpt)) => assert!(error.contains(excerpt), "{error}"),
        (found, _) => panic!("{found:?}, expected {expected:?}"),
    }
}

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("store")).unwrap()
}

#[test]
fn images_are_pulled() {
    let Some(registry) = Registry::start("images_are_pulled", Access::Plain) else { return };
    let layers = [layer(&["f a 1"]), layer(&["f b 2"]), layer(&["f .wh.a", "f c 3"])];
    let stored = [
        (layers[0].clone(), Compression::None),
        (gzip(&layers[1]), Compression::Gzip),
        (zstd(&layers[2]), Compression::Zstd),
    ];
    let image = registry.push("test/image", "1", &config(&layers), &stored);
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let first = registry.pull(&store, "test/image:1", http()).unwrap();
    assert_eq!((first.manifest, first.selected, first.verified_by.clone()), (image, image, None));
    let size = stored.iter().map(|(bytes, _)| bytes.len()).sum::<usize>() + config(&layers).len();
    assert_eq!(first.transferred, size as u64);
    check(&store, Ok(first), Ok(&["f b 2", "f c 3"]));
    // A second pull, and another image with the same layers, transfer only what is new.
    assert_eq!(registry.pull(&store, "test/image:1", http()).unwrap().transferred, 0);
    let more = [layers.as_slice(), &[layer(&["f d 4"])]].concat();
    let mut stored = stored.to_vec();
    stored.push((more[3].clone(), Compression::None));
    registry.push("test/image", "2", &config(&more), &stored);
    let second = registry.pull(&store, "test/image:2", http()).unwrap();
    assert_eq!(second.transferred, (more[3].len() + config(&more).len()) as u64);
    check(&store, Ok(second), Ok(&["f b 2", "f c 3", "f d 4"]));
    check(&store, registry.pull(&store, &format!("test/image@{image}"), http()), Ok(&["f b 2", "f c 3"]));
    check(&store, registry.pull(&store, "test/image:3", http()), Err("MANIFEST_UNKNOWN"));
    check(&store, registry.pull(&store, "test/none:1", http()), Err("HTTP status 404"));
    check(&store, registry.pull(&store, "test/image:1", RegistryOptions::default()), Err("https://"));
    let name = registry.name("test/image:1").to_string();
    assert!(store.image(image).unwrap().unwrap().names.contains_key(&name));
}

#[test]
fn docker_manifests_and_indexes() {
    let Some(registry) = Registry::start("docker_manifests_and_indexes", Access::Plain) else { return };
    let layers = [layer(&["f a 1"])];
    let (config, other) = (config(&layers), config_for("s390x", &layers));
    let gzipped = gzip(&layers[0]);
    let push_docker = |tag: &str, config: &[u8]| {
        let (config, layer) = (registry.push_blob("a", config), registry.push_blob("a", &gzipped));
        let manifest = json!({
            "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "digest": config.digest, "size": config.size,
            },
            "layers": [{
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "digest": layer.digest, "size": layer.size,
            }],
        });
        let bytes = manifest.to_string().into_bytes();
        (registry.push_manifest("a", tag, DOCKER_MANIFEST, &bytes), bytes.len())
    };
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (mine, foreign) = (push_docker("docker", &config), push_docker("s390x", &other));
    check(&store, registry.pull(&store, "a:docker", http()), Ok(&["f a 1"]));
    check(&store, registry.pull(&store, "a:s390x", http()), Err("is for linux/s390x"));
    let platform = Platform::linux(std::env::consts::ARCH).to_string();
    let architecture = platform.strip_prefix("linux/").unwrap();
    let entry = |(digest, size): (Digest, usize), architecture: &str| {
        json!({
            "mediaType": DOCKER_MANIFEST, "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": architecture },
        })
    };
    let index = |manifests: Value| {
        json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests }).to_string().into_bytes()
    };
    let both = index(json!([entry(foreign, "s390x"), entry(mine, architecture)]));
    let selected = registry.push_manifest("a", "both", OCI_INDEX, &both);
    let pulled = registry.pull(&store, "a:both", http()).unwrap();
    assert_eq!((pulled.manifest, pulled.selected), (mine.0, selected));
    registry.push_manifest("a", "foreign", OCI_INDEX, &index(json!([entry(foreign, "s390x")])));
    check(&store, registry.pull(&store, "a:foreign", http()), Err("available: linux/s390x"));
}

#[test]
fn passwords_come_from_dockers_file() {
    let Some(registry) = Registry::start("passwords_come_from_dockers_file", Access::Password) else {
        return;
    };
    let layers = [layer(&["f a 1"])];
    registry.push("a", "1", &config(&layers), &[(layers[0].clone(), Compression::None)]);
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let with = |password: &str| {
        let auth = base64(format!("{USER}:{password}").as_bytes());
        let file = json!({ "auths": { registry.address.to_string(): { "auth": auth } } }).to_string();
        RegistryOptions { credentials: Credentials::parse(file.as_bytes()).unwrap(), ..http() }
    };
    check(&store, registry.pull(&store, "a:1", with(PASSWORD)), Ok(&["f a 1"]));
    check(&store, registry.pull(&store, "a:1", with("wrong")), Err("docker login"));
    check(&store, registry.pull(&store, "a:1", http()), Err("docker login"));
}

#[test]
fn certificates_are_verified() {
    let Some(registry) = Registry::start("certificates_are_verified", Access::Tls) else { return };
    let layers = [layer(&["f a 1"])];
    registry.push("a", "1", &config(&layers), &[(layers[0].clone(), Compression::None)]);
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let ca = |name: &str| RegistryOptions {
        ca_files: vec![registry.folder.path().join(name)],
        ..RegistryOptions::default()
    };
    check(&store, registry.pull(&store, "a:1", RegistryOptions::default()), Err("certificate"));
    check(&store, registry.pull(&store, "a:1", ca("certificate.pem")), Ok(&["f a 1"]));
    check(&store, registry.pull(&store, "a:1", ca("settings.yml")), Err("has no certificates in PEM"));
    check(&store, registry.pull(&store, "a:1", ca("missing")), Err("cannot read certificates"));
    let unverified = RegistryOptions { unverified_tls: true, ..RegistryOptions::default() };
    check(&store, registry.pull(&store, "a:1", unverified), Ok(&["f a 1"]));
}

#[test]
fn cosigns_signatures_are_fetched() {
    let Some(registry) = Registry::start("cosigns_signatures_are_fetched", Access::Plain) else { return };
    let layers = [layer(&["f a 1"])];
    let image = registry.push("a", "1", &config(&layers), &[(layers[0].clone(), Compression::None)]);
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
    // DER of a P-256 key before its point.
    let prefix = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
    let bytes = (0..prefix.len()).step_by(2).map(|at| u8::from_str_radix(&prefix[at..at + 2], 16).unwrap());
    let der: Vec<u8> = bytes.chain(pair.public_key().as_ref().iter().copied()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", base64(&der));
    let mut trust = Trust::default();
    trust.add(&registry.address.to_string(), "cosign.pub", &pem).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let name = registry.name("a:1");
    let verified = || pull(&store, &name, http(), TrustPolicy::Require(&trust));
    check(&store, verified(), Err("has no signature"));
    let sign = |digest: Digest| {
        let identity = format!("{}/a", registry.address);
        let payload = json!({ "critical": {
            "identity": { "docker-reference": identity },
            "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        } })
        .to_string();
        let signature = base64(pair.sign(&random, payload.as_bytes()).unwrap().as_ref());
        let (config, payload) = (registry.push_blob("a", b"{}"), registry.push_blob("a", payload.as_bytes()));
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config.digest, "size": config.size,
            },
            "layers": [{
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "digest": payload.digest, "size": payload.size,
                "annotations": { "dev.cosignproject.cosign/signature": signature },
            }],
        });
        let tag = format!("sha256-{}.sig", image.hex());
        registry.push_manifest("a", &tag, OCI_MANIFEST, manifest.to_string().as_bytes());
    };
    sign(Digest::of(b"other"));
    check(&store, verified(), Err("no signature of"));
    assert_eq!(store.images().unwrap(), []);
    sign(image);
    assert_eq!(verified().unwrap().verified_by.as_deref(), Some("cosign.pub"));
    let record = store.image(image).unwrap().unwrap();
    assert_eq!(record.names[&name.to_string()].as_deref(), Some("cosign.pub"));
    // Without a check, the same image keeps the key.
    registry.pull(&store, "a:1", http()).unwrap();
    assert_eq!(store.image(image).unwrap().unwrap().names, record.names);
}

mod base64_of {
    use base64::Engine as _;

    pub fn base64(bytes: &[u8]) -> String {
        base64::engine::general_purpose::STANDARD.encode(bytes)
    }
}
