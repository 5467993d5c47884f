//! Imports go downward only.
//!
//! Each crate declares `[package.metadata.keelson] layer = 0..4` or `"beside"`. A crate may depend on crates of its
//! layer and lower ones. A crate beside the layers (test kits, xtask) may depend on all, and only tests may depend
//! on it. Layers 0-2 may not depend on crates that do I/O, read clocks or bring a runtime.

use std::fmt;

use anyhow::Result;

use super::finding::{Finding, Outcome};
use crate::workspace::{Package, Workspace};

/// The highest layer: programs.
const TOP: u64 = 4;
/// The highest layer of pure logic, without I/O.
pub const LAST_PURE: u64 = 2;

/// Crates that do I/O, forbidden in layers 0-2.
const IO_CRATES: [&str; 26] = [
    "async-std",
    "axum",
    "fs-err",
    "getrandom",
    "heed",
    "hyper",
    "hyper-util",
    "indicatif",
    "libc",
    "mio",
    "nix",
    "openraft",
    "rand",
    "redb",
    "reqwest",
    "rustix",
    "signal-hook",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "tonic",
    "tracing-journald",
    "ureq",
    "walkdir",
    "zbus",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    Numbered(u64),
    Beside,
}

impl Layer {
    /// `None` if the crate declares no layer, or an invalid one.
    pub fn of(package: &Package) -> Option<Self> {
        let value = package.metadata.get("keelson")?.get("layer")?;
        match (value.as_u64(), value.as_str()) {
            (Some(number), _) if number <= TOP => Some(Self::Numbered(number)),
            (_, Some("beside")) => Some(Self::Beside),
            _ => None,
        }
    }

    fn may_name(self, other: Self) -> bool {
        match (self, other) {
            (Self::Beside, _) => true,
            (Self::Numbered(_), Self::Beside) => false,
            (Self::Numbered(mine), Self::Numbered(other_layer)) => other_layer <= mine,
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered(number) => write!(out, "layer {number}"),
            Self::Beside => out.write_str("beside the layers"),
        }
    }
}

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let location = workspace.relative(&package.manifest_path);
        let Some(layer) = Layer::of(package) else {
            let message = "declares no layer: [package.metadata.keelson] layer = 0..4 or \"beside\"";
            findings.push(Finding::new(location, message));
            continue;
        };
        // Tests may depend on anything: no other crate imports them.
        let named =
            package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        for dependency in named {
            if let Some(message) = objection(workspace, layer, &dependency.name) {
                findings.push(Finding::new(location.clone(), message));
            }
        }
    }
    Ok(Outcome::of(findings))
}

fn objection(workspace: &Workspace, layer: Layer, name: &str) -> Option<String> {
    if let Some(other) = workspace.packages.iter().find(|package| package.name == name) {
        // A crate without a layer gets a separate finding.
        let other_layer = Layer::of(other)?;
        return (!layer.may_name(other_layer))
            .then(|| format!("{layer} names {name}, which is {other_layer}"));
    }
    let pure = matches!(layer, Layer::Numbered(number) if number <= LAST_PURE);
    (pure && IO_CRATES.contains(&name))
        .then(|| format!("{layer} names {name}: only layer 3 and 4 have hands"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace::testing::{package, with_files};

    fn check_packages(packages: Vec<Package>, expected: &[&str]) {
        let mut made = with_files(&[]);
        made.workspace.packages = packages;
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        let messages: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(messages, expected);
    }

    #[test]
    fn upward_import_is_found() {
        check_packages(
            vec![package("low", json!(1), &[("high", None)]), package("high", json!(3), &[])],
            &["layer 1 names high, which is layer 3"],
        );
    }

    #[test]
    fn downward_and_equal_imports_pass() {
        check_packages(
            vec![
                package("program", json!(4), &[("hands", None), ("tokio", None)]),
                package("hands", json!(3), &[("other", None), ("base", None), ("nix", None)]),
                package("other", json!(3), &[]),
                package("base", json!(0), &[("serde", None)]),
            ],
            &[],
        );
    }

    #[test]
    fn a_pure_layer_may_not_name_tokio_except_in_tests() {
        check_packages(
            vec![package("plan", json!(2), &[("tokio", None), ("tempfile", Some("dev"))])],
            &["layer 2 names tokio: only layer 3 and 4 have hands"],
        );
    }

    #[test]
    fn what_stands_beside_is_named_by_tests_alone() {
        check_packages(
            vec![
                package("a", json!(4), &[("kit", Some("dev"))]),
                package("b", json!(4), &[("kit", None)]),
                package("kit", json!("beside"), &[("a", None)]),
            ],
            &["layer 4 names kit, which is beside the layers"],
        );
    }

    #[test]
    fn a_crate_declares_its_layer() {
        let message = "declares no layer: [package.metadata.keelson] layer = 0..4 or \"beside\"";
        check_packages(
            vec![package("a", json!(5), &[]), package("b", json!(null), &[])],
            &[message, message],
        );
    }
}
