//! Builds the initrd: the programs that find `/usr` by its hash, create the root file system and switch to it.
//!
//! Files are copied from the node's tree according to a list (`image/initrd.list`), with shared libraries and module
//! dependencies, and `image/initrd/` is applied on top. The archive's bytes depend on nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cpio::newc::{self, ModeFileType};
use globset::Glob;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{LittleEndian, elf};

use sandbox::Sandbox;

use crate::kernel::{KernelError, index_modules, kernel_folder};
use crate::tree::{FACTORY_ETC, PathContext, TreeError, digest, make_folder, walk};

/// Library search path; Debian's built-in one.
const LIBRARY_FOLDERS: [&str; 3] =
    ["usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd", "usr/lib"];
/// The kernel starts this as init.
const INIT: &str = "usr/lib/keelson/initrd";
/// A moderate compression level; decompression time does not depend on it.
const COMPRESSION_LEVEL: i32 = 15;

#[derive(Debug, thiserror::Error)]
pub enum InitrdError {
    #[error("cannot read the files of the initrd")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("{list}:{line}: {problem}")]
    List { list: PathBuf, line: usize, problem: String },
    #[error("{program} needs {library}, which is not in the tree")]
    Library { program: PathBuf, library: String },
    #[error("{path} is not a supported ELF file")]
    Elf { path: PathBuf, source: object::Error },
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

/// Content of a path in the initrd.
#[derive(Debug, Clone)]
enum Entry {
    Folder,
    /// A file of the build host that is copied.
    File(PathBuf),
    Text(String),
    Link(PathBuf),
}

/// The source tree, and the entries that were selected so far.
struct Collector<'a> {
    tree: &'a Path,
    entries: BTreeMap<PathBuf, Entry>,
    /// Paths whose dependencies were added.
    visited: BTreeSet<PathBuf>,
}

#[derive(Debug)]
pub struct Inputs<'a> {
    /// The node's tree, which contains `usr`.
    pub tree: &'a Path,
    /// The tree of the unpacked packages, with indexed modules.
    pub kernel: &'a Path,
    /// `image/initrd.list`.
    pub list: &'a Path,
    /// `image/initrd/`.
    pub overlay: &'a Path,
    pub tools: &'a Sandbox,
}

pub const ARCHIVE: &str = "initrd.cpio.zst";

pub fn make(inputs: &Inputs<'_>, folder: &Path) -> Result<(), InitrdError> {
    let Inputs { tree, list, overlay, .. } = *inputs;
    let mut collector = Collector { tree, entries: BTreeMap::new(), visited: BTreeSet::new() };
    for (link, target) in
        [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")]
    {
        collector.entries.insert(link.into(), Entry::Link(target.into()));
    }
    for folder in ["dev", "proc", "run", "sys", "sysroot", "sysusr", "tmp", "var/tmp", "etc", "root"] {
        collector.insert(Path::new(folder), Entry::Folder);
    }
    collector.entries.insert("init".into(), Entry::Link(INIT.into()));
    let release = fs::read_to_string(tree.join("usr/lib/os-release")).at(&tree.join("usr/lib/os-release"))?;
    collector.insert(Path::new("etc/initrd-release"), Entry::Text(release));
    let mut modules = Vec::new();
    let text = fs::read_to_string(list).at(list)?;
    let all = walk(&tree.join("usr"))?;
    for (index, line) in text.lines().enumerate() {
        let bad = |problem: String| InitrdError::List { list: list.into(), line: index + 1, problem };
        let fields: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        match fields[..] {
            [] => {}
            ["module", name] => modules.push(name.to_owned()),
            ["link", path, target] => collector.insert(Path::new(path), Entry::Link(target.into())),
            ["file", pattern] => collector.add_matching(pattern, &all).map_err(|error| match error {
                InitrdError::List { problem, .. } => bad(problem),
                other => other,
            })?,
            _ => return Err(bad(format!("`{line}` is none of file, link and module"))),
        }
    }
    collector.add_modules(inputs.kernel, &modules, &folder.join("modules"), inputs.tools)?;
    for relative in walk(overlay)? {
        let source = overlay.join(&relative);
        let metadata = source.symlink_metadata().at(&source)?;
        let entry = if metadata.is_dir() {
            Entry::Folder
        } else if metadata.is_symlink() {
            Entry::Link(fs::read_link(&source).at(&source)?)
        } else {
            Entry::File(source)
        };
        collector.insert(&relative, entry);
    }
    write(&collector.entries, &folder.join(ARCHIVE)).map_err(InitrdError::Write)
}

/// Digest of the files of `layers` and of the programs (path in the image, built file) that `list` contains: these
/// get into the initrd through the node's tree.
pub fn digest_of_listed(
    list: &Path,
    layers: &[PathBuf],
    programs: &[(&str, PathBuf)],
) -> Result<String, InitrdError> {
    let text = fs::read_to_string(list).at(list)?;
    let globs: Vec<_> = text
        .lines()
        .filter_map(|line| Glob::new(line.strip_prefix("file ")?.trim()).ok())
        .map(|glob| glob.compile_matcher())
        .collect();
    let is_listed = |path: &Path| globs.iter().any(|glob| glob.is_match(path));
    let mut digests = String::new();
    for layer in layers {
        for relative in walk(layer)?.into_iter().filter(|path| is_listed(path)) {
            digests += &format!("{} {}\n", relative.display(), digest(&layer.join(&relative))?);
        }
    }
    for (path, program) in programs.iter().filter(|(path, _)| is_listed(Path::new(path))) {
        digests += &format!("{path} {}\n", digest(program)?);
    }
    Ok(digests)
}

impl Collector<'_> {
    fn insert(&mut self, path: &Path, entry: Entry) {
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty())
            && !self.entries.contains_key(parent)
        {
            self.insert(parent, Entry::Folder);
        }
        if !(matches!(entry, Entry::Folder) && self.entries.contains_key(path)) {
            self.entries.insert(path.to_path_buf(), entry);
        }
    }

    /// Adds files of usr that match, or one file of the default /etc.
    fn add_matching(&mut self, pattern: &str, all: &[PathBuf]) -> Result<(), InitrdError> {
        let missing = || InitrdError::List {
            list: PathBuf::new(),
            line: 0,
            problem: format!("no file in the image matches {pattern}"),
        };
        if let Some(relative) = pattern.strip_prefix("etc/") {
            let source = self.tree.join(FACTORY_ETC).join(relative);
            if !source.exists() {
                return Err(missing());
            }
            self.insert(Path::new(pattern), Entry::File(source));
            return Ok(());
        }
        let glob = Glob::new(pattern).map_err(|_| missing())?.compile_matcher();
        let found: Vec<PathBuf> =
            all.iter().map(|path| Path::new("usr").join(path)).filter(|path| glob.is_match(path)).collect();
        if found.is_empty() {
            return Err(missing());
        }
        found.iter().try_for_each(|path| self.add(path))
    }

    /// Adds a path with its dependencies: a link's target, a program's libraries.
    fn add(&mut self, path: &Path) -> Result<(), InitrdError> {
        if !self.visited.insert(path.to_path_buf()) {
            return Ok(());
        }
        let source = self.tree.join(path);
        let metadata = source.symlink_metadata().at(&source)?;
        if metadata.is_symlink() {
            let target = fs::read_link(&source).at(&source)?;
            self.insert(path, Entry::Link(target.clone()));
            let resolved = resolve(path, &target);
            return if self.tree.join(&resolved).symlink_metadata().is_ok() {
                self.add(&resolved)
            } else {
                Ok(())
            };
        }
        if metadata.is_dir() {
            self.insert(path, Entry::Folder);
            return Ok(());
        }
        self.insert(path, Entry::File(source.clone()));
        for library in needed_libraries(&source)? {
            let found = LIBRARY_FOLDERS
                .iter()
                .map(|folder| Path::new(folder).join(&library))
                .find(|candidate| self.tree.join(candidate).exists())
                .ok_or_else(|| InitrdError::Library {
                    program: path.to_path_buf(),
                    library: library.clone(),
                })?;
            self.add(&found)?;
        }
        Ok(())
    }

    /// Adds modules with their dependencies and a module index.
    fn add_modules(
        &mut self,
        tree: &Path,
        names: &[String],
        scratch: &Path,
        tools: &Sandbox,
    ) -> Result<(), InitrdError> {
        let folder = kernel_folder(tree)?;
        let relative = Path::new("usr/lib/modules").join(folder.file_name().unwrap_or_default());
        let index = folder.join("modules.dep");
        let dependencies = parse_dependencies(&fs::read_to_string(&index).at(&index)?);
        let by_name: HashMap<String, &String> =
            dependencies.keys().map(|path| (module_name(path), path)).collect();
        let builtin = folder.join("modules.builtin");
        let builtin = fs::read_to_string(&builtin).at(&builtin)?;
        let mut selected = BTreeSet::new();
        for name in names {
            let Some(path) = by_name.get(&name.replace('-', "_")) else {
                if builtin.lines().any(|line| module_name(line) == name.replace('-', "_")) {
                    continue;
                }
                return Err(InitrdError::List {
                    list: "image/initrd.list".into(),
                    line: 0,
                    problem: format!("the kernel has no module {name}"),
                });
            };
            selected.insert((*path).clone());
            selected.extend(dependencies[*path].iter().cloned());
        }
        // The node's index contains modules that the initrd lacks, so a separate one is created.
        let partial = scratch.join("usr/lib/modules").join(folder.file_name().unwrap_or_default());
        for file in selected.iter().map(String::as_str).chain([
            "modules.builtin",
            "modules.builtin.modinfo",
            "modules.order",
        ]) {
            let target = partial.join(file);
            make_folder(target.parent().unwrap_or(&partial))?;
            fs::copy(folder.join(file), &target).at(&target)?;
        }
        index_modules(scratch, tools)?;
        for file in walk(&partial)? {
            let source = partial.join(&file);
            if source.is_file() {
                self.insert(&relative.join(&file), Entry::File(source));
            }
        }
        Ok(())
    }
}

/// The target of a link at `path`, within the tree.
fn resolve(path: &Path, target: &Path) -> PathBuf {
    use std::path::Component;
    let start =
        if target.is_absolute() { PathBuf::new() } else { path.parent().unwrap_or(Path::new("")).into() };
    let mut resolved = start;
    for component in target.components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Normal(part) => resolved.push(part),
            _ => {}
        }
    }
    let first = resolved.components().next().map(|first| first.as_os_str().to_os_string());
    if first.is_some_and(|first| ["bin", "sbin", "lib", "lib64"].iter().any(|merged| first == *merged)) {
        Path::new("usr").join(resolved)
    } else {
        resolved
    }
}

fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

/// Parses `modules.dep`: `module: dependency dependency ...`.
fn parse_dependencies(text: &str) -> BTreeMap<String, Vec<String>> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(module, needs)| (module.to_owned(), needs.split_whitespace().map(str::to_owned).collect()))
        .collect()
}

/// `DT_NEEDED` entries of an ELF file; empty for other files. Reads segments, like the loader: our programs have no
/// section headers.
fn needed_libraries(path: &Path) -> Result<Vec<String>, InitrdError> {
    let content = fs::read(path).at(path)?;
    if !content.starts_with(b"\x7fELF") {
        return Ok(Vec::new());
    }
    let bad = |source| InitrdError::Elf { path: path.into(), source };
    let data = &*content;
    let header = elf::FileHeader64::<LittleEndian>::parse(data).map_err(bad)?;
    let segments = header.program_headers(LittleEndian, data).map_err(bad)?;
    let entries = segments.iter().find_map(|segment| segment.dynamic(LittleEndian, data).transpose());
    let entries = entries.transpose().map_err(bad)?.unwrap_or_default();
    let values = |tag| entries.iter().filter(move |entry| entry.d_tag(LittleEndian) == tag);
    let value = |tag| values(tag).next().map(|entry| entry.d_val(LittleEndian));
    let strings = value(elf::DT_STRTAB).zip(value(elf::DT_STRSZ)).and_then(|(address, size)| {
        let load = segments.iter().filter(|segment| segment.p_type(LittleEndian) == elf::PT_LOAD);
        load.filter_map(|segment| segment.data_range(LittleEndian, data, address, size).ok()?).next()
    });
    let name = |offset: u64| {
        let rest = strings?.get(usize::try_from(offset).ok()?..)?;
        rest.split(|byte| *byte == 0).next().map(|name| String::from_utf8_lossy(name).into_owned())
    };
    let mut needed: Vec<String> =
        values(elf::DT_NEEDED).filter_map(|entry| name(entry.d_val(LittleEndian))).collect();
    needed.retain(|name| !name.starts_with("ld-linux"));
    if !needed.is_empty() {
        needed.push("ld-linux-x86-64.so.2".to_owned());
    }
    Ok(needed)
}

fn write(entries: &BTreeMap<PathBuf, Entry>, output: &Path) -> io::Result<()> {
    let mut archive = zstd::Encoder::new(fs::File::create(output)?, COMPRESSION_LEVEL)?;
    for (number, (path, entry)) in (1u32..).zip(entries) {
        let (content, mode, kind) = match entry {
            Entry::Folder => (Vec::new(), 0o755, ModeFileType::Directory),
            Entry::File(source) => {
                let executable = source.metadata()?.permissions().mode() & 0o111 != 0;
                (fs::read(source)?, if executable { 0o755 } else { 0o644 }, ModeFileType::Regular)
            }
            Entry::Text(text) => (text.clone().into_bytes(), 0o644, ModeFileType::Regular),
            Entry::Link(target) => (target.as_os_str().as_bytes().to_vec(), 0o777, ModeFileType::Symlink),
        };
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let links = if matches!(entry, Entry::Folder) { 2 } else { 1 };
        let header = newc::Builder::new(&path.to_string_lossy())
            .ino(number)
            .nlink(links)
            .mode(mode)
            .set_mode_file_type(kind);
        let mut entry = header.write(archive, size);
        entry.write_all(&content)?;
        archive = entry.finish()?;
    }
    newc::trailer(archive)?.finish()?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_resolve_within_the_tree() {
        let check = |path: &str, target: &str, expect: &str| {
            assert_eq!(resolve(Path::new(path), Path::new(target)), Path::new(expect));
        };
        check("usr/lib/systemd/systemd-udevd", "../../bin/udevadm", "usr/bin/udevadm");
        check("usr/sbin/init", "/lib/systemd/systemd", "usr/lib/systemd/systemd");
        check("usr/lib/libx.so.1", "libx.so.1.2", "usr/lib/libx.so.1.2");
    }

    #[test]
    fn module_names_and_dependencies_are_parsed() {
        assert_eq!(module_name("kernel/drivers/md/dm-verity.ko"), "dm_verity");
        let parsed = parse_dependencies("a/b.ko: c/d.ko e.ko\nc/d.ko:\n");
        assert_eq!(parsed["a/b.ko"], ["c/d.ko", "e.ko"]);
        assert!(parsed["c/d.ko"].is_empty());
    }
}
