//! Input of the checks: the crates as cargo knows them, and every file of the checkout.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::command::cargo;

/// Folders of the checkout that never contain sources.
const OUTSIDE: [&str; 2] = [".git", "target"];
/// Marks a cargo build folder.
const CACHE_MARK: &str = "CACHEDIR.TAG";

pub struct Workspace {
    pub root: PathBuf,
    pub packages: Vec<Package>,
    /// Every file, relative to `root`, sorted; links are not followed and not listed.
    pub files: Vec<PathBuf>,
}

/// The part of a package in `cargo metadata` that the lints use.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    pub name: String,
    pub manifest_path: PathBuf,
    pub license: Option<String>,
    #[serde(default)]
    pub metadata: serde_json::Value,
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
    #[serde(default)]
    pub targets: Vec<Target>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    pub name: String,
    /// `None` is a normal dependency; otherwise `dev` or `build`.
    pub kind: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Target {
    pub kind: Vec<String>,
    pub src_path: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

impl Workspace {
    /// Runs `cargo metadata`, and lists the files below `root`.
    pub fn load(root: &Path) -> anyhow::Result<Self> {
        let output = cargo(root, &["metadata", "--format-version", "1", "--no-deps", "--locked"])
            .output()
            .context("cannot start cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("cargo metadata printed something else")?;
        Ok(Self { root: root.to_path_buf(), packages: metadata.packages, files: list(root)? })
    }

    pub fn has_package(&self, name: &str) -> bool {
        self.packages.iter().any(|package| package.name == name)
    }

    /// The package that contains a file of the checkout.
    pub fn package_of(&self, file: &Path) -> Option<&Package> {
        let path = self.root.join(file);
        self.packages
            .iter()
            .filter(|package| package.manifest_path.parent().is_some_and(|folder| path.starts_with(folder)))
            .max_by_key(|package| package.manifest_path.as_os_str().len())
    }

    /// Formats a path for findings.
    pub fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    pub fn read(&self, file: &Path) -> anyhow::Result<String> {
        let path = self.root.join(file);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The checkout that this program was built from.
pub fn root() -> PathBuf {
    // A checkout may be moved after xtask was built: cargo names the current path at run time.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let crate_folder = PathBuf::from(manifest);
    crate_folder.ancestors().nth(3).unwrap_or(&crate_folder).to_path_buf()
}

/// Every regular source file below `root`.
pub fn list(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let kind = entry.file_type().with_context(|| format!("cannot look at {:?}", entry.path()))?;
            let path = entry.path();
            if kind.is_dir() && !is_outside(root, &path) {
                folders.push(path);
            } else if kind.is_file() {
                files.push(path.strip_prefix(root).unwrap_or(&path).to_path_buf());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The checkout's files known to git, and new ones that are not ignored, except deleted ones; relative to `root`. A
/// repository inside of the checkout is listed as a folder.
pub fn known_to_git(root: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output =
        Command::new("git").args(arguments).current_dir(root).output().context("cannot start git")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let files = names.map(|name| PathBuf::from(OsStr::from_bytes(name)));
    Ok(files.filter(|file| root.join(file).symlink_metadata().is_ok()).collect())
}

fn is_outside(root: &Path, folder: &Path) -> bool {
    OUTSIDE.iter().any(|name| folder == root.join(name)) || folder.join(CACHE_MARK).is_file()
}

#[cfg(test)]
pub mod testing {
    //! A fake checkout in a temporary folder, for tests of the lints.

    use super::*;

    pub struct Made {
        pub workspace: Workspace,
        _folder: tempfile::TempDir,
    }

    /// A checkout with these files (path, text) and no crates.
    pub fn with_files(files: &[(&str, &str)]) -> Made {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let workspace = Workspace {
            root: folder.path().to_path_buf(),
            packages: Vec::new(),
            files: list(folder.path()).unwrap(),
        };
        Made { workspace, _folder: folder }
    }

    /// A checkout with one crate, `crates/NAME`, in that layer, with these files below it.
    pub fn with_crate(name: &str, layer: serde_json::Value, files: &[(&str, &str)]) -> Made {
        let placed: Vec<_> =
            files.iter().map(|(path, text)| (format!("crates/{name}/{path}"), *text)).collect();
        let placed: Vec<_> = placed.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let mut made = with_files(&placed);
        let mut package = package(name, layer, &[]);
        package.targets = vec![Target {
            kind: vec!["lib".into()],
            src_path: made.workspace.root.join(format!("crates/{name}/src/lib.rs")),
        }];
        made.workspace.packages = vec![package];
        made
    }

    pub fn package(name: &str, layer: serde_json::Value, dependencies: &[(&str, Option<&str>)]) -> Package {
        Package {
            name: name.into(),
            manifest_path: format!("/somewhere/crates/{name}/Cargo.toml").into(),
            license: Some("Apache-2.0".into()),
            metadata: serde_json::json!({ "keelson": { "layer": layer } }),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency { name: (*name).into(), kind: kind.map(Into::into) })
                .collect(),
            targets: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_folders_and_git_are_not_source() {
        let made = testing::with_files(&[
            ("src/a.rs", ""),
            (".git/config", ""),
            ("target/debug/x", ""),
            ("work/CACHEDIR.TAG", ""),
            ("work/b.rs", ""),
            ("src/target/c.rs", ""),
            (".ci/run", ""),
        ]);
        let names: Vec<_> = made.workspace.files.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(names, [".ci/run", "src/a.rs", "src/target/c.rs"]);
    }

    #[test]
    fn this_checkout_loads() {
        let workspace = Workspace::load(&root()).unwrap();
        assert!(workspace.has_package("xtask"));
        let file = Path::new("crates/test/xtask/src/workspace.rs");
        assert_eq!(workspace.package_of(file).unwrap().name, "xtask");
        assert!(workspace.package_of(Path::new("docs/README.md")).is_none());
        assert!(workspace.files.contains(&PathBuf::from("crates/test/xtask/src/workspace.rs")));
    }
}
