//! Composes the node's `/usr`: packages, `os/rootfs`, `units`, our programs, and what maintainer scripts would
//! create.
//!
//! The node's `/etc` is an overlay over `/usr/share/factory/etc`, so the resulting tree contains only `usr`.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use globset::Glob;
use sandbox::Sandbox;

use crate::crates::{self, CratesError, copyright};
use crate::docker_archive::busybox_archive;
use crate::etc_files::{bundle_certificates, remove_backups};
use crate::fetch::hex;
use crate::kernel::{KernelError, kernel_folder};
use crate::lock::Lock;
use crate::programs::{Profile, Program};
use crate::release::Release;
use crate::sbom::{Bom, BuiltProgram, cyclonedx, spdx};
use crate::strip::{StripError, strip_to_segments};
use crate::tool::{ToolError, command, run};
use crate::tree::{
    FACTORY_ETC, PathContext, TreeError, apply_layer, clone_with_hard_links, make_folder, remove, walk,
    write_file, write_link,
};

/// The inputs of the tree.
#[derive(Debug)]
pub struct Inputs<'a> {
    pub checkout: &'a Path,
    /// The unpacked packages.
    pub base: &'a Path,
    pub programs: &'a [Program],
    /// Folder of the built programs.
    pub built: &'a Path,
    pub release: &'a Release,
    pub lock: &'a Lock,
    pub tools: &'a Sandbox,
}

#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    #[error("cannot write the system tree")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("cannot strip {path}")]
    Program { path: PathBuf, source: StripError },
    #[error("os/modes:{line}: {problem}")]
    Modes { line: usize, problem: String },
    #[error(
        "etc/{file}: {name} has the allocated number {id}, which the next build may change: add a line to {IDS_FILE}"
    )]
    AllocatedId { file: &'static str, name: String, id: u32 },
    #[error("cannot create the busybox container image")]
    Busybox(#[source] io::Error),
    #[error("cannot write the bill of materials")]
    Sbom(#[from] serde_json::Error),
    #[error(transparent)]
    Crates(#[from] CratesError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Assigns numeric ids to the distribution's users and groups.
const IDS_FILE: &str = "os/rootfs/usr/lib/sysusers.d/00-keelson.conf";

/// Folders of the checkout that are applied on top of the packages.
pub const LAYERS: [&str; 2] = ["os/rootfs", "units"];

pub fn compose(inputs: &Inputs<'_>, tree: &Path) -> Result<(), SystemError> {
    clone_with_hard_links(inputs.base, tree)?;
    // The overlay replaces the distribution's factory files.
    remove(&tree.join(FACTORY_ETC))?;
    // The kernel is part of the UKI.
    let kernel = kernel_folder(tree)?.join("vmlinuz");
    fs::remove_file(&kernel).at(&kernel)?;
    for layer in LAYERS {
        apply_layer(&inputs.checkout.join(layer), tree)?;
    }
    let examples = inputs.checkout.join("cloud-config");
    if examples.is_dir() {
        apply_layer(&examples, &tree.join("usr/share/keelson/examples"))?;
    }
    let built = install_programs(inputs, tree)?;
    write_generated(inputs, &built, tree)?;
    bundle_certificates(tree)?;
    let root = format!("--root={}", tree.display());
    let epoch = inputs.release.epoch.to_string();
    for arguments in
        [&["systemd-sysusers", &root] as &[&str], &["systemctl", &root, "preset-all", "--preset-mode=full"]]
    {
        run(command(inputs.tools, arguments[0])?.env("SOURCE_DATE_EPOCH", &epoch).args(&arguments[1..]))?;
    }
    check_ids(tree)?;
    remove_backups(tree)?;
    set_modes(&inputs.checkout.join("os/modes"), tree)?;
    let factory = tree.join("usr/share/factory");
    make_folder(&factory)?;
    fs::rename(tree.join("etc"), factory.join("etc")).at(&factory)?;
    Ok(())
}

/// Checks that every user and group has an assigned id: systemd-sysusers would allocate others from the top of the
/// range, depending on the order of its files.
fn check_ids(tree: &Path) -> Result<(), SystemError> {
    let folder = tree.join("usr/lib/sysusers.d");
    let mut assigned = BTreeSet::new();
    for entry in fs::read_dir(&folder).at(&folder)? {
        let path = entry.at(&folder)?.path();
        let text = fs::read_to_string(&path).at(&path)?;
        assigned.extend(text.lines().filter_map(parse_assigned_id));
    }
    for file in ["passwd", "group"] {
        let path = tree.join("etc").join(file);
        let text = fs::read_to_string(&path).at(&path)?;
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(Ok(id))) = (fields.next(), fields.nth(1).map(str::parse::<u32>)) else {
                continue;
            };
            if !assigned.contains(&(name.to_owned(), id)) {
                return Err(SystemError::AllocatedId { file, name: name.to_owned(), id });
            }
        }
    }
    Ok(())
}

/// Parses a sysusers.d line that assigns an id.
fn parse_assigned_id(line: &str) -> Option<(String, u32)> {
    let mut arguments = line.split_whitespace();
    let is_kind = |kind: &str| matches!(kind, "u" | "u!" | "g");
    arguments.next().filter(|kind| is_kind(kind))?;
    let (name, id) = (arguments.next()?, arguments.next()?);
    let id = id.split_once(':').map_or(id, |(id, _)| id);
    Some((name.to_owned(), id.parse().ok()?))
}

fn install_programs(inputs: &Inputs<'_>, tree: &Path) -> Result<Vec<BuiltProgram>, SystemError> {
    let mut built = Vec::new();
    for program in inputs.programs {
        let file = inputs.built.join(&program.binary);
        let mut content = fs::read(&file).at(&file)?;
        if inputs.release.profile == Profile::Quick {
            strip_to_segments(&mut content)
                .map_err(|source| SystemError::Program { path: file.clone(), source })?;
        }
        built.push(BuiltProgram { name: program.binary.clone(), sha256: sha256(&content) });
        write_file(&tree.join(&program.path), &content, 0o755)?;
        for link in &program.links {
            write_link(&tree.join(link), &Path::new("/").join(&program.path))?;
        }
    }
    Ok(built)
}

fn sha256(content: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(content))
}

fn write_generated(inputs: &Inputs<'_>, built: &[BuiltProgram], tree: &Path) -> Result<(), SystemError> {
    let release = inputs.release;
    let crates = if inputs.programs.is_empty() { Vec::new() } else { crates::read(inputs.built)? };
    let bom = Bom::new(release, inputs.lock, built, &crates);
    let (spdx_text, cyclonedx_text) = (
        serde_json::to_vec_pretty(&spdx::document(&bom))?,
        serde_json::to_vec_pretty(&cyclonedx::document(&bom))?,
    );
    let busybox =
        busybox_archive(&tree.join("usr/bin/busybox"), release.epoch).map_err(SystemError::Busybox)?;
    for (path, content) in [
        ("usr/lib/os-release", release.os_release().as_bytes()),
        ("usr/share/coreos/lsb-release", release.lsb_release().as_bytes()),
        ("usr/share/coreos/release", release.coreos_release().as_bytes()),
        ("usr/share/coreos/update.conf", release.update_conf().as_bytes()),
        ("usr/share/keelson/sbom.spdx.json", &spdx_text),
        ("usr/share/keelson/sbom.cdx.json", &cyclonedx_text),
        ("usr/share/doc/keelson/copyright", copyright(&crates).as_bytes()),
        ("usr/share/keelson/images/busybox.tar", &busybox),
        // systemd uses its modification time as the earliest valid time.
        ("usr/lib/clock-epoch", b""),
    ] {
        write_file(&tree.join(path), content, 0o644)?;
    }
    write_link(&tree.join("usr/share/coreos/os-release"), Path::new("../../lib/os-release"))?;
    // Mount point of the OEM partition.
    make_folder(&tree.join("usr/share/oem"))?;
    Ok(())
}

/// Applies lines of `MODE GLOB`.
fn set_modes(list: &Path, tree: &Path) -> Result<(), SystemError> {
    let text = fs::read_to_string(list).at(list)?;
    let paths = walk(tree)?;
    for (index, line) in text.lines().enumerate() {
        let rule = line.split('#').next().unwrap_or_default().trim();
        if rule.is_empty() {
            continue;
        }
        let bad = |problem: &str| SystemError::Modes { line: index + 1, problem: problem.to_owned() };
        let (mode, glob) = rule.split_once(' ').ok_or_else(|| bad("expected a mode and a path"))?;
        let mode = u32::from_str_radix(mode, 8).map_err(|_| bad("the mode is not octal"))?;
        let glob = Glob::new(glob.trim()).map_err(|error| bad(&error.to_string()))?.compile_matcher();
        for path in paths.iter().filter(|path| glob.is_match(path)) {
            let file = tree.join(path);
            let now = file.symlink_metadata().at(&file)?.permissions().mode();
            if now & 0o400 == 0 {
                // systemd-sysusers creates shadow files that only root can read.
                fs::set_permissions(&file, Permissions::from_mode(now | 0o400)).at(&file)?;
            }
            // The file shares its inode with the packages' tree.
            let content = fs::read(&file).at(&file)?;
            write_file(&file, &content, mode)?;
            fs::set_permissions(&file, Permissions::from_mode(mode)).at(&file)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocated_number_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path();
        fs::create_dir_all(tree.join("usr/lib/sysusers.d")).unwrap();
        fs::create_dir_all(tree.join("etc")).unwrap();
        let lines = "# g no 5\nu! a 990:65534 \"A\" /\ng b  999 -\nu c - \"C\" /\n";
        fs::write(tree.join("usr/lib/sysusers.d/x.conf"), lines).unwrap();
        let check = |passwd: &str, group: &str| {
            fs::write(tree.join("etc/passwd"), passwd).unwrap();
            fs::write(tree.join("etc/group"), group).unwrap();
            check_ids(tree).map_err(|error| error.to_string())
        };
        check("a:x:990:65534:A:/:/bin/sh\n", "b:x:999:\n").unwrap();
        let error = check("a:x:990:65534::/:\nc:x:998:998::/:\n", "").unwrap_err();
        assert!(error.starts_with("etc/passwd: c has the allocated number 998, "), "{error}");
        let error = check("", "b:x:998:a\n").unwrap_err();
        assert!(error.starts_with("etc/group: b has the allocated number 998, "), "{error}");
    }
}
