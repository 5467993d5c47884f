//! Container images as archives for `docker load`: Docker Image Specification v1.2, a tar of `manifest.json`, a
//! configuration and one layer.
//!
//! `busybox` is made from Debian's static busybox: tutorials run it, also on nodes without a registry.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::fetch::hex;

const TAG: &str = "busybox:latest";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What describes an image with one layer.
#[derive(Debug)]
pub struct Image<'a> {
    /// `NAME:TAG`
    pub tag: &'a str,
    pub command: &'a str,
    /// The command line that built it.
    pub created_by: &'a str,
    /// Time of the archive's files.
    pub epoch: u64,
}

/// A tar archive of the image's files.
#[derive(Debug)]
pub struct Layer<R> {
    pub content: R,
    pub size: u64,
    /// 64 hex digits.
    pub sha256: String,
}

/// Returns the archive. `busybox` is the static program, which is executed for its list of applets; `epoch` is the
/// time of the files.
pub fn busybox_archive(busybox: &Path, epoch: u64) -> io::Result<Vec<u8>> {
    let names = Command::new(busybox).arg("--list").output()?;
    if !names.status.success() {
        return Err(io::Error::other("busybox --list failed"));
    }
    let names = String::from_utf8_lossy(&names.stdout).into_owned();
    let layer = layer(&std::fs::read(busybox)?, &names, epoch)?;
    let image = Image { tag: TAG, command: "sh", created_by: "keelson image build", epoch };
    let (size, sha256) = (layer.len() as u64, hex(&Sha256::digest(&layer)));
    write_archive(&image, Layer { content: &*layer, size, sha256 }, Vec::new())
}

/// Writes the archive to `to`, and returns that.
pub fn write_archive<W: Write>(image: &Image<'_>, layer: Layer<impl Read>, to: W) -> io::Result<W> {
    let Layer { content, size, sha256 } = layer;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": { "Cmd": [image.command], "Env": [PATH] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sha256}")] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": image.created_by }],
    })
    .to_string();
    let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
    let layer_name = format!("{sha256}/layer.tar");
    let manifest =
        json!([{ "Config": config_name, "RepoTags": [image.tag], "Layers": [layer_name] }]).to_string();
    let mut archive = Builder::new(to);
    file(&mut archive, &config_name, config.as_bytes(), 0o644, image.epoch)?;
    archive.append_data(&mut header(EntryType::Regular, size, 0o644, image.epoch), layer_name, content)?;
    file(&mut archive, "manifest.json", manifest.as_bytes(), 0o644, image.epoch)?;
    archive.into_inner()
}

fn layer(program: &[u8], names: &str, epoch: u64) -> io::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for (folder, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("var", 0o755),
    ] {
        let mut header = header(EntryType::Directory, 0, mode, epoch);
        layer.append_data(&mut header, format!("{folder}/"), io::empty())?;
    }
    file(&mut layer, "bin/busybox", program, 0o755, epoch)?;
    for name in names.lines().filter(|name| *name != "busybox") {
        let mut header = header(EntryType::Symlink, 0, 0o777, epoch);
        layer.append_link(&mut header, format!("bin/{name}"), "busybox")?;
    }
    let account = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n";
    file(&mut layer, "etc/passwd", account, 0o644, epoch)?;
    file(&mut layer, "etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644, epoch)?;
    layer.into_inner()
}

fn file(
    archive: &mut Builder<impl Write>,
    name: &str,
    content: &[u8],
    mode: u32,
    epoch: u64,
) -> io::Result<()> {
    let mut header = header(EntryType::Regular, content.len() as u64, mode, epoch);
    archive.append_data(&mut header, name, content)
}

/// Root owns every file.
pub fn header(kind: EntryType, size: u64, mode: u32, epoch: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(epoch);
    header.set_uid(0);
    header.set_gid(0);
    header
}
