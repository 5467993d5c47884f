//! The container image of debugging tools for `toolbox`, as an archive that `docker load` and `rkt fetch` read.
//!
//! Maintainer scripts do not run: this module and the layer create what the tools need of it. The image has no package
//! manager, since it is for machines without a mirror.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sandbox::Sandbox;
use tar::{Builder, EntryType};

use crate::docker_archive::{Image, Layer, header, write_archive};
use crate::etc_files::{bundle_certificates, remove_backups};
use crate::fetch::sha256_of;
use crate::tool::{ToolError, command, run};
use crate::tree::{
    PathContext, TreeError, apply_layer, clone_with_hard_links, make_folder, remove, walk, write_file,
    write_link,
};
use crate::unpack::status;

/// Folder of the checkout that is applied on top of the packages.
pub const LAYER: &str = "os/toolbox";
/// The result's name.
pub const ARCHIVE: &str = "toolbox.tar.zst";
/// Takes twice the time of the default, for an archive that is a tenth smaller.
const COMPRESSION: i32 = 12;
const MERGED_USR: [&str; 4] = ["bin", "lib", "lib64", "sbin"];
/// Folders of the root directory that no package has, with their modes.
const FOLDERS: [(&str, u32); 15] = [
    ("boot", 0o755),
    ("dev", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var/cache", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

/// The inputs of the archive.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The unpacked packages.
    pub base: &'a Path,
    /// Files that replace those of packages.
    pub layer: &'a Path,
    /// Of the release.
    pub version: &'a str,
    /// Time of all files.
    pub epoch: u64,
    pub tools: &'a Sandbox,
}

#[derive(Debug, thiserror::Error)]
pub enum ToolboxError {
    #[error("cannot write the tree of the toolbox")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// Creates the archive in `folder`.
pub fn make(inputs: &Inputs<'_>, folder: &Path) -> Result<(), ToolboxError> {
    let (tree, layer) = (folder.join("tree"), folder.join("layer.tar"));
    compose(inputs, &tree)?;
    let mut writer = BufWriter::new(File::create(&layer).at(&layer)?);
    write_layer(&tree, inputs.epoch, &mut writer)?;
    writer.flush().at(&layer)?;
    drop(writer);
    let archive = folder.join(ARCHIVE);
    compress(inputs, &layer, &archive).at(&archive)?;
    fs::remove_file(&layer).at(&layer)?;
    Ok(remove(&tree)?)
}

fn compose(inputs: &Inputs<'_>, tree: &Path) -> Result<(), ToolboxError> {
    clone_with_hard_links(inputs.base, tree)?;
    apply_layer(inputs.layer, tree)?;
    for name in MERGED_USR {
        write_link(&tree.join(name), &Path::new("usr").join(name))?;
    }
    for (name, mode) in FOLDERS {
        let folder = tree.join(name);
        make_folder(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(mode)).at(&folder)?;
    }
    for file in ["passwd", "group"] {
        let master = tree.join(format!("usr/share/base-passwd/{file}.master"));
        write_file(&tree.join("etc").join(file), &fs::read(&master).at(&master)?, 0o644)?;
    }
    let root = format!("--root={}", tree.display());
    let epoch = inputs.epoch.to_string();
    run(command(inputs.tools, "systemd-sysusers")?.env("SOURCE_DATE_EPOCH", epoch).arg(root))?;
    for file in ["shadow", "gshadow"] {
        let file = tree.join("etc").join(file);
        if file.exists() {
            fs::set_permissions(&file, Permissions::from_mode(0o600)).at(&file)?;
        }
    }
    remove_backups(tree)?;
    bundle_certificates(tree)?;
    // Where scanners of container images look for it.
    let (from, to) = (tree.join(status::PATH), tree.join("var/lib/dpkg/status"));
    write_file(&to, &fs::read(&from).at(&from)?, 0o644)?;
    fs::remove_file(&from).at(&from)?;
    Ok(())
}

/// Writes a tar archive of `tree`. It has the modes of the files, and neither their times nor their owners.
fn write_layer(tree: &Path, epoch: u64, to: impl Write) -> Result<(), TreeError> {
    let mut archive = Builder::new(to);
    // Inodes of files with several names.
    let mut written: BTreeMap<u64, PathBuf> = BTreeMap::new();
    for relative in walk(tree)? {
        let path = tree.join(&relative);
        let metadata = path.symlink_metadata().at(&path)?;
        let mode = metadata.mode() & 0o7777;
        let added = if metadata.is_dir() {
            let name = format!("{}/", relative.display());
            archive.append_data(&mut header(EntryType::Directory, 0, mode, epoch), name, io::empty())
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).at(&path)?;
            archive.append_link(&mut header(EntryType::Symlink, 0, 0o777, epoch), &relative, target)
        } else if let Some(first) = written.get(&metadata.ino()) {
            archive.append_link(&mut header(EntryType::Link, 0, mode, epoch), &relative, first)
        } else {
            written.insert(metadata.ino(), relative.clone());
            let file = File::open(&path).at(&path)?;
            archive.append_data(&mut header(EntryType::Regular, metadata.len(), mode, epoch), &relative, file)
        };
        added.at(&path)?;
    }
    archive.finish().at(tree)
}

/// Without the layer in memory.
fn compress(inputs: &Inputs<'_>, layer: &Path, to: &Path) -> io::Result<()> {
    // `+` is no character of a tag.
    let tag = format!("keelson-toolbox:{}", inputs.version.replace('+', "-"));
    let (tag, epoch) = (tag.as_str(), inputs.epoch);
    let image = Image { tag, command: "bash", created_by: "keelson image toolbox", epoch };
    let sha256 = sha256_of(layer)?;
    let content = File::open(layer)?;
    let size = content.metadata()?.len();
    let mut encoder = zstd::Encoder::new(File::create(to)?, COMPRESSION)?;
    encoder.include_checksum(true)?;
    write_archive(&image, Layer { content, size, sha256 }, encoder)?.finish().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries as `KIND MODE NAME [-> TARGET] [= CONTENT]`, with owners and times checked.
    fn entries(bytes: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(bytes);
        let mut lines = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 7));
            let (kind, mode) = (header.entry_type().as_byte() as char, header.mode().unwrap());
            let mut line = format!("{kind} {mode:o} {}", entry.path().unwrap().display());
            if let Some(target) = entry.link_name().unwrap() {
                line += &format!(" -> {}", target.display());
            } else if header.entry_type() == EntryType::Regular {
                line += &format!(" = {}", io::read_to_string(&mut entry).unwrap());
            }
            lines.push(line);
        }
        lines
    }

    #[test]
    fn a_layer_depends_on_names_modes_links_and_contents_only() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, files: &[&str]| {
            let tree = folder.path().join(name);
            for file in files {
                write_file(&tree.join(file), file.as_bytes(), 0o644).unwrap();
            }
            fs::hard_link(tree.join("a/tool"), tree.join("b/same")).unwrap();
            write_link(&tree.join("b/link"), Path::new("../a/tool")).unwrap();
            fs::set_permissions(tree.join("a/tool"), Permissions::from_mode(0o4755)).unwrap();
            fs::set_permissions(tree.join("b"), Permissions::from_mode(0o1777)).unwrap();
            let mut bytes = Vec::new();
            write_layer(&tree, 7, &mut bytes).unwrap();
            bytes
        };
        let long = format!("b/{}", "x".repeat(150));
        let one = make("one", &["a/tool", "b/z", &long]);
        let two = make("two", &[&long, "b/z", "a/tool"]);
        assert!(one == two, "the order of creation is visible");
        let expected = [
            "5 755 a/".to_owned(),
            "0 4755 a/tool = a/tool".to_owned(),
            "5 1777 b/".to_owned(),
            "2 777 b/link -> ../a/tool".to_owned(),
            "1 4755 b/same -> a/tool".to_owned(),
            format!("0 644 {long} = {long}"),
            "0 644 b/z = b/z".to_owned(),
        ];
        assert_eq!(entries(&one), expected);
    }
}
