//! Images of a static busybox, as archives of `docker save`.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use oci_image::{Digest, Platform};
use serde_json::{Value, json};

const APPLETS: [&str; 18] = [
    "cat", "echo", "env", "false", "grep", "hostname", "id", "ip", "kill", "ls", "mkdir", "mknod", "nc",
    "ping", "ps", "sh", "sleep", "touch",
];
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n";

/// The static busybox of this host, or why there is none.
pub fn busybox() -> Result<Vec<u8>, String> {
    let missing = "no static busybox (apt-get install busybox-static)".to_owned();
    let path = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let bytes = fs::read(path.ok_or(missing.clone())?).map_err(|error| error.to_string())?;
    // The path of a dynamic loader.
    if bytes.windows(9).any(|part| part == b"/ld-linux") { Err(missing) } else { Ok(bytes) }
}

fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header
}

pub fn layer(busybox: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for folder in ["bin", "etc", "srv", "root"] {
        archive.append_data(&mut header(tar::EntryType::Directory, 0o755, 0), folder, &[][..]).unwrap();
    }
    let mut file = |path: &str, mode: u32, content: &[u8]| {
        archive
            .append_data(&mut header(tar::EntryType::Regular, mode, content.len()), path, content)
            .unwrap();
    };
    file("bin/busybox", 0o755, busybox);
    file("etc/passwd", 0o644, PASSWD.as_bytes());
    for applet in APPLETS {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    archive.into_inner().unwrap()
}

/// A layer with a file whose path leads out of the tree.
pub fn hostile_layer() -> Vec<u8> {
    let mut header = header(tar::EntryType::Regular, 0o644, 4);
    let path = b"../../escaped";
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.write_all(b"evil").unwrap();
    bytes.resize(512 * 4, 0);
    bytes
}

pub fn config(layer: &[u8], settings: &Value) -> Vec<u8> {
    let platform = Platform::linux(std::env::consts::ARCH).to_string();
    let architecture = platform.strip_prefix("linux/").unwrap();
    let rootfs = json!({ "type": "layers", "diff_ids": [Digest::of(layer)] });
    json!({ "architecture": architecture, "os": "linux", "config": settings, "rootfs": rootfs })
        .to_string()
        .into_bytes()
}

pub fn docker_archive(layer: &[u8], settings: &Value, name: &str) -> Vec<u8> {
    let config = config(layer, settings);
    let manifest =
        json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["1/layer.tar"] }]).to_string();
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in
        [("config.json", config.as_slice()), ("1/layer.tar", layer), ("manifest.json", manifest.as_bytes())]
    {
        archive
            .append_data(&mut header(tar::EntryType::Regular, 0o644, content.len()), path, content)
            .unwrap();
    }
    archive.into_inner().unwrap()
}
