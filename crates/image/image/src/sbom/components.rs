//! What an image consists of.

use crate::crates::LinkedCrate;
use crate::lock::{Lock, Package, Tree};
use crate::release::Release;

/// A program that was built from this repository: name and hex SHA-256.
#[derive(Debug, Clone)]
pub struct BuiltProgram {
    pub name: String,
    pub sha256: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Debian package.
    Package,
    /// A program of this repository.
    Program,
    /// A crate that is linked into programs.
    Crate,
}

/// A part of the image.
#[derive(Debug)]
pub struct Component<'a> {
    pub kind: Kind,
    pub name: &'a str,
    pub version: String,
    /// SPDX expression; `None` if it is not declared in one place.
    pub license: Option<&'a str>,
    /// 64 hex digits.
    pub sha256: Option<&'a str>,
    /// Package URL.
    pub purl: Option<String>,
}

/// An image and its components.
#[derive(Debug)]
pub struct Bom<'a> {
    pub release: &'a Release,
    pub components: Vec<Component<'a>>,
}

impl<'a> Bom<'a> {
    /// Lists the packages and programs in `/usr` with their digests, and the crates that are linked into programs.
    #[must_use]
    pub fn new(
        release: &'a Release,
        lock: &'a Lock,
        programs: &'a [BuiltProgram],
        crates: &'a [LinkedCrate],
    ) -> Self {
        let packages = lock.of(Tree::System).map(package);
        let programs = programs.iter().map(|program| Component {
            kind: Kind::Program,
            name: &program.name,
            version: release.full_version(),
            license: Some("Apache-2.0"),
            sha256: Some(&program.sha256),
            purl: None,
        });
        let crates = crates.iter().map(|linked| Component {
            kind: Kind::Crate,
            name: &linked.name,
            version: linked.version.clone(),
            license: Some(&linked.license),
            sha256: None,
            purl: Some(format!("pkg:cargo/{}@{}", linked.name, escape(&linked.version))),
        });
        Self { release, components: packages.chain(programs).chain(crates).collect() }
    }
}

fn package(package: &Package) -> Component<'_> {
    let Package { name, version, architecture, .. } = package;
    Component {
        kind: Kind::Package,
        name,
        version: version.clone(),
        license: None,
        sha256: Some(&package.sha256),
        purl: Some(format!("pkg:deb/debian/{name}@{}?arch={architecture}&distro=trixie", escape(version))),
    }
}

/// Percent-encodes what versions contain and package URLs reserve.
fn escape(version: &str) -> String {
    version.replace('+', "%2B").replace(':', "%3A")
}
