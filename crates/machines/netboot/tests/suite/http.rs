//! The HTTP server from the machines' view.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use netboot::server::{Server, Settings};
use serde_json::Value;

use crate::support::{LIMIT, Running, STEM};

const MAC: &str = "mac=52-54-00-12-34-56";

impl Running {
    fn stages(&self) -> Vec<&'static str> {
        self.events.lock().unwrap().iter().map(|event| event.entry.stage.name()).collect()
    }

    /// Waits: a download is recorded when its last bytes are sent.
    fn wait_for_stages(&self, expect: &[&str]) {
        let deadline = Instant::now() + LIMIT;
        while self.stages() != expect && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.stages(), expect);
    }

    fn write_rules(&self, text: &str) {
        // Under another name first, as editors do it.
        let path = self.folder.path().join("netboot.toml");
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    }

    fn wait_for_script(&self, part: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let script = self.get(&format!("/ipxe?{MAC}")).text();
            if script.contains(part) {
                return script;
            }
            assert!(Instant::now() < deadline, "{script}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_machine_boots_the_live_system() {
    let server = Running::start(None);
    let url = format!("http://{}", server.address);
    let first = server.get("/boot.ipxe");
    assert!(first.text().contains(&format!("chain --replace {url}/ipxe?mac=${{mac:hexhyp}}")));
    let script = server.get(&format!("/ipxe?{MAC}&uuid=&serial=A%201&hostname=core-01")).text();
    let machine = format!("{MAC}&serial=A%201&hostname=core-01");
    assert_eq!(
        script,
        format!(
            "#!ipxe\nkernel {url}/files/{STEM}.vmlinuz initrd={STEM}-initrd.img \
             root=tmpfs cloud-config-url={url}/user-data?{machine} keelson.ready.report={url}/ready?{machine}\n\
             initrd --name {STEM}-initrd.img {url}/files/{STEM}-initrd.img\nboot\n"
        )
    );
    let kernel = server.get(&format!("/files/{STEM}.vmlinuz"));
    assert_eq!((kernel.status, kernel.body), (200, vec![7; 300_000]));
    server.wait_for_stages(&["script", "kernel"]);
    assert_eq!(server.get("/files/coreos_production_pxe_image.cpio.gz").text(), "0123456789");
    let user_data = server.get(&format!("/user-data?{MAC}")).text();
    assert_eq!(user_data, "#cloud-config\nhostname: n-52-54-00-12-34-56\n# $private_ipv4\n");
    assert_eq!(server.request("POST", &format!("/ready?{MAC}"), "").status, 200);
    server.wait_for_stages(&["script", "kernel", "initrd", "config", "ready"]);
    let status: Value = serde_json::from_slice(&server.get("/status.json").body).unwrap();
    let machine = &status["machines"][0];
    assert_eq!(machine["mac"], "52:54:00:12:34:56");
    assert_eq!(machine["address"], "127.0.0.1");
    assert_eq!((&machine["serial"], &machine["hostname"]), (&"A 1".into(), &"core-01".into()));
    assert_eq!(machine["stages"][4]["stage"], "ready");
    assert_eq!(status["images"][0]["version"], "9999.1.0");
    // Neither the page nor its data has user-data.
    assert!(!status.to_string().contains("cloud-config"));
}

#[test]
fn files_have_ranges_and_heads() {
    let server = Running::start(None);
    let path = format!("/files/{STEM}-initrd.img");
    let head = server.request("HEAD", &path, "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.head.contains("content-length: 10") && head.head.contains("accept-ranges: bytes"));
    let etag = head.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    for (headers, status, body, range) in [
        ("Range: bytes=3-5\r\n".to_owned(), 206, "345", Some("bytes 3-5/10")),
        ("Range: bytes=-2\r\n".to_owned(), 206, "89", Some("bytes 8-9/10")),
        (format!("Range: bytes=3-\r\nIf-Range: {etag}\r\n"), 206, "3456789", Some("bytes 3-9/10")),
        ("Range: bytes=3-\r\nIf-Range: \"other\"\r\n".to_owned(), 200, "0123456789", None),
        ("Range: bytes=10-\r\n".to_owned(), 416, "range not satisfiable\n", Some("bytes */10")),
    ] {
        let response = server.request("GET", &path, &headers);
        assert_eq!((response.status, response.text().as_str()), (status, body), "{headers}");
        let found = response.head.lines().find_map(|line| line.strip_prefix("content-range: "));
        assert_eq!(found, range, "{headers}");
    }
    let uki = server.get(&format!("/files/{STEM}.efi"));
    assert!(uki.head.contains("content-type: application/efi"));
}

#[test]
fn nothing_else_is_served() {
    let server = Running::start(None);
    for path in [
        "/boot-from-disk",
        "/files/secret",
        "/files/",
        "/files/.",
        "/files/../user-data",
        "/files/..%2fuser-data",
        "/files/%2e%2e/user-data",
        "/files//etc/passwd",
        "/files/%ff",
        "/images/secret",
        "/netboot.toml",
        "//",
    ] {
        let response = server.get(path);
        assert_eq!(response.status, 404, "{path}: {}", response.text());
    }
    for (method, path, status) in [
        ("POST", "/ipxe", 405),
        ("GET", "/installed", 405),
        ("DELETE", "/files/secret", 405),
        ("POST", "/installed", 400),
        ("GET", "/ipxe?mac=1", 400),
        ("GET", &format!("/ipxe?{}", "a".repeat(1025)), 400),
    ] {
        assert_eq!(server.request(method, path, "").status, status, "{method} {path}");
    }
    // Without a rule for it, nobody marks a machine as installed.
    assert_eq!(server.request("POST", &format!("/installed?{MAC}"), "").status, 409);
    assert_eq!(server.folder.path().join("state/installed").read_dir().unwrap().count(), 0);
}

#[test]
fn a_machine_installs_once_and_then_boots_from_disk() {
    let server = Running::start(Some(
        "[[rule]]\nmac = \"52:54:00:12:34:56\"\ninstall = \"once\"\ndevice = \"/dev/vda\"\nuser-data = \"user-data\"\n",
    ));
    let url = format!("http://{}", server.address);
    let script = server.get(&format!("/ipxe?{MAC}")).text();
    for part in [
        "keelson.install=/dev/vda ",
        &format!("keelson.install.config={url}/user-data?{MAC} "),
        &format!("keelson.install.report={url}/installed?{MAC}\n"),
    ] {
        assert!(script.contains(part), "{script}");
    }
    assert!(!script.contains("cloud-config-url"), "the live system does not configure itself: {script}");
    assert_eq!(server.request("POST", &format!("/installed?{MAC}"), "").status, 200);
    assert!(server.get(&format!("/ipxe?{MAC}")).text().contains("sanboot"));
    server.wait_for_stages(&["script", "installed", "disk"]);
    // The operator installs it again.
    let file = server.folder.path().join("state/installed/52-54-00-12-34-56.json");
    std::fs::remove_file(file).unwrap();
    assert!(server.get(&format!("/ipxe?{MAC}")).text().contains("keelson.install=/dev/vda"));
    // A machine without a rule boots from its disk.
    assert!(server.get("/ipxe?mac=52-54-00-00-00-01").text().contains("sanboot"));
}

#[test]
fn changed_rules_apply_and_invalid_ones_do_not() {
    let rule = |options: &str| format!("[[rule]]\nmatch = \"*\"\noptions = \"{options}\"\n");
    let server = Running::start(Some(&rule("first")));
    assert!(server.get(&format!("/ipxe?{MAC}")).text().contains(" first "));
    server.write_rules(&rule("second"));
    server.wait_for_script(" second ");
    server.write_rules("[[rule]]\nmatch = \"none\"\n");
    let deadline = Instant::now() + Duration::from_millis(1200);
    while Instant::now() < deadline {
        server.wait_for_script(" second ");
    }
    server.write_rules(&rule("third"));
    server.wait_for_script(" third ");
    server.write_rules("[[rule]]\nmatch = \"*\"\nversion = \"1.0.0\"\n");
    server.wait_for_script("Netboot: no image of version 1.0.0 and channel any");
}

#[test]
fn invalid_rules_at_the_start_have_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("netboot.toml");
    std::fs::write(&rules, "\n[[rule]]\nmac = \"1\"\n").unwrap();
    let open = |images: &Path, rules: &Path| {
        let settings = Settings {
            address: Ipv4Addr::LOCALHOST,
            http_port: 1,
            images: images.to_owned(),
            ipxe: folder.path().to_owned(),
            rules: Some(rules.to_owned()),
            user_data: None,
            state: folder.path().join("state"),
            lab: None,
        };
        let error = Server::open(settings, Box::new(|_| {})).err().unwrap();
        service::error::chain(&error)
    };
    let error = open(folder.path(), &rules);
    assert!(error.contains("netboot.toml:3:7: invalid MAC address `1`"), "{error}");
    let error = open(&folder.path().join("none"), &rules);
    assert!(error.contains("cannot list") && error.contains("none"), "{error}");
    let error = open(folder.path(), &folder.path().join("other.toml"));
    assert!(error.contains("other.toml: No such file"), "{error}");
}
