//! Images that tests build: layers from lines, archives, stores.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use oci_image::signature::Signatures;
use oci_image::{Digest, Platform};
use oci_store::{DeviceNodes, ImportOptions, Owners, TrustPolicy, UnpackLimits, UnpackOptions};
use serde_json::json;
use tar::EntryType;

pub const NAME: &str = "example.com/test/image:1";

/// One entry. Names are written as they are: tar's own builder refuses what tests need.
#[derive(Debug, Clone)]
pub struct Entry {
    pub kind: EntryType,
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub content: Vec<u8>,
    pub mode: u32,
    pub owner: u64,
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Entry {
    pub fn new(kind: EntryType, path: &str) -> Self {
        let mode = if kind == EntryType::Directory { 0o755 } else { 0o644 };
        let (link, content, xattrs) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, path: path.into(), link, content, mode, owner: 0, xattrs }
    }

    /// `KIND PATH [CONTENT or TARGET]`, where KIND is d, f, l, h, c, b, p or another type's character.
    pub fn parse(line: &str) -> Self {
        let mut parts = line.splitn(3, ' ');
        let kind = parts.next().unwrap();
        let (path, rest) = (parts.next().unwrap(), parts.next().unwrap_or_default());
        let entry_type = match kind {
            "d" => EntryType::Directory,
            "f" => EntryType::Regular,
            "l" => EntryType::Symlink,
            "h" => EntryType::Link,
            "c" => EntryType::Char,
            "b" => EntryType::Block,
            "p" => EntryType::Fifo,
            other => EntryType::new(other.as_bytes()[0]),
        };
        let entry = Self::new(entry_type, path);
        match kind {
            "l" | "h" => Self { link: rest.into(), ..entry },
            _ => Self { content: rest.into(), ..entry },
        }
    }

    pub fn header(&self, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        let old = header.as_old_mut();
        let length = self.path.len().min(100);
        old.name[..length].copy_from_slice(&self.path[..length]);
        let length = self.link.len().min(100);
        old.linkname[..length].copy_from_slice(&self.link[..length]);
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        header.set_uid(self.owner);
        header.set_gid(self.owner);
        header.set_mtime(1_000_000_000);
        header.set_size(size);
        if matches!(self.kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        header
    }

    fn write(&self, archive: &mut Vec<u8>) {
        let long = [(EntryType::GNULongName, &self.path), (EntryType::GNULongLink, &self.link)];
        for (kind, text) in long.into_iter().filter(|(_, text)| text.len() > 100) {
            let content = [text.as_slice(), &[0]].concat();
            Self { kind, content, ..Self::new(kind, "././@LongLink") }.write(archive);
        }
        if !self.xattrs.is_empty() {
            let mut content = Vec::new();
            for (name, value) in &self.xattrs {
                let record = [format!("SCHILY.xattr.{name}=").as_bytes(), value, b"\n"].concat();
                // The length includes its own digits.
                let length =
                    (record.len()..).find(|length| *length == record.len() + length.to_string().len() + 1);
                content.extend([length.unwrap().to_string().as_bytes(), b" ", &record].concat());
            }
            Self { content, ..Self::new(EntryType::XHeader, "pax") }.write(archive);
        }
        append(archive, &self.header(self.content.len() as u64), &self.content);
    }
}

pub fn append(archive: &mut Vec<u8>, header: &tar::Header, content: &[u8]) {
    archive.extend(header.as_bytes());
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    entries.iter().for_each(|entry| entry.write(&mut archive));
    archive.resize(archive.len() + 1024, 0);
    archive
}

pub fn layer(lines: &[&str]) -> Vec<u8> {
    archive(&lines.iter().map(|line| Entry::parse(line)).collect::<Vec<_>>())
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

pub fn file(path: &str, content: &[u8]) -> Entry {
    Entry { content: content.to_vec(), ..Entry::new(EntryType::Regular, path) }
}

/// The configuration of an image for this machine.
pub fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let platform = Platform::linux(std::env::consts::ARCH).to_string();
    config_for(platform.strip_prefix("linux/").unwrap(), layers)
}

pub fn config_for(architecture: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = json!({ "Cmd": ["/bin/a"], "Env": ["A=1"] });
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    json!({ "architecture": architecture, "os": "linux", "config": config, "rootfs": rootfs })
        .to_string()
        .into_bytes()
}

/// An archive as `docker save` wrote it before version 25. The layers may be compressed.
pub fn docker_archive(config: &[u8], layers: &[Vec<u8>], names: &[&str]) -> Vec<u8> {
    let mut entries = vec![file("config.json", config)];
    let mut paths = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        paths.push(format!("{index}/layer.tar"));
        entries.push(file(&paths[index], layer));
    }
    let manifest = json!([{ "Config": "config.json", "RepoTags": names, "Layers": paths }]);
    entries.push(file("manifest.json", manifest.to_string().as_bytes()));
    archive(&entries)
}

pub fn import_options() -> ImportOptions<'static> {
    ImportOptions {
        platform: Platform::linux(std::env::consts::ARCH),
        name: None,
        trust: TrustPolicy::Insecure,
        signatures: Signatures::default(),
        bytes: 1 << 30,
    }
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub fn unpack_options() -> UnpackOptions {
    UnpackOptions {
        owners: if is_root() { Owners::Image } else { Owners::Caller },
        devices: DeviceNodes::Refuse,
        limits: UnpackLimits { bytes: 16 << 20, entries: 10_000 },
    }
}

/// All paths below a folder, a line each: `d PATH`, `f PATH CONTENT`, `l PATH TARGET`, `p PATH`, `c PATH`.
pub fn listing(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    list(folder, "", &mut lines);
    lines.sort();
    lines
}

fn list(folder: &Path, prefix: &str, lines: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().unwrap();
        let mut line = String::new();
        if kind.is_dir() {
            write!(line, "d {name}").unwrap();
            list(&entry.path(), &format!("{name}/"), lines);
        } else if kind.is_symlink() {
            write!(line, "l {name} {}", fs::read_link(entry.path()).unwrap().display()).unwrap();
        } else if kind.is_file() {
            write!(line, "f {name} {}", fs::read_to_string(entry.path()).unwrap()).unwrap();
        } else {
            write!(line, "{} {name}", if kind.is_fifo() { "p" } else { "c" }).unwrap();
        }
        lines.push(line.trim_end().to_owned());
    }
}

pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    service::error::chain(error)
}
