//! Debian's `docker-registry` on the loopback.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use oci_image::Digest;
use serde_json::json;

use crate::archive;
use crate::lab::Lab;

struct Registry {
    child: Child,
    url: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Registry {
    fn push_blob(&self, bytes: &[u8]) -> serde_json::Value {
        let digest = Digest::of(bytes);
        let started = ureq::post(format!("{}/v2/team/app/blobs/uploads/", self.url)).send_empty().unwrap();
        let location = started.headers()["location"].to_str().unwrap().to_owned();
        let separator = if location.contains('?') { '&' } else { '?' };
        ureq::put(format!("{location}{separator}digest={digest}"))
            .content_type("application/octet-stream")
            .send(bytes)
            .unwrap();
        json!({ "digest": digest, "size": bytes.len() })
    }

    fn push(&self, layer: &[u8], config: &[u8]) {
        let (mut config, mut layer) = (self.push_blob(config), self.push_blob(layer));
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer] });
        let put = ureq::put(format!("{}/v2/team/app/manifests/1", self.url)).content_type(media_type);
        put.send(manifest.to_string()).unwrap();
    }
}

#[test]
fn images_of_a_registry_run() {
    let Some(lab) = Lab::start("images_of_a_registry_run") else { return };
    let address = loopback_port::reserve().unwrap();
    let settings = json!({
        "version": "0.1", "log": { "level": "error", "accesslog": { "disabled": true } },
        "storage": { "filesystem": { "rootdirectory": lab.path("registry") } }, "http": { "addr": address.to_string() },
    });
    fs::write(lab.path("registry.yml"), settings.to_string()).unwrap();
    let started = Command::new("docker-registry")
        .args(["serve", &lab.path("registry.yml")])
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = started else {
        eprintln!("SKIPPED: images_of_a_registry_run: no docker-registry (apt-get install docker-registry)");
        return;
    };
    let registry = Registry { child, url: format!("http://{address}") };
    lab.wait_for("docker-registry", || TcpStream::connect(address).map_err(|error| error.to_string()));
    let layer = archive::layer(&archive::busybox().unwrap());
    registry
        .push(&layer, &archive::config(&layer, &json!({ "Cmd": ["echo", "pulled"], "Env": ["PATH=/bin"] })));
    let name = format!("docker://{address}/team/app:1");
    lab.fails(&["run", "--insecure-options=image", &name], "cannot fetch");
    lab.fails(&["run", "--insecure-options=http", &name], "no key is trusted");
    assert_eq!(lab.ok(&["list", "--no-legend"]), "");
    let run = ["run", "--insecure-options=image,http", "--net=none", &name];
    assert_eq!(lab.ok(&run), "pulled\n");
    drop(registry);
    // The image is in the store; only an update needs the registry.
    assert_eq!(lab.ok(&run), "pulled\n");
    lab.fails(
        &["run", "--insecure-options=image,http", "--net=none", "--pull-policy=update", &name],
        "cannot fetch",
    );
}
