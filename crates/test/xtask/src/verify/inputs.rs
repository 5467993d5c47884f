//! Digests of what the tests of each package depend on: files of the checkout, the compiler and the host.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use super::package_graph::Dependencies;
use super::readers::is_input;
use crate::workspace::{Workspace, known_to_git};

/// Prefixes of the environment variables that change what tests are, or do.
const VARIABLES: [&str; 3] = ["KEELSON_", "PROPTEST_", "RUSTFLAGS"];
const KERNEL_RELEASE: &str = "/proc/sys/kernel/osrelease";
const EXECUTABLE: u32 = 0o111;

/// SHA-256.
type Digest = [u8; 32];
/// By package, in hexadecimal.
pub type Digests = BTreeMap<String, String>;

/// All inputs at one time.
#[derive(Debug, Clone)]
pub struct Inputs {
    host: Digest,
    files: Vec<File>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    /// Below the checkout.
    path: PathBuf,
    kind: Kind,
    /// Of the content, or of a link's target.
    digest: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Regular,
    Executable,
    Link,
}

/// What applies to the tests of all packages, apart from files.
struct Host {
    /// The output of `rustc -vV`.
    compiler: Vec<u8>,
    effective_uid: u32,
    kernel: Vec<u8>,
    /// Sorted.
    variables: Vec<(OsString, OsString)>,
}

impl Inputs {
    pub fn read(root: &Path) -> Result<Self> {
        let files = known_to_git(root)?.into_iter().map(|path| File::read(root, path));
        Ok(Self { host: Host::read(root)?.digest(), files: files.collect::<Result<_>>()? })
    }

    /// The digest of each package's inputs.
    pub fn digests(&self, workspace: &Workspace, dependencies: &Dependencies) -> Digests {
        let owner = |file: &File| workspace.package_of(&file.path).map(|package| package.name.as_str());
        let files: Vec<(Option<&str>, &File)> = self.files.iter().map(|file| (owner(file), file)).collect();
        let digest = |(package, dependencies): (&String, &_)| {
            let mut hash = Sha256::new_with_prefix(self.host);
            for (owner, file) in &files {
                if is_input(&file.path, *owner, dependencies) {
                    file.update(&mut hash);
                }
            }
            (package.clone(), format!("{:x}", hash.finalize()))
        };
        dependencies.iter().map(digest).collect()
    }
}

impl File {
    fn read(root: &Path, path: PathBuf) -> Result<Self> {
        let full = root.join(&path);
        let failed = || format!("cannot read {}", full.display());
        let about = full.symlink_metadata().with_context(failed)?;
        let mut hash = Sha256::new();
        let kind = if about.is_symlink() {
            hash.update(fs::read_link(&full).with_context(failed)?.as_os_str().as_bytes());
            Kind::Link
        } else if about.is_file() {
            let mut content = fs::File::open(&full).with_context(failed)?;
            io::copy(&mut content, &mut hash).with_context(failed)?;
            let is_executable = about.permissions().mode() & EXECUTABLE != 0;
            if is_executable { Kind::Executable } else { Kind::Regular }
        } else {
            // A repository inside of the checkout, whose files git does not list.
            bail!("{} is neither a file nor a link", full.display());
        };
        Ok(Self { path, kind, digest: hash.finalize().into() })
    }

    fn update(&self, hash: &mut Sha256) {
        update(hash, self.path.as_os_str().as_bytes());
        let kind = match self.kind {
            Kind::Regular => b'-',
            Kind::Executable => b'x',
            Kind::Link => b'l',
        };
        hash.update([kind]);
        hash.update(self.digest);
    }
}

impl Host {
    fn read(root: &Path) -> Result<Self> {
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let output = rustc.arg("-vV").current_dir(root).output().context("cannot start rustc")?;
        if !output.status.success() {
            bail!("rustc -vV failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self {
            compiler: output.stdout,
            effective_uid: nix::unistd::geteuid().as_raw(),
            kernel: fs::read(KERNEL_RELEASE).with_context(|| format!("cannot read {KERNEL_RELEASE}"))?,
            variables: variables(env::vars_os()),
        })
    }

    fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        update(&mut hash, &self.compiler);
        update(&mut hash, &self.effective_uid.to_le_bytes());
        update(&mut hash, &self.kernel);
        for (name, value) in &self.variables {
            update(&mut hash, name.as_bytes());
            update(&mut hash, value.as_bytes());
        }
        hash.finalize().into()
    }
}

fn variables(all: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let is_read =
        |name: &OsStr| VARIABLES.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()));
    let mut variables: Vec<_> = all.filter(|(name, _)| is_read(name)).collect();
    variables.sort();
    variables
}

/// Adds the length too, so that no two sequences of fields have the same bytes.
fn update(hash: &mut Sha256, field: &[u8]) {
    hash.update((field.len() as u64).to_le_bytes());
    hash.update(field);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::workspace::testing;

    /// A checkout of a package `base`, of `top`, which depends on it, and of `far`.
    fn checkout() -> testing::Made {
        let mut made = testing::with_files(&[
            ("crates/base/src/lib.rs", "base"),
            ("crates/base/run.sh", "#!/bin/sh"),
            ("crates/far/src/lib.rs", "far"),
            ("crates/top/src/lib.rs", "top"),
            ("docs/tutorial.md", "docs"),
            ("os/cmdline", "quiet"),
        ]);
        symlink("run.sh", made.workspace.root.join("crates/base/link")).unwrap();
        made.workspace.packages = ["base", "top", "far"]
            .map(|name| {
                let mut package = testing::package(name, serde_json::json!(1), &[]);
                package.manifest_path = made.workspace.root.join(format!("crates/{name}/Cargo.toml"));
                package
            })
            .into();
        for arguments in [&["init", "--quiet"][..], &["add", "--all"]] {
            git(&made.workspace.root, arguments);
        }
        made
    }

    fn git(root: &Path, arguments: &[&str]) {
        let output = Command::new("git").args(arguments).current_dir(root).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn dependencies() -> Dependencies {
        let packages: [(&str, &[&str]); 4] =
            [("base", &[]), ("far", &[]), ("scenarios", &[]), ("top", &["base"])];
        let with_itself = |(name, on): (&str, &[&str])| {
            (name.to_owned(), on.iter().chain([&name]).map(|name| (*name).to_owned()).collect())
        };
        packages.map(with_itself).into()
    }

    fn digests(workspace: &Workspace) -> Digests {
        Inputs::read(&workspace.root).unwrap().digests(workspace, &dependencies())
    }

    /// `expect`: the packages whose inputs this changes.
    fn check(change: impl Fn(&Path), expect: &[&str]) {
        let made = checkout();
        let before = digests(&made.workspace);
        assert_eq!(digests(&made.workspace), before, "nothing has changed");
        change(&made.workspace.root);
        let after = digests(&made.workspace);
        let changed: Vec<_> = after.keys().filter(|name| after.get(*name) != before.get(*name)).collect();
        assert_eq!(changed, expect);
    }

    fn write(file: &'static str) -> impl Fn(&Path) {
        move |root| fs::write(root.join(file), "changed").unwrap()
    }

    #[test]
    fn a_file_changes_the_inputs_of_its_package_and_its_dependents() {
        check(|_| {}, &[]);
        check(write("crates/base/src/lib.rs"), &["base", "top"]);
        check(write("crates/top/src/lib.rs"), &["top"]);
        check(write("crates/far/src/lib.rs"), &["far"]);
        check(write("crates/base/src/new.rs"), &["base", "top"]);
        check(write("os/cmdline"), &["base", "far", "scenarios", "top"]);
        check(write("docs/tutorial.md"), &["scenarios"]);
    }

    #[test]
    fn an_ignored_file_is_no_input() {
        let made = checkout();
        fs::write(made.workspace.root.join(".gitignore"), "*.log\n").unwrap();
        let before = digests(&made.workspace);
        write("crates/base/a.log")(&made.workspace.root);
        assert_eq!(digests(&made.workspace), before);
    }

    #[test]
    fn a_deleted_file_is_a_change() {
        check(|root| fs::remove_file(root.join("crates/base/run.sh")).unwrap(), &["base", "top"]);
        let moved = |root: &Path| {
            fs::rename(root.join("crates/top/src/lib.rs"), root.join("crates/top/src/main.rs")).unwrap();
        };
        check(moved, &["top"]);
    }

    #[test]
    fn the_executable_bit_is_a_change() {
        let set = |mode: u32| {
            move |root: &Path| {
                fs::set_permissions(root.join("crates/base/run.sh"), fs::Permissions::from_mode(mode))
                    .unwrap();
            }
        };
        check(set(0o755), &["base", "top"]);
        check(set(0o600), &[]);
    }

    #[test]
    fn a_link_is_its_target() {
        let link = |target: &'static str| {
            move |root: &Path| {
                fs::remove_file(root.join("crates/base/link")).unwrap();
                symlink(target, root.join("crates/base/link")).unwrap();
            }
        };
        check(link("run.sh"), &[]);
        check(link("./run.sh"), &["base", "top"]);
        let same_text = |root: &Path| {
            fs::remove_file(root.join("crates/base/link")).unwrap();
            fs::write(root.join("crates/base/link"), "run.sh").unwrap();
        };
        check(same_text, &["base", "top"]);
    }

    #[test]
    fn a_repository_inside_of_the_checkout_is_an_error() {
        let made = checkout();
        let inner = made.workspace.root.join("crates/inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("file"), "").unwrap();
        git(&inner, &["init", "--quiet"]);
        let error = Inputs::read(&made.workspace.root).unwrap_err().to_string();
        assert!(error.contains("crates/inner"), "{error}");
    }

    #[test]
    fn the_host_is_an_input() {
        let host = |compiler: &str, uid, kernel: &str, all: Vec<(OsString, OsString)>| {
            let variables = variables(all.into_iter());
            Host { compiler: compiler.into(), effective_uid: uid, kernel: kernel.into(), variables }.digest()
        };
        let [a, b, path] = [("KEELSON_A", "1"), ("KEELSON_B", "2"), ("PATH", "/bin")];
        let all = |variables: &[(&str, &str)]| {
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<Vec<_>>()
        };
        let before = host("1.95", 0, "6.1", all(&[a, b, path]));
        assert_eq!(host("1.95", 0, "6.1", all(&[b, ("PATH", "/sbin"), a])), before);
        for other in [
            host("1.96", 0, "6.1", all(&[a, b])),
            host("1.95", 1000, "6.1", all(&[a, b])),
            host("1.95", 0, "6.2", all(&[a, b])),
            host("1.95", 0, "6.1", all(&[a, ("KEELSON_B", "3")])),
            host("1.95", 0, "6.1", all(&[a, ("KEELSON_C", "2")])),
            host("1.95", 0, "6.1", all(&[a])),
            host("1.95", 0, "6.1", all(&[a, b, ("RUSTFLAGS", "-Copt-level=1")])),
            host("1.95", 0, "6.1", all(&[a, b, ("PROPTEST_CASES", "9")])),
        ] {
            assert_ne!(other, before);
        }
        let made = checkout();
        let mut inputs = Inputs::read(&made.workspace.root).unwrap();
        let before = inputs.digests(&made.workspace, &dependencies());
        inputs.host = [0; 32];
        let after = inputs.digests(&made.workspace, &dependencies());
        assert!(after.iter().all(|(package, digest)| before[package] != *digest));
    }
}
